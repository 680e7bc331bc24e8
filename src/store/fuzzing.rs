//! What the fuzz targets in `fuzz/` call: parsers of what lies in a store, with what must hold of their answers. Compiled
//! by `cargo fuzz` alone, with `--cfg fuzzing`.

use super::format::header::Header;
use super::format::records::{Counters, NamespaceRecord, StateRecord, StoreRecord};
pub use crate::store::backend::lmdb::fuzzing::{is_sound_data_file, log};

/// Reads an entry's header; one that can be read is written again as it was, but for its checksum.
pub fn entry(bytes: &[u8]) {
    let holds = Header::checksum_holds(bytes);
    match Header::parse(bytes) {
        Ok((header, body)) => {
            assert!(header.key_len as usize <= body.len(), "a key that is longer than the body");
            let again = header.encode(super::format::header::checksum(body));
            let written = bytes.get(..super::format::header::HEADER_SIZE).unwrap_or_default();
            assert_eq!(again.get(..72), written.get(..72), "another header");
            assert_eq!(again.as_slice() == written, holds, "another checksum");
            header.due();
        }
        Err(error) => drop(error.to_string()),
    }
}

/// Reads the records beside the entries; what can be read is read again from what is written of it.
pub fn records(bytes: &[u8]) {
    StoreRecord::peek_id(bytes);
    NamespaceRecord::peek_limit(bytes);
    if let Ok(record) = StoreRecord::decode(bytes) {
        let written = record.encode();
        assert_eq!(StoreRecord::decode(&written).map(|again| again.encode()).ok(), Some(written));
    }
    if let Ok(record) = StateRecord::decode(bytes) {
        let written = record.encode();
        assert_eq!(StateRecord::decode(&written).map(|again| again.encode()).ok(), Some(written));
    }
    if let Ok(record) = NamespaceRecord::decode(bytes) {
        record.identity("name");
        let written = record.encode();
        assert_eq!(NamespaceRecord::decode(&written).map(|again| again.encode()).ok(), Some(written));
    }
    if let Ok(counters) = Counters::decode(bytes) {
        assert_eq!(counters.encode().as_slice(), bytes.get(..16).unwrap_or_default());
    }
}
