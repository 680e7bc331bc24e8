//! The files of the log: their names, and how they are made and removed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;

use super::map::{Map, Mode};
use crate::error::{Error, Result};
use crate::store::directory::store_dir::StoreDir;

const PREFIX: &str = "log-";

pub(super) fn name(number: u32) -> String {
    format!("{PREFIX}{number:08x}")
}

/// The number in the name of a segment's file; `None` if it is none.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Makes the file of a segment with all the room it needs, and returns when it would be found after a power loss.
///
/// # Errors
///
/// [`Error::DiskFull`]: then there is no file. This is where the log meets a full disk, and nowhere else.
pub(super) fn create(dir: &StoreDir, number: u32, size: u32) -> Result<File> {
    let context = "making room in the log";
    let name = name(number);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = dir.open_file(&name, flags).map_err(|e| Error::io(context, e))?;
    super::fault::point("a segment has a name");
    let named = || match super::fault::breaks("a new segment's name is synced") {
        true => Ok(()),
        false => dir.sync(),
    };
    let made = allocate(&file, size)
        .and_then(|()| super::fault::recycle(dir.path(), &file, size))
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            super::fault::point("a segment has its room");
            named()
        });
    match made {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(dir.remove(&name));
            Err(Error::io(context, error))
        }
    }
}

pub(super) fn allocate(file: &File, size: u32) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size.into()) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 1 << 16];
            let mut at = 0;
            while at < u64::from(size) {
                let part = zeros.get(..(u64::from(size) - at).min(1 << 16) as usize).unwrap_or(&zeros);
                file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the disk has so much room that a segment which is not needed yet leaves enough.
pub(super) fn is_affordable(dir: &StoreDir, size: u32) -> bool {
    dir.free_bytes() / 4 > size.into()
}

/// Maps the file of a segment, unless it is empty. [`Error::NotFound`] when it has gone.
pub(super) fn map(dir: &StoreDir, number: u32, mode: Mode) -> Result<Option<Map>> {
    let access = if mode == Mode::Shared { OFlags::RDWR } else { OFlags::RDONLY };
    let file = dir.open_own(&name(number), access, "opening the log")?;
    let len = file.metadata().map_err(|e| Error::io("looking at the log", e))?.len();
    match len.min(u32::MAX.into()) as usize {
        0 => Ok(None),
        len => Map::new(&file, len, mode).map(Some),
    }
}

/// The numbers of all segments in a directory, in their order.
pub(super) fn list(dir: &StoreDir) -> Result<Vec<u32>> {
    let failed = |e| Error::io("looking for the log", e);
    let mut numbers = Vec::new();
    dir.for_each_name(|name| {
        numbers.extend(name.to_str().and_then(number));
    })
    .map_err(failed)?;
    numbers.sort_unstable();
    Ok(numbers)
}

/// Bytes that the log takes on the disk.
pub(super) fn total_bytes(dir: &StoreDir) -> Result<u64> {
    Ok(list(dir)?.into_iter().filter_map(|number| dir.allocated(&name(number))).sum())
}

/// Removes the file of a segment, if it is there. Those who map it go on reading it.
pub(super) fn remove(dir: &StoreDir, number: u32) -> Result<()> {
    super::fault::point("a segment is to be removed");
    super::fault::remember(&dir.path().join(name(number)));
    dir.remove(&name(number)).map_err(|e| Error::io("removing a part of the log", e))
}
