//! The fixed header in front of every entry. `docs/FORMAT.md` describes it byte by byte.

use twox_hash::XxHash3_64;

use super::layout::{KeyHash, NamespaceId, Number};
use super::records::Identity;
use crate::clock::{Span, Time};
use crate::error::{Error, Result};

/// Of an entry that is not encrypted, or bound to the id of its namespace alone.
pub(crate) const ENTRY_VERSION_1: u8 = 1;
/// Of an encrypted entry that is bound to the [`Identity`] of its namespace. The newest that this version reads.
pub(crate) const ENTRY_VERSION_2: u8 = 2;
pub(crate) const HEADER_SIZE: usize = 80;
/// What a cipher authenticates of the header: all before the insertion number.
const AUTHENTIC: usize = 48;
/// What the checksum covers of the header: all before the access time.
const CHECKED: usize = 64;
const ACCESSED_AT: usize = 64;

/// The error for an entry that was changed by accident.
pub(crate) const BAD_CHECKSUM: &str = "an entry's checksum does not match";

/// The id, in a header, of a stage that was not applied.
pub(crate) const STAGE_NONE: u8 = 0;
/// The id, in a header, of the stage that the metadata names.
pub(crate) const STAGE_NAMED: u8 = 1;

/// The id of the transaction that last wrote an entry's value, unique across compactions: while it stays the same, so does
/// the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stamp(pub(crate) u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Of the entry format.
    pub(crate) version: u8,
    pub(crate) compressor: u8,
    pub(crate) cipher: u8,
    /// Free for the face above: the engine keeps and authenticates it but gives it no meaning.
    pub(crate) tag: u8,
    pub(crate) namespace: NamespaceId,
    /// Length of the key at the start of the body; 0 when the body is encrypted, which hides the length too.
    pub(crate) key_len: u32,
    pub(crate) created: Time,
    pub(crate) modified: Time,
    /// `Time::ZERO`: never.
    pub(crate) expires: Time,
    /// `Span(0)`: does not expire by idleness.
    pub(crate) idle: Span,
    pub(crate) number: Number,
    pub(crate) stamp: Stamp,
    pub(crate) accessed: Time,
}

/// See [`Header::associated_data`].
pub(crate) struct AssociatedData {
    bytes: [u8; AUTHENTIC + 16 + 32],
    len: usize,
}

impl AssociatedData {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// When an entry stops being there: the earlier of its fixed expiry and its last access plus its idle time.
pub(crate) fn due(expires: Time, idle: Span, accessed: Time) -> Option<Time> {
    let idle_due = (idle.0 != 0).then(|| accessed.saturating_add(idle));
    let fixed = (expires != Time::ZERO).then_some(expires);
    match (fixed, idle_due) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Header {
    pub(crate) fn due(&self) -> Option<Time> {
        due(self.expires, self.idle, self.accessed)
    }

    fn fixed(&self) -> [u8; CHECKED] {
        let mut out = [0; CHECKED];
        let fields: [&[u8]; 10] = [
            &[self.version, 0, STAGE_NAMED, self.compressor, self.cipher, self.tag],
            &[0, 0],
            &self.namespace.0.to_le_bytes(),
            &self.key_len.to_le_bytes(),
            &self.created.0.to_le_bytes(),
            &self.modified.0.to_le_bytes(),
            &self.expires.0.to_le_bytes(),
            &self.idle.0.to_le_bytes(),
            &self.number.0.to_le_bytes(),
            &self.stamp.0.to_le_bytes(),
        ];
        fill(&mut out, &fields);
        out
    }

    /// The associated data of the cipher: with these in it, no ciphertext can be moved to another key
    /// or namespace, dated back, or have its life extended.
    pub(crate) fn associated_data(&self, hash: KeyHash, identity: &Identity) -> AssociatedData {
        let mut bytes = [0; AUTHENTIC + 16 + 32];
        fill(&mut bytes, &[self.fixed().split_at(AUTHENTIC).0, &hash.0, &identity.0]);
        let len = if self.version == ENTRY_VERSION_1 { AUTHENTIC + 16 } else { bytes.len() };
        AssociatedData { bytes, len }
    }

    /// The header's bytes, checksum included. `body_checksum` is [`checksum`] of everything behind the header.
    pub(crate) fn encode(&self, body_checksum: u64) -> [u8; HEADER_SIZE] {
        let fixed = self.fixed();
        let sum = total_checksum(&fixed, body_checksum);
        let mut out = [0; HEADER_SIZE];
        fill(&mut out, &[&fixed, &self.accessed.0.to_le_bytes(), &sum.to_le_bytes()]);
        out
    }

    /// Splits an entry into header and body, without looking at the checksum, unless the header is not one that this
    /// version writes.
    pub(crate) fn parse(entry: &[u8]) -> Result<(Header, &[u8])> {
        let Some((head, body)) = entry.split_first_chunk::<HEADER_SIZE>() else {
            return Err(Error::damaged(format!(
                "an entry of {} bytes has no room for its header",
                entry.len()
            )));
        };
        let [version, flags, serializer, compressor, cipher, tag, spare, spare_too, ..] = *head;
        // The spare bytes, too: the cipher authenticates them as the zeros they are.
        let is_known = matches!(version, ENTRY_VERSION_1 | ENTRY_VERSION_2)
            && [flags, spare, spare_too] == [0; 3]
            && serializer == STAGE_NAMED
            && cipher <= STAGE_NAMED
            && compressor <= STAGE_NAMED;
        let key_len = u32_at(head, 12);
        if !is_known || key_len as usize > body.len() {
            return Err(Header::explain(entry, version));
        }
        let header = Header {
            version,
            compressor,
            cipher,
            tag,
            namespace: NamespaceId(u32_at(head, 8)),
            key_len,
            created: Time(u64_at(head, 16)),
            modified: Time(u64_at(head, 24)),
            expires: Time(u64_at(head, 32)),
            idle: Span(u64_at(head, 40)),
            number: Number(u64_at(head, 48)),
            stamp: Stamp(u64_at(head, 56)),
            accessed: Time(u64_at(head, ACCESSED_AT)),
        };
        Ok((header, body))
    }

    /// What is wrong with an entry whose header cannot be read: an accident is not taken for another version.
    #[cold]
    fn explain(entry: &[u8], version: u8) -> Error {
        if !Header::checksum_holds(entry) {
            return Error::damaged(BAD_CHECKSUM);
        }
        if version > ENTRY_VERSION_2 {
            return Error::NewerFormat { found: version.into(), supported: ENTRY_VERSION_2.into() };
        }
        Error::damaged("an entry's header has impossible bytes")
    }

    /// The stamp in the bytes of a header, whatever else is in them.
    #[cfg(feature = "valkey")]
    pub(crate) fn stamp_in(head: &[u8]) -> Option<Stamp> {
        head.first_chunk::<HEADER_SIZE>().map(|head| Stamp(u64_at(head, 56)))
    }

    /// Whether the entry is what was written, except for its access time, which the checksum leaves out so that a
    /// flush of access times need not read the payload.
    pub(crate) fn checksum_holds(entry: &[u8]) -> bool {
        let Some((head, body)) = entry.split_first_chunk::<HEADER_SIZE>() else { return false };
        let Some(fixed) = head.first_chunk::<CHECKED>() else { return false };
        u64_at(head, 72) == total_checksum(fixed, checksum(body))
    }

    /// Sets the access time in an entry's bytes.
    pub(crate) fn set_accessed(entry: &mut [u8], accessed: Time) {
        if let Some(field) = entry.get_mut(ACCESSED_AT..ACCESSED_AT + 8) {
            field.copy_from_slice(&accessed.0.to_le_bytes());
        }
    }
}

/// XXH3 with 64 bits (Yann Collet, `xxHash`): catches damage, not forgery.
pub(crate) fn checksum(body: &[u8]) -> u64 {
    XxHash3_64::oneshot(body)
}

fn total_checksum(fixed: &[u8; CHECKED], body_checksum: u64) -> u64 {
    let mut both = [0; CHECKED + 8];
    fill(&mut both, &[fixed, &body_checksum.to_le_bytes()]);
    XxHash3_64::oneshot(&both)
}

/// Copies the fields into `out`, one behind the other. (A chain of byte iterators would be copied byte by byte.)
#[inline(always)]
fn fill(out: &mut [u8], fields: &[&[u8]]) {
    let mut rest = out;
    for field in fields {
        let Some((here, behind)) = rest.split_at_mut_checked(field.len()) else { return };
        here.copy_from_slice(field);
        rest = behind;
    }
}

fn u32_at(head: &[u8; HEADER_SIZE], at: usize) -> u32 {
    head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(head: &[u8; HEADER_SIZE], at: usize) -> u64 {
    head.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
impl Header {
    /// That of an entry without a lifetime, for tests of what is kept in memory.
    pub(crate) fn of_stamp(stamp: u64) -> Header {
        Header {
            version: ENTRY_VERSION_1,
            compressor: STAGE_NONE,
            cipher: STAGE_NONE,
            tag: 0,
            namespace: NamespaceId(1),
            key_len: 1,
            created: Time(1),
            modified: Time(1),
            expires: Time::ZERO,
            idle: Span(0),
            number: Number::FIRST,
            stamp: Stamp(stamp),
            accessed: Time(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            version: ENTRY_VERSION_1,
            compressor: STAGE_NAMED,
            cipher: STAGE_NONE,
            tag: 3,
            namespace: NamespaceId(4),
            key_len: 2,
            created: Time(5),
            modified: Time(6),
            expires: Time(7),
            idle: Span(8),
            number: Number(9),
            stamp: Stamp(10),
            accessed: Time(11),
        }
    }

    fn entry() -> Vec<u8> {
        let body = b"kvalue";
        let mut entry = sample().encode(checksum(body)).to_vec();
        entry.extend_from_slice(body);
        entry
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let entry = entry();
        let (header, body) = Header::parse(&entry).unwrap();
        assert_eq!(header, sample());
        assert_eq!(body, b"kvalue");
        assert!(Header::checksum_holds(&entry));
    }

    #[test]
    fn every_changed_bit_but_the_access_time_breaks_the_checksum() {
        for bit in 0..entry().len() * 8 {
            let mut changed = entry();
            changed[bit / 8] ^= 1 << (bit % 8);
            let is_access_time = (ACCESSED_AT..ACCESSED_AT + 8).contains(&(bit / 8));
            assert_eq!(Header::checksum_holds(&changed), is_access_time, "bit {bit}");
        }
    }

    #[test]
    fn a_new_access_time_keeps_the_checksum() {
        let mut entry = entry();
        Header::set_accessed(&mut entry, Time(99));
        assert!(Header::checksum_holds(&entry));
        assert_eq!(Header::parse(&entry).unwrap().0.accessed, Time(99));
    }

    #[test]
    fn an_accident_is_not_taken_for_another_version() {
        for (byte, value) in [(0, 3), (0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (6, 1), (7, 1), (12, 200)] {
            let mut changed = entry();
            changed[byte] = value;
            let error = Header::parse(&changed).unwrap_err();
            assert!(error.to_string().contains(BAD_CHECKSUM), "byte {byte}: {error}");
            // As whoever wrote it meant it.
            let fixed = *changed.first_chunk::<CHECKED>().unwrap();
            let sum = total_checksum(&fixed, checksum(&changed[HEADER_SIZE..]));
            changed[72..80].copy_from_slice(&sum.to_le_bytes());
            let error = Header::parse(&changed).unwrap_err();
            let is_newer = matches!(error, Error::NewerFormat { found: 3, supported: 2 });
            assert_eq!((is_newer, error.is_damaged()), (value == 3, value != 3), "byte {byte}: {error}");
        }
        assert!(Header::parse(&entry()[..HEADER_SIZE - 1]).unwrap_err().is_damaged());
    }

    #[test]
    fn an_entry_is_due_at_the_earlier_of_expiry_and_idleness() {
        assert_eq!(due(Time::ZERO, Span(0), Time(5)), None);
        assert_eq!(due(Time(10), Span(0), Time(5)), Some(Time(10)));
        assert_eq!(due(Time::ZERO, Span(3), Time(5)), Some(Time(8)));
        assert_eq!(due(Time(7), Span(3), Time(5)), Some(Time(7)));
        assert_eq!(due(Time(9), Span(3), Time(5)), Some(Time(8)));
    }
}
