//! The bytes of records: their keys, the headers of entries, and what else is kept.

pub(in crate::store) mod header;
pub(in crate::store) mod layout;
pub(in crate::store) mod records;
