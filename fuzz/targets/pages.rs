//! LMDB's data file: one that our checks take for sound is one that LMDB can read.
//!
//! The input is a list of changes to a small sound file: page, place in the page, byte. A file that LMDB cannot read is
//! where LMDB, which checks nothing, reads outside of its map or fails an assertion.
#![no_main]

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const PAGE: usize = 4096;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("there is memory"));
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(sound);

fuzz_target!(|changes: &[u8]| {
    let mut image = SOUND.clone();
    let pages = image.len() / PAGE;
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % PAGE;
        image[usize::from(change[0]) % pages * PAGE + at] = change[3];
    }
    let path = DIR.path().join("data.mdb");
    std::fs::write(&path, image).expect("there is memory");
    if cachemere::fuzzing::is_sound_data_file(&File::open(&path).expect("it was written")) {
        read(DIR.path());
    }
});

/// Reads all there is. LMDB may refuse the file, but must not fall over.
#[allow(unsafe_code)]
fn read(dir: &Path) -> Option<usize> {
    // Safety: this process alone has the file, and changes it only while it is not open.
    let env = unsafe {
        EnvOpenOptions::new().flags(EnvFlags::NO_LOCK | EnvFlags::READ_ONLY).map_size(1 << 20).open(dir)
    };
    let env = env.ok()?;
    let opening = env.read_txn().ok()?;
    let opened = env.open_databases_and_commit(opening, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let entries = opened.ok()?.commit().flatten()?;
    let txn = env.read_txn().ok()?;
    let mut bytes = 0;
    for (key, value) in entries.iter(&txn).ok()?.map_while(Result::ok) {
        bytes += key.len() + value.iter().map(|byte| usize::from(byte & 1)).sum::<usize>();
        std::hint::black_box(entries.get(&txn, key).ok());
    }
    drop(txn);
    env.prepare_for_closing().wait();
    Some(bytes)
}

/// A file with two levels, large values, and free pages.
#[allow(unsafe_code)]
fn sound() -> Vec<u8> {
    let dir = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    // Safety: as above.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 20).open(dir.path()) }.expect("a new environment");
    let opening = env.write_txn().expect("nobody else writes");
    let opened = env.create_databases_and_commit(opening, |opener, txn| -> heed::Result<_> {
        Ok(CommitOrAbort::<_, ()>::Commit(opener.create_database::<Bytes, Bytes>(txn, None)?))
    });
    let entries = opened.expect("there is room").unwrap_commit();
    for round in 0..3u8 {
        let mut txn = env.write_txn().expect("nobody else writes");
        for number in 0..60u8 {
            let value = vec![number; if number % 20 == 7 { 9000 } else { 100 + usize::from(round) }];
            entries.put(&mut txn, &[b'k', number], &value).expect("there is room");
        }
        for number in (0..60u8).filter(|number| number % 7 == round) {
            entries.delete(&mut txn, &[b'k', number]).expect("it can be removed");
        }
        txn.commit().expect("there is room");
    }
    std::fs::read(dir.path().join("data.mdb")).expect("it is there")
}
