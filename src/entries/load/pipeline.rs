//! From a record to what is sorted: an entry that went through the namespace's pipeline, under its hash.

use std::cell::Cell;
use std::sync::Arc;

use super::super::Space;
use crate::clock::Time;
use crate::error::Result;
use crate::load::{Encode, Encoded, Record, Refusal};
use crate::pipeline::{Cipher, pack};
use crate::store::body::Sealing;
use crate::store::{Header, KeyBuffer, KeyHash, STAGE_NAMED, STAGE_NONE, Unlocked, checksum};

/// What a record becomes before it goes through the pipeline.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ByteEntry {
    /// The canonical key, one byte or more.
    pub key: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// The entry's tag.
    pub tag: u8,
}

/// Makes the key and the payload of a record.
pub(crate) type MakeEntry<'a> = &'a (dyn Fn(&Record<'_>, &mut ByteEntry) -> Result<(), Refusal> + Sync);

/// How an entry lies in a sorted run: compressor and tag (a byte each), length of the key (4 bytes), checksum of the
/// body (8 bytes), body.
const HEAD: usize = 14;

/// Sends records through the namespace's pipeline.
pub(super) struct Pipeline<'a> {
    pub(super) space: &'a Space,
    pub(super) make: MakeEntry<'a>,
    pub(super) unlocked: Arc<Unlocked>,
    pub(super) cipher: Arc<dyn Cipher>,
    pub(super) template: Header,
    pub(super) largest: u64,
}

/// Buffers of one thread.
#[derive(Default)]
struct Spare {
    entry: ByteEntry,
    key: KeyBuffer,
    packed: Vec<u8>,
    body: Vec<u8>,
}

thread_local! {
    static SPARE: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

impl Encode for Pipeline<'_> {
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        let mut spare = SPARE.take().unwrap_or_default();
        let encoded = self.encode_with(&mut spare, record, out);
        SPARE.set(Some(spare));
        encoded
    }
}

impl Pipeline<'_> {
    fn encode_with(&self, spare: &mut Spare, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        let Spare { entry, key, packed, body } = spare;
        entry.key.clear();
        entry.payload.clear();
        entry.tag = 0;
        (self.make)(record, entry)?;
        if entry.key.is_empty() {
            return Err(Refusal::record("its key is empty"));
        }
        let size = (entry.key.len() + entry.payload.len()) as u64;
        if size > self.largest {
            return Err(Refusal::record(format!(
                "it has {size} bytes, and an entry {} at most",
                self.largest
            )));
        }
        packed.clear();
        let is_packed = match &self.space.compressor {
            Some(compressor) => pack(&**compressor, &entry.payload, packed)?,
            None => false,
        };
        let payload = if is_packed { packed.as_slice() } else { entry.payload.as_slice() };
        let compressor = if is_packed { STAGE_NAMED } else { STAGE_NONE };
        let mut header = Header { compressor, tag: entry.tag, ..self.template };
        key.start().extend_from_slice(&entry.key);
        let hash = key.hash(&self.unlocked.hasher, header.namespace);
        let identity = self.space.namespace.identity();
        let sealing = Sealing { unlocked: &self.unlocked, cipher: &*self.cipher, identity };
        sealing.seal(&mut header, hash, &entry.key, payload, body)?;
        out.key.extend_from_slice(&hash.0);
        out.value.extend_from_slice(&[header.compressor, header.tag]);
        out.value.extend_from_slice(&header.key_len.to_le_bytes());
        out.value.extend_from_slice(&checksum(body).to_le_bytes());
        out.value.extend_from_slice(body);
        Ok(())
    }
}

/// An entry out of a sorted run.
pub(super) struct Loaded<'a> {
    pub(super) hash: KeyHash,
    pub(super) header: Header,
    pub(super) body: &'a [u8],
    pub(super) body_checksum: u64,
}

impl<'a> Loaded<'a> {
    pub(super) fn read(template: &Header, key: &[u8], value: &'a [u8]) -> Option<Loaded<'a>> {
        let (head, body) = value.split_first_chunk::<HEAD>()?;
        let [compressor, tag, l0, l1, l2, l3, sum @ ..] = *head;
        let key_len = u32::from_le_bytes([l0, l1, l2, l3]);
        let hash = KeyHash(key.try_into().ok()?);
        let header = Header { compressor, tag, key_len, ..*template };
        Some(Loaded { hash, header, body, body_checksum: u64::from_le_bytes(sum) })
    }
}

/// Encrypts an entry anew for the creation time of the one it replaces, which the cipher authenticates.
pub(super) fn reseal(
    sealing: Sealing<'_>,
    loaded: &mut Loaded<'_>,
    created: Time,
    sealed: &mut Vec<u8>,
) -> Result<()> {
    let mut plain = loaded.body.to_vec();
    let parts = sealing.open(&loaded.header, loaded.hash, &mut plain)?;
    let (key, payload) =
        (plain.get(parts.key).unwrap_or_default(), plain.get(parts.payload).unwrap_or_default());
    loaded.header.created = created;
    sealing.seal(&mut loaded.header, loaded.hash, key, payload, sealed)
}
