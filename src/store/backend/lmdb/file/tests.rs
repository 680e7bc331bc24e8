use std::sync::atomic::{AtomicBool, Ordering};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RoTxn};

use super::*;

pub(super) const PAGE: usize = 4096;

/// A small generator, so that a seed names a trial.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// An environment in a directory of its own.
pub(super) struct Store {
    pub(super) dir: tempfile::TempDir,
    pub(super) env: Env,
    pub(super) db: Database<'static, Bytes, Bytes>,
}

impl Store {
    pub(super) fn new() -> Store {
        Store::with_image(&[])
    }

    /// With this as its data file.
    pub(super) fn with_image(image: &[u8]) -> Store {
        let dir = tempfile::tempdir().unwrap();
        if !image.is_empty() {
            std::fs::write(dir.path().join("data.mdb"), image).unwrap();
        }
        // SAFETY: nobody else has this directory; the flag only weakens what survives a power loss.
        #[allow(unsafe_code)]
        let env = unsafe {
            EnvOpenOptions::new().map_size(1 << 28).flags(EnvFlags::NO_SYNC).open(dir.path()).unwrap()
        };
        let txn = env.write_txn().unwrap();
        let db = env
            .create_databases_and_commit(txn, |opener, txn| -> heed::Result<_> {
                Ok(CommitOrAbort::<_, ()>::Commit(opener.create_database::<Bytes, Bytes>(txn, None)?))
            })
            .unwrap()
            .unwrap_commit();
        Store { dir, env, db }
    }

    pub(super) fn put(&self, entries: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let mut txn = self.env.write_txn().unwrap();
        for (key, value) in entries {
            self.db.put(&mut txn, key.as_bytes(), &value).unwrap();
        }
        txn.commit().unwrap();
    }

    pub(super) fn churn(&self, random: &mut Random, commits: usize, keys: usize) {
        for _ in 0..commits {
            let mut txn = self.env.write_txn().unwrap();
            for _ in 0..1 + random.below(8) {
                let number = random.below(keys);
                // Long keys make branch pages fill up, and the tree deep.
                let key = format!("k{number}{}", "-".repeat(number * 37 % 300));
                if random.below(4) == 0 {
                    self.db.delete(&mut txn, key.as_bytes()).unwrap();
                } else {
                    let len = 10 + random.below(6000);
                    self.db.put(&mut txn, key.as_bytes(), &random.bytes(len)).unwrap();
                }
            }
            txn.commit().unwrap();
        }
    }

    pub(super) fn image(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("data.mdb")).unwrap()
    }

    pub(super) fn data_file(&self) -> File {
        File::open(self.dir.path().join("data.mdb")).unwrap()
    }

    fn content(&self, txn: &RoTxn<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.db
            .iter(txn)
            .unwrap()
            .map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap())
            .collect()
    }
}

/// A file with these bytes.
pub(super) fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn check_bytes(bytes: &[u8]) -> Result<DataFile> {
    check(Path::new("/a/store"), &file(bytes))
}

fn damage(bytes: &[u8]) -> String {
    match check_bytes(bytes) {
        Err(Error::Damaged { detail }) => detail.into_owned(),
        other => panic!("{other:?}"),
    }
}

/// The newest meta body, for images that are in order.
pub(super) fn newest_of(image: &[u8]) -> MetaBody {
    match check_bytes(image).unwrap() {
        DataFile::Lmdb { newest } => newest,
        DataFile::Empty => panic!("empty"),
    }
}

fn busy_image() -> Vec<u8> {
    let store = Store::new();
    store.churn(&mut Random(1), 40, 100);
    store.image()
}

/// Where a field of the newest meta body is in the image.
fn in_newest(image: &[u8], field: usize) -> usize {
    newest_of(image).txn_id() as usize % 2 * PAGE + PAGE_HEADER + field
}

fn patched(image: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn an_empty_file_is_empty_and_a_new_environment_is_at_transaction_0() {
    assert_eq!(check_bytes(b"").unwrap(), DataFile::Empty);
    assert_eq!(read_metas(&file(b"")).unwrap(), None);
    assert_eq!(meta_of(&file(b""), 0).unwrap(), None);
    let newest = newest_of(&Store::new().image());
    assert_eq!((newest.txn_id(), newest.last_page(), newest.page_size()), (0, 1, 4096));
    assert_eq!((newest.main().root, newest.free().root), (None, None));
    assert_eq!(newest.map_size(), 1 << 28);
}

#[test]
fn the_meta_body_says_what_lmdb_says() {
    let store = Store::new();
    store.churn(&mut Random(3), 50, 200);
    let newest = newest_of(&store.image());
    let info = store.env.info();
    let txn = store.env.read_txn().unwrap();
    let stat = store.db.stat(&txn).unwrap();
    let main = newest.main();
    assert_eq!(newest.txn_id(), info.last_txn_id as u64);
    assert_eq!(newest.last_page(), info.last_page_number as u64);
    assert_eq!(newest.map_size(), info.map_size as u64);
    assert_eq!(newest.page_size(), stat.page_size);
    assert_eq!(u32::from(main.depth), stat.depth);
    assert_eq!(main.entries, stat.entries as u64);
    assert_eq!(main.branch_pages, stat.branch_pages as u64);
    assert_eq!(main.leaf_pages, stat.leaf_pages as u64);
    assert_eq!(main.overflow_pages, stat.overflow_pages as u64);
    assert!(main.root.is_some() && main.depth > 1);
}

#[test]
fn whatever_lmdb_commits_passes_both_checks() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let store = Store::new();
        let file = store.data_file();
        for round in 0..50 {
            let commits = 1 + random.below(3);
            store.churn(&mut random, commits, [30, 300, 3000][seed as usize % 3]);
            if round % 25 == 24 {
                let mut txn = store.env.write_txn().unwrap();
                store.db.clear(&mut txn).unwrap();
                txn.commit().unwrap();
            }
            let newest = match check(store.dir.path(), &file).unwrap() {
                DataFile::Lmdb { newest } => newest,
                DataFile::Empty => panic!("empty"),
            };
            check_trees(&file, &newest).unwrap_or_else(|e| panic!("seed {seed} round {round}: {e}"));
        }
    }
}

#[test]
fn large_transactions_and_entries_of_every_size_pass_both_checks() {
    let store = Store::new();
    // Around the sizes at which an entry leaves its page, or needs one page more.
    for size in
        [0, 1, 2, 2017, 2018, 2019, 2020, 2021, 2022, 2023, 2024, 4079, 4080, 4081, 8176, 8177, 3 << 20]
    {
        store.put((0..9).map(|i| (format!("{size}-{i}"), vec![b'x'; size])));
        check_trees(&store.data_file(), &newest_of(&store.image())).unwrap();
    }
    store.put(
        (0..40_000).map(|i| (format!("{:08x}", (i as u32).wrapping_mul(2_654_435_761)), vec![1; i % 50])),
    );
    check_trees(&store.data_file(), &newest_of(&store.image())).unwrap();
    let mut txn = store.env.write_txn().unwrap();
    for i in 0..39_000 {
        store
            .db
            .delete(&mut txn, format!("{:08x}", (i as u32).wrapping_mul(2_654_435_761)).as_bytes())
            .unwrap();
    }
    txn.commit().unwrap();
    check_trees(&store.data_file(), &newest_of(&store.image())).unwrap();
    store.churn(&mut Random(9), 20, 50);
    check_trees(&store.data_file(), &newest_of(&store.image())).unwrap();
}

#[test]
fn a_file_may_end_before_its_last_page_when_that_one_is_free() {
    let store = Store::new();
    for round in 0..6 {
        store.put((0..50).map(|i| (format!("{round}-{i}"), vec![0; 3000])));
    }
    // With free pages at hand, a large value that is put and removed in one transaction is never written.
    let mut txn = store.env.write_txn().unwrap();
    store.db.put(&mut txn, b"0-1", &[1; 500]).unwrap();
    store.db.put(&mut txn, b"large", &vec![1; 1 << 20]).unwrap();
    store.db.delete(&mut txn, b"large").unwrap();
    txn.commit().unwrap();
    let image = store.image();
    let newest = newest_of(&image);
    assert!((image.len() as u64) < (newest.last_page() + 1) * 4096, "{} {newest:?}", image.len());
    check_trees(&file(&image), &newest).unwrap();
}

#[test]
fn a_file_cut_anywhere_among_its_used_pages_is_damaged() {
    let store = Store::new();
    // Only new pages: nothing is free but what the first transactions left.
    store.put((0..300).map(|i| (format!("{i:05}"), vec![0; 900])));
    let image = store.image();
    let newest = newest_of(&image);
    assert_eq!(newest.main().pages() + newest.free().pages() + 2, newest.last_page() + 1);
    for len in (1..image.len()).step_by(512) {
        assert!(check_bytes(&image[..len]).is_err(), "{len}");
        if len > 16 + 4 {
            assert!(check_bytes(&image[..len]).unwrap_err().is_damaged(), "{len}");
        }
    }
    assert!(damage(&image[..image.len() - 1]).contains("pages in use"));
    assert!(damage(&image[..PAGE]).contains("meta page 1"));
    assert!(read_metas(&file(&image[..PAGE])).unwrap_err().is_damaged());
}

#[test]
fn other_files_are_foreign_and_untouched_zeros_are_damage() {
    for other in [&b"hello"[..], &[7; 3 * PAGE], b"SQLite format 3\0"] {
        assert!(matches!(check_bytes(other), Err(Error::Foreign { .. })), "{other:?}");
    }
    let image = busy_image();
    let version = |version: u32| {
        let image = patched(&image, 16 + VERSION_AT, &version.to_ne_bytes());
        patched(&image, PAGE + 16 + VERSION_AT, &version.to_ne_bytes())
    };
    assert!(matches!(check_bytes(&version(999)), Err(Error::Foreign { .. })));
    assert!(check_bytes(&version(1)).is_ok());
    assert!(damage(&[0; 3 * PAGE]).contains("blank"));
    assert!(damage(&patched(&image, 0, &[0; PAGE])).contains("meta page 0"));
    assert!(damage(&patched(&image, PAGE, &[0; PAGE])).contains("meta page 1"));
}

#[test]
fn an_environment_with_duplicates_is_foreign() {
    let image = busy_image();
    let at = in_newest(&image, MAIN_DB_AT + 4);
    assert!(matches!(check_bytes(&patched(&image, at, &4u16.to_ne_bytes())), Err(Error::Foreign { .. })));
}

#[test]
fn another_page_size_is_named() {
    // As a system with larger pages would have made it.
    let mut image = vec![0; 2 * 16384];
    let mut body = *newest_of(&Store::new().image()).as_bytes();
    body[FREE_DB_AT..][..4].copy_from_slice(&16384u32.to_ne_bytes());
    for (number, at) in [(0u64, 0), (1, 16384)] {
        image[at..at + 8].copy_from_slice(&number.to_ne_bytes());
        image[at + 8..at + 16].copy_from_slice(&meta_header_tail());
        image[at + 16..at + 16 + META_BODY].copy_from_slice(&body);
    }
    if system_page_size() == Some(4096) {
        match check_bytes(&image) {
            Err(Error::Incompatible { stored, asked, .. }) => {
                assert_eq!((stored.as_str(), asked.as_str()), ("16384 bytes", "4096 bytes"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read_metas(&file(&image)).unwrap().unwrap()[1].page_size(), 16384);
}

#[test]
fn the_system_page_size_is_read_from_the_auxiliary_vector() {
    let words: Vec<u8> = [33u64, 1, 6, 65536, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(page_size_of_auxv(&words), Some(65536));
    assert_eq!(page_size_of_auxv(&words[..16]), None);
    #[cfg(target_os = "linux")]
    assert_eq!(
        page_size_of_auxv(&std::fs::read("/proc/self/auxv").unwrap()).map(|size| size.min(0x8000)),
        system_page_size().map(u64::from)
    );
}

#[test]
fn wrong_fields_of_the_newest_meta_page_are_found() {
    let image = busy_image();
    let newest = newest_of(&image);
    let last = newest.last_page();
    let cases: &[(usize, u64, usize, &str)] = &[
        (TXN_ID_AT, newest.txn_id() + 2, 8, "transactions"),
        (TXN_ID_AT, newest.txn_id() + 1, 8, "transactions"),
        (TXN_ID_AT, u64::MAX, 8, "transactions"),
        (LAST_PAGE_AT, u64::MAX, 8, "last page"),
        (LAST_PAGE_AT, 1 << 40, 8, "last page"),
        (LAST_PAGE_AT, 0, 8, "last page"),
        (LAST_PAGE_AT, 5, 8, "pages in use"),
        (MAP_SIZE_AT, 4096, 8, "last page"),
        (FREE_DB_AT, 4097, 4, "page"),
        (FREE_DB_AT, 8192, 4, "page"),
        (FREE_DB_AT + 4, 0, 2, "flags"),
        (FREE_DB_AT + 4, 0x0C, 2, "flags"),
        (MAIN_DB_AT + 6, 0, 2, "depth"),
        (MAIN_DB_AT + 6, 33, 2, "depth"),
        (MAIN_DB_AT + 6, 1, 2, "flags"),
        (MAIN_DB_AT + 24, u64::MAX, 8, "pages in use"),
        (MAIN_DB_AT + 40, 0, 8, "root page 0"),
        (MAIN_DB_AT + 40, 1, 8, "root page 1"),
        (MAIN_DB_AT + 40, last + 1, 8, "root page"),
        (MAIN_DB_AT + 40, 1 << 60, 8, "root page"),
        (MAIN_DB_AT + 40, newest.free().root.unwrap(), 8, "flags"),
        (MAIN_DB_AT + 40, u64::MAX, 8, "no root"),
        (FREE_DB_AT + 40, last + 7, 8, "root page"),
    ];
    for &(field, value, size, expected) in cases {
        let at = in_newest(&image, field);
        let found = damage(&patched(&image, at, &value.to_ne_bytes()[..size]));
        assert!(found.contains(expected), "field {field} = {value}: {found}");
    }
    for page in [0, PAGE] {
        assert!(damage(&patched(&image, page, &[9])).contains("header"));
        assert!(damage(&patched(&image, page + 10, &[0])).contains("header"));
    }
    let root = newest.main().root.unwrap() as usize * PAGE;
    assert!(damage(&patched(&image, root, &[0; PAGE])).contains("root page"));
    for (at, word) in [(10, 2u16), (10, 0x11), (12, 0), (12, 17), (12, 4000), (14, 4097), (14, u16::MAX)] {
        assert!(
            damage(&patched(&image, root + at, &word.to_ne_bytes())).contains("root page"),
            "{at} {word}"
        );
    }
}

#[test]
fn no_flipped_bit_of_the_meta_pages_makes_the_checks_fail_to_judge() {
    let image = busy_image();
    for page in [0, PAGE] {
        for at in page..page + META {
            for bit in [1, 0x80] {
                let bytes = patched(&image, at, &[image[at] ^ bit]);
                let file = file(&bytes);
                let pages = read_meta_pages(&file).unwrap();
                if let Ok(newest) = judge(Path::new("/a/store"), &file, &pages) {
                    let _ = check_trees(&file, &newest);
                }
            }
        }
    }
}

#[test]
fn what_a_failed_commit_leaves_in_the_older_meta_page_is_not_looked_at() {
    let image = busy_image();
    let newest = newest_of(&image);
    let other = (newest.txn_id() as usize + 1) % 2 * PAGE + PAGE_HEADER;
    // LMDB then puts back the old last page and transaction id, but not the old roots.
    let bytes = patched(&image, other + MAIN_DB_AT + 40, &(newest.last_page() + 100).to_ne_bytes());
    assert_eq!(newest_of(&bytes), newest);
    // After a restore the other page has the same id, and the good body is the one on the page of its parity.
    let equal = patched(&bytes, other + TXN_ID_AT, &newest.txn_id().to_ne_bytes());
    assert_eq!(newest_of(&equal), newest);
    assert_eq!(meta_of(&file(&equal), newest.txn_id()).unwrap(), Some(newest));
}

#[test]
fn the_meta_body_of_a_transaction_is_found_by_its_id() {
    let store = Store::new();
    for txn in 1..6 {
        store.put([("key".to_owned(), vec![txn as u8])]);
        let file = store.data_file();
        let found = meta_of(&file, txn).unwrap().unwrap();
        assert_eq!(found, newest_of(&store.image()));
        // The page of the one before is there, but can be in the middle of being overwritten.
        assert_eq!(meta_of(&file, txn - 1).unwrap(), None);
        assert_eq!(meta_of(&file, txn + 1).unwrap(), None);
    }
}

#[test]
fn a_file_that_is_being_written_to_passes() {
    let store = Store::new();
    store.churn(&mut Random(5), 20, 100);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0u64.. {
                store.put([(format!("{}", i % 50), vec![0; 100])]);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let file = store.data_file();
        let result: Result<Vec<_>> = (0..2000).map(|_| check(store.dir.path(), &file)).collect();
        stop.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

#[test]
fn after_any_mix_of_synced_and_newer_pages_a_pinned_snapshot_is_restored_exactly() {
    for seed in 0..20 {
        let mut random = Random(1000 + seed);
        let store = Store::new();
        store.churn(&mut random, 100, 400);
        store.env.force_sync().unwrap();
        let pin = store.env.read_txn().unwrap();
        let synced = store.image();
        let saved = meta_of(&store.data_file(), pin.id() as u64).unwrap().unwrap();
        let content = store.content(&pin);
        let commits = 1 + random.below(60);
        store.churn(&mut random, commits, 400);
        let newer = store.image();
        drop(pin);

        let mut mixed = newer.clone();
        for (i, page) in mixed.chunks_mut(PAGE).enumerate() {
            if random.below(2) == 0 {
                page.fill(0);
                let old = synced.get(i * PAGE..).unwrap_or_default();
                let old = &old[..old.len().min(page.len())];
                page[..old.len()].copy_from_slice(old);
            }
        }
        let lost = file(&mixed);
        restore(&lost, &saved).unwrap();
        let mut restored = vec![0; mixed.len()];
        lost.read_exact_at(&mut restored, 0).unwrap();
        assert_eq!(newest_of(&restored), saved, "seed {seed}");
        assert_eq!(read_metas(&lost).unwrap().unwrap(), [saved, saved]);
        check_trees(&lost, &saved).unwrap();

        let again = Store::with_image(&restored);
        let txn = again.env.read_txn().unwrap();
        assert_eq!(txn.id() as u64, saved.txn_id());
        assert!(again.content(&txn) == content, "seed {seed}: other content");
        drop(txn);
        // It can be written to, by LMDB's own rules.
        again.put((0..200).map(|i| (format!("new{i}"), vec![b'z'; 500])));
        again.churn(&mut random, 20, 400);
        let newest = newest_of(&again.image());
        assert!(newest.txn_id() > saved.txn_id());
        check_trees(&again.data_file(), &newest).unwrap();
    }
}

#[test]
fn restoring_what_the_file_cannot_hold_writes_nothing() {
    let store = Store::new();
    store.churn(&mut Random(8), 60, 300);
    let image = store.image();
    let meta = newest_of(&image);
    let cut = &image[..8 * PAGE];
    let short = file(cut);
    assert!(restore(&short, &meta).unwrap_err().is_damaged());
    let mut after = vec![0; cut.len()];
    short.read_exact_at(&mut after, 0).unwrap();
    assert_eq!(after, cut);
    assert!(restore(&file(&image), &MetaBody::from_bytes([0; META_BODY])).unwrap_err().is_damaged());
}

#[test]
fn a_meta_body_read_beside_a_writer_is_whole_or_none() {
    let store = Store::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each transaction adds one entry, so that the number of entries is the transaction's id.
            for i in 0.. {
                store.put([(format!("{i:08}"), vec![0; 10])]);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let file = store.data_file();
        let mut found = 0;
        let mut wrong = None;
        for _ in 0..20_000 {
            let id = store.env.info().last_txn_id as u64;
            if let Some(meta) = meta_of(&file, id).unwrap() {
                found += 1;
                wrong = wrong.or((meta.main().entries != id).then_some((id, meta)));
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
        assert!(found > 100, "{found}");
    });
}
