//! The small records beside the entries: what the store, its namespaces and their counters are.
//!
//! All numbers are little endian; texts have their length in one byte in front. `docs/FORMAT.md` has the layouts.

use super::layout::NamespaceId;
use crate::clock::Time;
use crate::error::{Error, Result};

/// The store format this version writes in LMDB, and the newest it reads: from 2 on, writes go to a log.
pub(crate) const LMDB_VERSION: u32 = 2;
/// The store format this version writes in RocksDB.
pub(crate) const ROCKS_VERSION: u32 = 1;
const STORE_MAGIC: &[u8; 8] = b"CACHMERE";

/// What was fixed when the store was made, but for `envelope`, which changes with the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoreRecord {
    /// Of the format that the store is in.
    pub(crate) version: u32,
    /// Random; tells copies of a store from different stores.
    pub(crate) id: [u8; 16],
    pub(crate) created: Time,
    /// Empty when the store is not encrypted.
    pub(crate) cipher: String,
    /// The wrapped data key; empty when the store is not encrypted.
    pub(crate) envelope: Vec<u8>,
}

impl StoreRecord {
    /// What is before the envelope.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = STORE_MAGIC.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.created.0.to_le_bytes());
        put_text(&mut out, &self.cipher);
        out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend_from_slice(&self.envelope);
        out
    }

    /// Whether these are the bytes of a record of a store, of whatever version.
    #[cfg(feature = "valkey")]
    pub(crate) fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(STORE_MAGIC)
    }

    /// The id alone, whatever the version.
    pub(crate) fn peek_id(bytes: &[u8]) -> Option<[u8; 16]> {
        bytes.get(12..28)?.try_into().ok()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<StoreRecord> {
        let mut fields = Fields::new(bytes, "store record");
        if fields.array::<8>()? != *STORE_MAGIC {
            return Err(Error::damaged("the store record does not start with its magic"));
        }
        let version = fields.u32()?;
        if version > LMDB_VERSION {
            return Err(Error::NewerFormat { found: version, supported: LMDB_VERSION });
        }
        Ok(StoreRecord {
            version,
            id: fields.array()?,
            created: Time(fields.u64()?),
            cipher: fields.text()?,
            envelope: fields.rest().to_vec(),
        })
    }
}

/// Whether the store lists its entries by last access, which eviction needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recency {
    Off,
    /// New writes are listed; older entries are being added.
    Building,
    On,
}

/// What concerns the whole store and can change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateRecord {
    pub(crate) recency: Recency,
    /// The size limit in bytes; 0 for none.
    pub(crate) max_bytes: u64,
    pub(crate) next_namespace: u32,
    /// Added to transaction ids to make stamps: LMDB counts anew in a compacted copy.
    pub(crate) stamp_base: u64,
}

impl StateRecord {
    pub(crate) const NEW: StateRecord =
        StateRecord { recency: Recency::Off, max_bytes: 0, next_namespace: 1, stamp_base: 0 };

    /// Bytes of the record.
    pub(crate) const LEN: usize = 21;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let recency = match self.recency {
            Recency::Off => 0,
            Recency::Building => 1,
            Recency::On => 2,
        };
        let mut out = vec![recency];
        out.extend_from_slice(&self.max_bytes.to_le_bytes());
        out.extend_from_slice(&self.next_namespace.to_le_bytes());
        out.extend_from_slice(&self.stamp_base.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<StateRecord> {
        let mut fields = Fields::new(bytes, "state record");
        let recency = match fields.array::<1>()? {
            [0] => Recency::Off,
            [1] => Recency::Building,
            [2] => Recency::On,
            _ => return Err(Error::damaged("the state record has an impossible flag")),
        };
        let record = StateRecord {
            recency,
            max_bytes: fields.u64()?,
            next_namespace: fields.u32()?,
            stamp_base: fields.u64()?,
        };
        fields.end(record)
    }
}

/// Says what an entry means, whatever id its namespace has: a hash of the namespace's name and of its stages' names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity(pub(crate) [u8; 32]);

/// One namespace: its present id and the pipeline its entries go through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NamespaceRecord {
    pub(crate) id: NamespaceId,
    pub(crate) key_codec: String,
    pub(crate) serializer: String,
    /// Empty when values are not compressed.
    pub(crate) compressor: String,
    /// The limit on the number of entries; 0 for none.
    pub(crate) max_entries: u64,
}

impl NamespaceRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.id.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.max_entries.to_le_bytes());
        put_text(&mut out, &self.key_codec);
        put_text(&mut out, &self.serializer);
        put_text(&mut out, &self.compressor);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<NamespaceRecord> {
        let mut fields = Fields::new(bytes, "namespace record");
        let id = NamespaceId(fields.u32()?);
        let max_entries = fields.u64()?;
        let record = NamespaceRecord {
            id,
            key_codec: fields.text()?,
            serializer: fields.text()?,
            compressor: fields.text()?,
            max_entries,
        };
        fields.end(record)
    }

    /// What its entries are bound to in an encrypted store.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let mut hasher = blake3::Hasher::new();
        for text in [name, &self.key_codec, &self.serializer, &self.compressor] {
            // None is longer than that.
            hasher.update(&[u8::try_from(text.len()).unwrap_or(u8::MAX)]);
            hasher.update(text.as_bytes());
        }
        Identity(*hasher.finalize().as_bytes())
    }

    /// Id and limit, which every operation checks.
    pub(crate) fn peek_limit(bytes: &[u8]) -> Option<(NamespaceId, u64)> {
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        let limit = rest.first_chunk::<8>()?;
        Some((NamespaceId(u32::from_le_bytes(*id)), u64::from_le_bytes(*limit)))
    }
}

/// How many entries a namespace has, expired ones included, and the next insertion number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) entries: u64,
    pub(crate) next: u64,
}

impl Counters {
    /// More than was ever inserted anywhere, so that what is counted up from there does not overflow.
    pub(crate) const MOST_INSERTED: u64 = 1 << 62;

    pub(crate) fn encode(&self) -> [u8; 16] {
        let mut out = [0; 16];
        let bytes = self.entries.to_le_bytes().into_iter().chain(self.next.to_le_bytes());
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = from;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Counters> {
        let mut fields = Fields::new(bytes, "counters");
        let counters = Counters { entries: fields.u64()?, next: fields.u64()? };
        if counters.next > Counters::MOST_INSERTED || counters.entries > counters.next {
            return Err(Error::damaged("the counters have impossible numbers"));
        }
        fields.end(counters)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Stage names are checked to be short when they are registered.
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.bytes().take(u8::MAX.into()));
}

/// Reads fields off the front of a record.
struct Fields<'a> {
    rest: &'a [u8],
    record: &'static str,
}

impl<'a> Fields<'a> {
    fn new(rest: &'a [u8], record: &'static str) -> Fields<'a> {
        Fields { rest, record }
    }

    fn short(&self) -> Error {
        Error::damaged(format!("the {} is too short", self.record))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String> {
        let [len] = self.array::<1>()?;
        let (text, rest) = self.rest.split_at_checked(len.into()).ok_or_else(|| self.short())?;
        self.rest = rest;
        let text = std::str::from_utf8(text);
        Ok(text
            .map_err(|_| Error::damaged(format!("the {} has a name that is not text", self.record)))?
            .to_owned())
    }

    fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn end<T>(self, record: T) -> Result<T> {
        match self.rest {
            [] => Ok(record),
            _ => Err(Error::damaged(format!("the {} is too long", self.record))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> StoreRecord {
        StoreRecord {
            version: LMDB_VERSION,
            id: [9; 16],
            created: Time(5),
            cipher: "c".into(),
            envelope: vec![1, 2],
        }
    }

    #[test]
    fn records_read_back_as_written() {
        assert_eq!(StoreRecord::decode(&store().encode()).unwrap(), store());
        for recency in [Recency::Off, Recency::Building, Recency::On] {
            let state = StateRecord { recency, max_bytes: 2, next_namespace: 3, stamp_base: 4 };
            assert_eq!(StateRecord::decode(&state.encode()).unwrap(), state);
        }
        let ns = NamespaceRecord {
            id: NamespaceId(77),
            key_codec: "k".into(),
            serializer: "s".into(),
            compressor: String::new(),
            max_entries: 8,
        };
        assert_eq!(NamespaceRecord::decode(&ns.encode()).unwrap(), ns);
        // Each name counts, and where it ends.
        let others = [
            ns.identity("m"),
            NamespaceRecord { key_codec: "kk".into(), ..ns.clone() }.identity("n"),
            NamespaceRecord { key_codec: "ks".into(), serializer: String::new(), ..ns.clone() }.identity("n"),
            NamespaceRecord { serializer: String::new(), compressor: "s".into(), ..ns.clone() }.identity("n"),
        ];
        assert!(others.iter().all(|other| *other != ns.identity("n")));
        let cleared = NamespaceRecord { id: NamespaceId(78), max_entries: 9, ..ns.clone() };
        assert_eq!(cleared.identity("n"), ns.identity("n"));
        assert_eq!(NamespaceRecord::peek_limit(&ns.encode()), Some((NamespaceId(77), 8)));
        let counters = Counters { entries: 3, next: 4 };
        assert_eq!(Counters::decode(&counters.encode()).unwrap(), counters);
        let counters = Counters { entries: 3, next: u64::MAX };
        assert!(Counters::decode(&counters.encode()).unwrap_err().is_damaged());
    }

    #[test]
    fn a_newer_store_is_told_from_a_damaged_one() {
        let mut bytes = store().encode();
        bytes[8] = LMDB_VERSION as u8 + 1;
        assert!(matches!(StoreRecord::decode(&bytes), Err(Error::NewerFormat { .. })));
        bytes[0] = 0;
        assert!(StoreRecord::decode(&bytes).unwrap_err().is_damaged());
    }

    #[test]
    fn short_long_and_garbled_records_are_damage() {
        let state = StateRecord::NEW.encode();
        assert!(StateRecord::decode(&state[1..]).unwrap_err().is_damaged());
        assert!(StateRecord::decode(&[state, vec![0]].concat()).unwrap_err().is_damaged());
        assert!(NamespaceRecord::decode(&[0; 13]).unwrap_err().is_damaged());
        assert!(Counters::decode(b"").unwrap_err().is_damaged());
    }
}
