//! What a store asks of the engine that keeps its records, beside transactions.

use std::path::Path;
use std::time::Duration;

use super::{NewData, ReadTxn, RoomGuard, not_in_rocks};
use crate::error::{Error, Result};
use crate::store::directory::place::Place;
use crate::store::format::records::StoreRecord;

/// An engine. What has a default is for those that have more to see to, as LMDB has its log, its map and its limit.
pub(crate) trait Engine {
    /// Where the store was found.
    fn place(&self) -> &Place;

    /// Fails if the store is not what lies at its path any more.
    fn check_place(&self) -> Result<()> {
        self.place().check()
    }

    /// Whether this process was let in for reading only.
    fn is_read_only(&self) -> bool;

    /// What the error says to whoever wants to write then.
    fn refusal(&self, dir: &Path) -> Error {
        Error::not_permitted(dir.to_owned())
    }

    /// Whether it refuses everything until it is opened anew.
    fn has_failed(&self) -> bool {
        false
    }

    /// Refuses a store whose disk has failed to keep what was written to it.
    fn check_poison(&self) -> Result<()> {
        Ok(())
    }

    /// Writes the first records of a new store. The caller is the only process that has it open.
    fn create(&self, record: &StoreRecord, state: Vec<u8>) -> Result<()>;

    /// Tells of the limit in bytes that is in force. To be called once, before anything is written.
    fn set_limit(&self, _max_bytes: Option<u64>) -> Result<()> {
        Ok(())
    }

    /// The most that the records can ever take.
    fn most_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Holds up a writer that is ahead of what can be done behind it. To be called before each write transaction.
    fn pace(&self) -> Result<()> {
        Ok(())
    }

    /// To be held by who writes so many bytes, from before room is made for them until they are written.
    fn room_lock(&self, _bytes: u64) -> Result<Option<RoomGuard<'_>>> {
        Ok(None)
    }

    /// Moves what is behind the writers to where it takes the least room, and gives back what is free.
    fn make_room(&self) -> Result<()> {
        Ok(())
    }

    /// To be called after each commit. Returns whether there is something to be done behind the writers at once.
    fn committed(&self) -> bool;

    /// Returns when a committed transaction is safe from a power loss.
    fn wait_durable(&self, _txn: u64) -> Result<()> {
        self.checkpoint()
    }

    /// Makes all that is committed safe from a power loss.
    fn checkpoint(&self) -> Result<()>;

    /// Whether this process committed anything that may not be safe from a power loss.
    fn has_unsynced_writes(&self) -> bool;

    /// Does what is due behind the writers, a checkpoint if the last one is so long ago.
    fn upkeep(&self, interval: Duration) -> Result<()>;

    /// How soon something may be due; `None` if nothing will be before the next commit.
    fn rest(&self, interval: Duration) -> Option<Duration>;

    /// Whether an entry whose time to live is over can vanish before the sweeper finds it.
    fn removes_expired(&self) -> bool {
        false
    }

    /// Bytes on the disk.
    fn file_bytes(&self) -> Result<u64>;

    /// How they are divided, where that is known.
    fn room(&self) -> Result<Room> {
        Ok(Room::default())
    }

    /// Looks at what a snapshot would trust.
    fn check(&self, _snapshot: &ReadTxn<'_>) -> Result<()> {
        Ok(())
    }

    /// Refuses a transaction that fills a whole store, if it cannot be made.
    #[cfg(feature = "load")]
    fn check_whole(&self) -> Result<()> {
        Err(not_in_rocks())
    }

    /// Writes all records of now into a directory, as a store of its own.
    fn copy_to(&self, dir: &Path) -> Result<()>;

    /// Rewrites the data without its free space while others have it open. Returns `false` if the backend cannot: then the data
    /// has to be written anew, in a directory of its own.
    fn compact_in_use(&self) -> Result<bool> {
        Ok(false)
    }

    /// Begins data in a directory that will replace the present one.
    fn new_data(&self, _dir: &Path) -> Result<NewData> {
        Err(not_in_rocks())
    }

    /// Puts it there. Nobody has the store open.
    fn put_in_place(&self, _dir: &Path) -> Result<()> {
        Err(not_in_rocks())
    }

    /// Leaves the files as they are best kept. The caller is the only process that has the store open.
    fn close_alone(&self) -> Result<()> {
        self.checkpoint()
    }

    /// Takes what was inherited over a fork out of use.
    ///
    /// # Safety
    ///
    /// It is of the parent process, and nobody uses or will use it in this one.
    #[allow(unsafe_code)]
    unsafe fn abandon(&self);
}

/// Room on the disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Room {
    /// What the records take in the data file.
    pub(crate) records: u64,
    /// The files of the log.
    pub(crate) log: u64,
    /// What else the data file takes: pages to be used again, and given back when nobody writes.
    pub(crate) free: u64,
}
