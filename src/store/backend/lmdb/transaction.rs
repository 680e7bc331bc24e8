//! A write transaction: one record in the log, or one commit of LMDB.

use super::{Append, Lmdb, View, Whole};
use crate::error::Result;
use crate::store::backend::Size;

pub(crate) enum Transaction<'a> {
    Append(Append<'a>),
    Whole(Whole<'a>),
}

impl Lmdb {
    pub(in crate::store::backend) fn write_txn(&self, size: Size) -> Result<Transaction<'_>> {
        match size {
            Size::Small => self.begin_append().map(Transaction::Append),
            Size::Whole => self.begin_whole().map(Transaction::Whole),
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn base(&self) -> u64 {
        match self {
            Transaction::Append(append) => append.base(),
            Transaction::Whole(whole) => whole.base(),
        }
    }

    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Transaction::Append(append) => append.view(),
            Transaction::Whole(whole) => whole.view(),
        }
    }

    pub(crate) fn used_bytes(&self) -> Result<u64> {
        match self {
            Transaction::Append(append) => append.used_bytes(),
            Transaction::Whole(whole) => whole.used_bytes(),
        }
    }

    pub(crate) fn has_room_for(&self, bytes: u64) -> Result<bool> {
        match self {
            Transaction::Append(append) => append.has_room_for(bytes),
            Transaction::Whole(_) => Ok(true),
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        match self {
            Transaction::Append(append) => append.put(key, head, body),
            Transaction::Whole(whole) => whole.put(key, head, body),
        }
    }

    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        match self {
            Transaction::Append(_) => Err(not_whole()),
            Transaction::Whole(whole) => whole.clear(),
        }
    }

    #[cfg(feature = "load")]
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Transaction::Append(_) => Err(not_whole()),
            Transaction::Whole(whole) => whole.append(key, value),
        }
    }

    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        match self {
            Transaction::Append(append) => append.delete_if(key, is_it),
            Transaction::Whole(whole) => whole.delete_if(key, is_it),
        }
    }

    pub(crate) fn commit(self) -> Result<u64> {
        match self {
            Transaction::Append(append) => append.commit(),
            Transaction::Whole(whole) => whole.commit(),
        }
    }
}

#[cfg(feature = "load")]
fn not_whole() -> crate::error::Error {
    crate::error::Error::invalid("transaction", "only one for a whole store can do this")
}
