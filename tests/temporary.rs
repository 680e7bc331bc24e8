//! A temporary store goes with its last handle.

use cachemere::{AsyncCache, ByteCache, Cache, Error, Secret};

#[test]
fn it_is_there_until_the_last_handle_is_dropped() {
    let cache: Cache<str, u32> = Cache::temporary().open().unwrap();
    let path = cache.path().to_owned();
    assert!(path.starts_with(std::env::temp_dir().canonicalize().unwrap()));
    cache.insert("a", &1).unwrap();
    let clone = cache.clone();
    let sibling: Cache<str, u32> = cache.sibling().unwrap().namespace("other").open().unwrap();
    let beside = ByteCache::builder(&path).namespace("bytes").open().unwrap();
    drop(cache);
    assert_eq!(clone.get("a").unwrap(), Some(1));
    drop(clone);
    sibling.insert("b", &2).unwrap();
    drop(sibling);
    beside.insert(b"c", b"3", 0, None).unwrap();
    assert!(path.exists());
    drop(beside);
    assert!(!path.exists());
}

#[test]
fn a_close_removes_it_and_its_handles_say_that_they_are_closed() {
    let cache = ByteCache::temporary().encryption(Secret::key([7; 32])).open().unwrap();
    cache.insert(b"a", b"1", 0, None).unwrap();
    cache.close().unwrap();
    assert!(!cache.path().exists());
    assert!(matches!(cache.get(b"a"), Err(Error::Closed)));
    cache.close().unwrap();
}

#[test]
fn each_open_of_a_builder_makes_another_one() {
    let builder = Cache::<str, u32>::temporary().max_entries(1);
    let (one, other) = (builder.clone().open().unwrap(), builder.open().unwrap());
    assert_ne!(one.path(), other.path());
    one.insert("a", &1).unwrap();
    assert!(other.is_empty().unwrap());
}

#[test]
fn what_cannot_be_opened_leaves_nothing() {
    let before = left();
    let refused = Cache::<str, u32>::temporary().namespace("").open().unwrap_err();
    assert!(refused.is_invalid());
    let refused = Cache::<str, u32>::temporary().max_bytes(1).open().unwrap_err();
    assert!(refused.is_invalid());
    let refused = ByteCache::temporary().encryption(Secret::passphrase("")).open().unwrap_err();
    assert!(refused.is_invalid());
    assert!(left().iter().all(|name| before.contains(name) || is_in_use(name)));
}

/// Temporary stores of all processes.
fn left() -> Vec<std::path::PathBuf> {
    let names = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|found| found.path());
    names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("cachemere-")).collect()
}

/// Made by a test beside this one: it is removed soon.
fn is_in_use(path: &std::path::Path) -> bool {
    let since = std::time::Instant::now();
    while path.exists() && since.elapsed() < std::time::Duration::from_secs(20) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    !path.exists()
}

#[tokio::test]
async fn tasks_have_temporary_stores_too() {
    let cache: AsyncCache<str, u32> = Cache::temporary().open().unwrap().into();
    let path = cache.blocking().path().to_owned();
    assert_eq!(cache.get_or_insert_with("a", || async { 1 }).await.unwrap(), 1);
    drop(cache);
    assert!(!path.exists());
}
