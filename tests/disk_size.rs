//! What a store without a limit takes on the disk: little more than its entries, soon after writing has stopped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use cachemere::{ByteCache, Maintenance};
use heed::CommitOrAbort;
use heed::types::Bytes;

fn is_long() -> bool {
    std::env::var_os("CACHEMERE_TORTURE").is_some()
}

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    (root, dir)
}

fn key(n: usize) -> Vec<u8> {
    format!("k{n}").into_bytes()
}

/// Bytes that the files of a directory take on the disk.
fn on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().flatten();
    // One can be gone again.
    let sizes = files
        .filter_map(|file| file.metadata().ok())
        .map(|file| std::os::unix::fs::MetadataExt::blocks(&file) * 512);
    sizes.sum()
}

/// Waits until the files take no more than `most`, for some seconds; what they take then.
fn settled(dir: &Path, most: u64) -> u64 {
    let since = Instant::now();
    loop {
        let bytes = on_disk(dir);
        if bytes <= most || since.elapsed() > Duration::from_secs(20) {
            return bytes;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn small_values_settle_in_little_room() {
    let (_root, dir) = store();
    let cache = ByteCache::builder(&dir).open().unwrap();
    for n in 0..30_000u64 {
        cache.insert(&key(n as usize), &n.to_le_bytes(), 0, None).unwrap();
    }
    let bytes = settled(&dir, 10 << 20);
    assert!(bytes <= 10 << 20, "{bytes} bytes for 30,000 small values");
    assert_eq!(cache.len().unwrap(), 30_000);
    assert!(cache.verify().unwrap().is_clean());
}

#[test]
fn values_of_a_kilobyte_settle_near_what_lmdb_takes_for_them() {
    let (root, dir) = store();
    let count = if is_long() { 100_000 } else { 20_000 };
    let plain = root.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let mut options = heed::EnvOpenOptions::new();
    options.map_size(1 << 30);
    // SAFETY: nobody else has it open, and what a power loss would do to it does not matter.
    #[allow(unsafe_code)]
    let env = unsafe { options.flags(heed::EnvFlags::NO_SYNC).open(&plain) }.unwrap();
    let opened = env.open_databases_and_commit(env.read_txn().unwrap(), |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let tree = opened.unwrap().commit().flatten().unwrap();
    let cache = ByteCache::builder(&dir).open().unwrap();
    for n in 0..count {
        cache.insert(&key(n), &[7; 1024], 0, None).unwrap();
        let mut txn = env.write_txn().unwrap();
        // As random as the keys of the store's tree.
        let hash = (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        tree.put(&mut txn, &hash.to_be_bytes(), &[7; 1024]).unwrap();
        txn.commit().unwrap();
    }
    env.force_sync().unwrap();
    let plain = on_disk(&plain);
    let bytes = settled(&dir, plain * 13 / 10);
    eprintln!("{count} values of 1 KiB: {bytes} bytes, {plain} in LMDB alone");
    assert!(bytes <= plain * 13 / 10, "{bytes} bytes, {plain} in LMDB alone");
}

#[test]
fn free_pages_are_given_back_while_the_store_stays_open() {
    let (root, dir) = store();
    let cache = ByteCache::builder(&dir).open().unwrap();
    let value = |n: usize| vec![n as u8; 100 + n % 5 * 1_500];
    for n in 0..6_000 {
        cache.insert(&key(n), &value(n), 0, None).unwrap();
    }
    let full = settled(&dir, 0);
    for n in 600..6_000 {
        assert!(cache.remove(&key(n)).unwrap());
    }
    let most = full / 3;
    let bytes = settled(&dir, most);
    assert!(bytes <= most, "{bytes} of {full} bytes are still taken, of a tenth of the entries");
    let check = |cache: &ByteCache| {
        assert!((0..600).all(|n| cache.get(&key(n)).unwrap().unwrap().payload == value(n)));
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
    };
    check(&cache);
    // Holes are filled again.
    for n in 600..3_000 {
        cache.insert(&key(n), &value(n), 0, None).unwrap();
    }
    std::thread::sleep(Duration::from_secs(2));
    assert!((600..3_000).all(|n| cache.get(&key(n)).unwrap().unwrap().payload == value(n)));
    check(&cache);
    // Nor does a file with holes keep anybody from copying or opening it.
    for n in 600..3_000 {
        assert!(cache.remove(&key(n)).unwrap());
    }
    assert!(settled(&dir, most) <= most);
    cache.backup(root.path().join("backup")).unwrap();
    check(&ByteCache::builder(root.path().join("backup")).open().unwrap());
    cache.close().unwrap();
    let cache = ByteCache::builder(&dir).open().unwrap();
    check(&cache);
    cache.compact().unwrap();
    check(&cache);
}

#[test]
fn files_stay_small_while_entries_are_written_again_and_again() {
    let (_root, dir) = store();
    let cache = ByteCache::builder(&dir).open().unwrap();
    let (count, rounds) = (2_000, if is_long() { 100 } else { 15 });
    let mut most = 0;
    for n in 0..count * rounds {
        cache.insert(&key(n % count), &[n as u8; 2_000], 0, None).unwrap();
        if n % 200 == 0 {
            most = most.max(on_disk(&dir));
        }
    }
    let needed = cache.stats().unwrap().record_bytes.max(count as u64 * 2_200);
    let bytes = settled(&dir, 2 * needed);
    eprintln!("{needed} bytes needed, at most {most} taken, {bytes} in the end");
    assert!(most <= 3 * needed + 2 * (16 << 20), "{most} bytes taken, {needed} needed");
    assert!(bytes <= 2 * needed, "{bytes} bytes taken in the end, {needed} needed");
}

#[test]
fn who_has_no_background_thread_writes_on_and_folds_by_himself() {
    let (_root, dir) = store();
    let cache = ByteCache::builder(&dir).maintenance(Maintenance::Manual).open().unwrap();
    let begun = Instant::now();
    for n in 0..60_000 {
        cache.insert(&key(n), &[7; 1024], 0, None).unwrap();
    }
    // Two seconds or so. Waiting for a fold that nobody begins took minutes.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let stats = cache.stats().unwrap();
    assert!(stats.log_bytes <= stats.record_bytes.max(32 << 20) + (16 << 20), "{stats:?}");
    assert!(stats.record_bytes > 0, "nothing was folded: {stats:?}");
}

#[test]
fn stats_tell_what_of_the_files_is_what() {
    let (_root, dir) = store();
    let cache = ByteCache::builder(&dir).open().unwrap();
    for n in 0..2_000 {
        cache.insert(&key(n), &[1; 1_000], 0, None).unwrap();
    }
    let stats = cache.stats().unwrap();
    assert!(stats.log_bytes > 0 && stats.log_bytes + stats.free_bytes <= stats.file_bytes, "{stats:?}");
    settled(&dir, 4 << 20);
    std::thread::sleep(Duration::from_secs(1));
    let stats = cache.stats().unwrap();
    assert!(stats.record_bytes >= 2_000_000, "{stats:?}");
    // Beside them there is nothing but a reserve for a full disk.
    let rest = stats.file_bytes - stats.record_bytes - stats.log_bytes - stats.free_bytes;
    assert!(rest <= 256 << 10, "{stats:?}");
    cache.clear().unwrap();
    cache.sweep().unwrap();
    settled(&dir, 1 << 20);
    assert!(cache.stats().unwrap().record_bytes < stats.record_bytes / 2);
}
