//! The directory of a store: what lies at a path, whether a store may, and the locks on its files.

pub(in crate::store) mod byte_lock;
pub(in crate::store) mod filesystem;
pub(in crate::store) mod holder;
pub(in crate::store) mod locks;
pub(in crate::store) mod making;
pub(in crate::store) mod place;
pub(in crate::store) mod store_dir;
