//! Who has a lock of the kernel's on a file, to be named to those who wait for it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// The process that has locked the file alone with `flock`, by the number it has here, if the system tells. One in another
/// container has none here.
pub(in crate::store) fn of(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    // A line is: `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`. Devices are numbered otherwise there on some file
    // systems, so the inode has to do.
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_alone = words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE");
        let (process, place) = (words.next()?.parse().ok()?, words.next()?);
        let is_here = place.rsplit(':').next()?.parse() == Ok(inode);
        (is_alone && is_here).then_some(process)
    })
}

/// The same in words, to be put behind "another process".
pub(in crate::store) fn named(file: &File) -> String {
    of(file).map_or_else(String::new, |process| format!(" ({process})"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn who_has_a_file_alone_is_told() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(of(&file), None);
        flock(&file, FlockOperation::LockShared).unwrap();
        assert_eq!(of(&file), None);
        flock(&file, FlockOperation::LockExclusive).unwrap();
        assert_eq!(of(&file), Some(std::process::id()));
        assert_eq!(named(&file), format!(" ({})", std::process::id()));
    }
}
