//! What is due from time to time: access times, expired entries, limits, the thread that sees to them, and a look at all.

pub(in crate::store) mod access;
pub(in crate::store) mod housekeeper;
pub(in crate::store) mod limits;
pub(in crate::store) mod oldest;
pub(in crate::store) mod sweep;
pub(in crate::store) mod verify;
