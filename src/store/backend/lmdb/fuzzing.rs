//! For the fuzz targets: the log and LMDB's pages, as found.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::file::{DataFile, check, check_free, check_snapshot, check_trees};
use super::map::{Map, Mode};
use super::position::Point;
use super::replay::replay;
use super::segment::{HEADER, Segment, Shape, hash};
use super::segment_file;
use crate::store::backend::merged::Direction;
use crate::store::directory::store_dir::StoreDir;

/// The least bytes that a record has.
const RECORD: usize = 16;
const STORE: [u8; 16] = [7; 16];

/// Replays a log of one segment, whose records are these bytes, but for their checksums, which are made right. What is found
/// must be what the records say, in the tables and in order.
///
/// # Panics
///
/// When it is not.
pub fn log(dir: &Path, bytes: &[u8]) {
    let dir = StoreDir::open(dir).expect("the target makes it");
    let origin = Point::origin(0);
    let number = origin.at.segment + 1;
    let shape = Shape::of_size(64 << 10);
    drop(segment_file::remove(&dir, number));
    let file = segment_file::create(&dir, number, shape.size).expect("there is room");
    let map = Map::new(&file, shape.size as usize, Mode::Shared).expect("it can be mapped");
    let room = (shape.size - shape.slots * 8 - HEADER) as usize;
    let mut records = bytes.get(..room).unwrap_or(bytes).to_vec();
    let seed = {
        let segment = Segment::begin(map, number, shape, origin, &STORE).expect("there is randomness");
        segment.first().checksum
    };
    sum(&mut records, seed);
    std::os::unix::fs::FileExt::write_all_at(&file, &records, HEADER.into()).expect("there is room");

    for (mode, taken) in [(Mode::Private, false), (Mode::Shared, true)] {
        let Ok(found) = replay(&dir, origin, &STORE, mode, taken) else { continue };
        for part in &found.parts {
            let segment = &part.segment;
            segment.check(part.end).expect("what was replayed holds");
            let mut newest = BTreeMap::new();
            for listed in segment.changes(HEADER, part.end) {
                newest.insert(listed.change.key, listed.change.value);
            }
            for (key, value) in newest.iter().filter(|_| taken) {
                let listed = segment.find(hash(key), key, part.end).expect("a key is listed");
                assert!(listed.change.value == *value, "another value than the newest");
            }
            for kind in newest.keys().filter_map(|key| key.first().copied()).collect::<Vec<_>>() {
                let all = (Bound::Unbounded, Bound::Unbounded);
                let first = newest.keys().find(|key| key.first() == Some(&kind)).copied();
                assert!(segment.next_key(kind, all, Direction::Up, part.end) == first, "another first key");
            }
        }
    }
}

/// Sets the checksum of each record whose length is possible.
fn sum(records: &mut [u8], mut seed: u64) {
    let mut rest = records;
    while let Some(len) = rest.get(8..12).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes) {
        let Some((record, behind)) = rest.split_at_mut_checked(len as usize) else { return };
        if record.len() < RECORD || !record.len().is_multiple_of(8) {
            return;
        }
        let (checksum, summed) = record.split_at_mut(8);
        seed = XxHash3_64::oneshot_with_seed(seed, summed);
        checksum.copy_from_slice(&seed.to_le_bytes());
        rest = behind;
    }
}

/// Whether all checks that are made before and beside LMDB take a data file for sound. Then LMDB must be able to read it.
pub fn is_sound_data_file(file: &File) -> bool {
    let Ok(DataFile::Lmdb { newest }) = check(Path::new("data.mdb"), file) else { return false };
    check_snapshot(file, &newest).is_ok()
        && check_free(file, &newest).is_ok()
        && check_trees(file, &newest).is_ok()
}
