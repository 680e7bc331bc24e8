//! What the typed face asks of types, and what it gives by them: values that cannot be cloned, lifetimes taken from values,
//! entries, keys in borrowed form and by their beginning.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cachemere::{AsyncCache, Batch, BoxError, ByteCache, Cache, Codec, Error, KeyForm, Secret};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: the system's allocator, which is only counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    (dir, path)
}

/// Has no `Clone`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    body: String,
    max_age: Option<u64>,
}

fn page(body: &str, max_age: Option<u64>) -> Page {
    Page { body: body.to_owned(), max_age }
}

#[test]
fn values_that_cannot_be_cloned_are_shared() {
    let (_dir, path) = store();
    let cache: Cache<str, Page> = Cache::builder(&path).open().unwrap();
    cache.insert("a", &page("one", None)).unwrap();
    let shared = cache.get_shared("a").unwrap().unwrap();
    assert!(Arc::ptr_eq(&shared, &cache.get_shared("a").unwrap().unwrap()));
    assert_eq!(cache.get_shared_or_insert_with("b", || page("two", None)).unwrap().body, "two");
    let failed = cache.try_get_shared_or_insert_with("c", || Err::<Page, BoxError>("no".into()));
    assert!(failed.is_err());
    assert_eq!(cache.get_many(["a", "x"]).unwrap(), [Some(page("one", None)), None]);
    assert_eq!(cache.values().map(|value| value.unwrap().body).collect::<Vec<_>>(), ["one", "two"]);
    let grown = |old: Option<Page>| old.map(|old| page(&(old.body + "!"), None));
    assert_eq!(cache.update("a", grown).unwrap().unwrap().body, "one!");
    assert!(cache.compare_and_set("a", Some(&page("one!", None)), Some(&page("1", None))).unwrap());
    assert_eq!(cache.take("a").unwrap(), Some(page("1", None)));
    let mut batch = Batch::new();
    batch.insert("d", page("four", None));
    cache.write(&batch).unwrap();
    assert_eq!(cache.pop_newest().unwrap().unwrap().1.body, "four");
}

#[tokio::test]
async fn tasks_share_values_that_cannot_be_cloned() {
    let (_dir, path) = store();
    let cache: AsyncCache<str, Page> = Cache::builder(&path).open().unwrap().into();
    let loaded = cache.get_shared_or_insert_with("a", || async { page("one", None) }).await.unwrap();
    assert_eq!(cache.get_shared("a").await.unwrap(), Some(loaded));
}

/// The lifetime of an entry.
fn lifetime(cache: &Cache<str, Page>, key: &str) -> Option<Duration> {
    let info = cache.info(key).unwrap().unwrap();
    info.expires.map(|expires| expires.duration_since(info.modified).unwrap())
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn aging(path: &std::path::Path) -> cachemere::Builder<str, Page> {
    Cache::builder(path)
        .time_to_live(Duration::from_secs(1_000))
        .time_to_live_of(|page: &Page| page.max_age.map(Duration::from_secs))
}

#[test]
fn each_way_to_write_takes_the_lifetime_from_the_value() {
    let (_dir, path) = store();
    let cache = aging(&path).open().unwrap();
    let (short, plain) = (page("short", Some(30)), page("plain", None));
    cache.insert("insert", &short).unwrap();
    cache.insert("as the cache has it", &plain).unwrap();
    cache.insert_with_ttl("given", &short, Duration::from_secs(5)).unwrap();
    assert!(cache.insert_if_absent("absent", &short).unwrap());
    cache.insert_many([("many", &short), ("many plain", &plain)]).unwrap();
    let mut batch = Batch::new();
    batch.insert("batch", page("short", Some(30)));
    batch.insert_with_ttl("batch given", page("short", Some(30)), Duration::from_secs(5));
    cache.write(&batch).unwrap();
    cache.update("update", |_| Some(page("short", Some(30)))).unwrap();
    assert!(cache.compare_and_set("set", None, Some(&short)).unwrap());
    cache.get_shared_or_insert_with("load", || page("short", Some(30))).unwrap();
    cache.entry("entry").unwrap().or_insert(page("short", Some(30))).unwrap();
    cache.entry("entry insert").unwrap().insert(&short).unwrap();
    for key in ["insert", "absent", "many", "batch", "update", "set", "load", "entry", "entry insert"] {
        assert_eq!(lifetime(&cache, key), seconds(30), "{key}");
    }
    for key in ["as the cache has it", "many plain"] {
        assert_eq!(lifetime(&cache, key), seconds(1_000), "{key}");
    }
    for key in ["given", "batch given"] {
        assert_eq!(lifetime(&cache, key), seconds(5), "{key}");
    }
}

#[test]
fn a_touch_gives_the_lifetime_of_the_value_again() {
    let (_dir, path) = store();
    let cache = aging(&path).open().unwrap();
    cache.insert_with_ttl("a", &page("short", Some(30)), Duration::from_secs(5)).unwrap();
    assert!(cache.touch("a").unwrap());
    let expires = cache.info("a").unwrap().unwrap().expires.unwrap();
    let left = expires.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(30), "{left:?}");
    assert!(cache.touch_with_ttl("a", Duration::from_secs(500)).unwrap());
    assert!(!cache.touch("b").unwrap());
}

#[test]
fn what_lives_for_no_time_is_given_out_and_not_kept() {
    let (_dir, path) = store();
    let cache = aging(&path).open().unwrap();
    let over = || page("over", Some(0));
    for _ in 0..2 {
        assert_eq!(cache.get_shared_or_insert_with("a", over).unwrap().body, "over");
        assert!(!cache.contains("a").unwrap());
    }
    let keep = |key: &str| cache.insert(key, &page("kept", None)).unwrap();
    keep("a");
    cache.insert("a", &over()).unwrap();
    keep("b");
    cache.insert_many([("b", &over())]).unwrap();
    keep("c");
    cache.update("c", |_| Some(over())).unwrap();
    cache.update("not there", |_| Some(over())).unwrap();
    keep("d");
    assert!(!cache.insert_if_absent("d", &over()).unwrap());
    assert!(!cache.compare_and_set("d", None, Some(&over())).unwrap());
    assert_eq!(cache.keys().collect::<Result<Vec<_>, _>>().unwrap(), ["d"]);
    assert!(cache.compare_and_set("d", Some(&page("kept", None)), Some(&over())).unwrap());
    assert!(cache.is_empty().unwrap());
}

#[tokio::test]
async fn tasks_take_the_lifetime_from_the_value() {
    let (_dir, path) = store();
    let cache: AsyncCache<str, Page> = aging(&path).open().unwrap().into();
    cache.get_shared_or_insert_with("a", || async { page("short", Some(30)) }).await.unwrap();
    cache.get_shared_or_insert_with("b", || async { page("over", Some(0)) }).await.unwrap();
    assert_eq!(lifetime(cache.blocking(), "a"), seconds(30));
    assert!(!cache.contains("b").await.unwrap());
}

#[test]
fn an_entry_does_what_the_cache_does_for_its_key() {
    for secret in [None, Some(Secret::key([7; 32]))] {
        let (_dir, path) = store();
        let mut builder = Cache::builder(&path);
        if let Some(secret) = secret {
            builder = builder.encryption(secret);
        }
        let cache: Cache<str, u32> = builder.open().unwrap();
        let mut entry = cache.entry("a").unwrap();
        assert_eq!(
            (entry.get().unwrap(), entry.contains().unwrap(), entry.remove().unwrap()),
            (None, false, false)
        );
        assert_eq!(*entry.or_insert(1).unwrap(), 1);
        assert_eq!(*entry.or_insert_with(|| panic!("it is there")).unwrap(), 1);
        assert_eq!(cache.get("a").unwrap(), Some(1));
        cache.insert("a", &2).unwrap();
        assert_eq!(entry.get().unwrap(), Some(2));
        assert_eq!(entry.update(|value| value.map(|value| value + 1)).unwrap(), Some(3));
        assert!(
            entry.compare_and_set(Some(&3), Some(&4)).unwrap() && !entry.compare_and_set(None, None).unwrap()
        );
        entry.insert_with_ttl(&5, Duration::from_secs(60)).unwrap();
        assert!(entry.info().unwrap().unwrap().expires.is_some());
        assert!(entry.touch().unwrap() && entry.info().unwrap().unwrap().expires.is_none());
        assert_eq!(entry.take().unwrap(), Some(5));
        let failed = entry.try_or_insert_with(|| Err::<u32, BoxError>("no".into()));
        assert!(failed.is_err() && !cache.contains("a").unwrap());
        // While one is held, others go on, also in its load.
        let load = || {
            cache.insert("b", &1).unwrap();
            *cache.entry("c").unwrap().or_insert(7).unwrap()
        };
        assert_eq!(*entry.or_insert_with(load).unwrap(), 7);
        // The store's hashes change with a clear.
        cache.clear().unwrap();
        assert_eq!(entry.get().unwrap(), None);
        entry.insert(&9).unwrap();
        assert_eq!(cache.get("a").unwrap(), Some(9));
        cache.close().unwrap();
        assert!(matches!(entry.get(), Err(Error::Closed)));
    }
}

/// Whether what is stored under a key is found by a form of it, and under a form by the key.
fn found_by<K, Q>(key: &K, form: &Q)
where
    K: Clone + Serialize + for<'de> Deserialize<'de> + 'static,
    Q: KeyForm<K> + ?Sized,
{
    let (_dir, path) = store();
    let cache: Cache<K, u32> = Cache::builder(&path).open().unwrap();
    cache.insert(key, &1).unwrap();
    assert_eq!(cache.entry_by(form).unwrap().get().unwrap(), Some(1));
    cache.clear().unwrap();
    cache.entry_by(form).unwrap().insert(&2).unwrap();
    assert_eq!(cache.get(key).unwrap(), Some(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_found_by_all_of_its_forms(
        text: String, more: String, number: u32, list: Vec<String>, bytes: Vec<u8>, flag: Option<bool>, id: u128
    ) {
        let texts: Vec<&str> = list.iter().map(String::as_str).collect();
        found_by(&text, text.as_str());
        found_by(&(text.clone(), number), &(text.as_str(), number));
        found_by(&(text.clone(), number), &(&text, &number));
        found_by(&(number, text.clone(), more.clone()), &(number, text.as_str(), more.as_str()));
        found_by(&list, texts.as_slice());
        found_by(&(list.clone(), id), &(texts.as_slice(), id));
        found_by(&bytes, bytes.as_slice());
        found_by(&(bytes.clone(), number), &(bytes.as_slice(), number));
        found_by(&(Some(text.clone()), flag), &(Some(text.as_str()), flag));
        found_by(&[text.clone(), more.clone()], &[text.as_str(), more.as_str()]);
    }
}

#[test]
fn a_hit_by_a_borrowed_form_allocates_nothing() {
    let (_dir, path) = store();
    let cache: Cache<(String, u32), String> = Cache::builder(&path).open().unwrap();
    cache.insert(&("some name of a page".to_owned(), 7), &"value".to_owned()).unwrap();
    let look = || {
        let found = cache.entry_by(&("some name of a page", 7)).unwrap().get_shared().unwrap();
        assert_eq!(found.unwrap().as_str(), "value");
    };
    // Into memory, and the front's own bookkeeping done.
    (0..2_000).for_each(|_| look());
    // moka's, now and then.
    let counts: Vec<u64> = (0..100).map(|_| allocations(look)).collect();
    assert!(counts.iter().filter(|count| **count == 0).count() > 90, "{counts:?}");
}

#[test]
fn a_serializer_without_borrowed_forms_says_so() {
    struct Decimal;

    impl Codec<u32> for Decimal {
        fn name(&self) -> &str {
            "decimal"
        }

        fn encode(&self, value: &u32, out: &mut Vec<u8>) -> Result<(), BoxError> {
            out.extend(value.to_string().bytes());
            Ok(())
        }

        fn decode(&self, bytes: &[u8]) -> Result<u32, BoxError> {
            Ok(std::str::from_utf8(bytes)?.parse()?)
        }
    }

    let (_dir, path) = store();
    let cache: Cache<u32, u32> = Cache::builder(&path).key_serializer(Decimal).open().unwrap();
    let error = cache.entry_by(&7u32).unwrap_err();
    assert!(matches!(error, Error::Serialize { what: "key", .. }) && error.to_string().contains("decimal"));
    assert_eq!(*cache.entry(&7).unwrap().or_insert(1).unwrap(), 1);
}

#[test]
fn keys_are_removed_by_their_beginning() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).open().unwrap();
    let keys: Vec<String> = (0..1_000).map(|n| format!("{}/{n}", n % 3)).collect();
    cache.insert_many(keys.iter().map(|key| (key.as_str(), &1))).unwrap();
    assert_eq!(cache.get("1/1").unwrap(), Some(1));
    assert_eq!(cache.remove_prefix("1/").unwrap(), 333);
    assert_eq!((cache.get("1/1").unwrap(), cache.len().unwrap()), (None, 667));
    assert_eq!(cache.remove_prefix("none").unwrap(), 0);
    assert_eq!(cache.remove_prefix("").unwrap(), 667);

    let owned: Cache<String, u32> = cache.sibling().unwrap().namespace("owned").open().unwrap();
    owned.insert(&"ab".to_owned(), &1).unwrap();
    assert_eq!((owned.remove_prefix("b").unwrap(), owned.remove_prefix("a").unwrap()), (0, 1));
    let bytes: Cache<[u8], u32> = cache.sibling().unwrap().namespace("bytes").open().unwrap();
    bytes.insert(&[1, 2], &1).unwrap();
    assert_eq!((bytes.remove_prefix(&[2][..]).unwrap(), bytes.remove_prefix(&[1][..]).unwrap()), (0, 1));

    let raw = ByteCache::builder(&path).namespace("raw").open().unwrap();
    for key in [&b"a1"[..], b"a2", b"b1"] {
        raw.insert(key, b"", 0, None).unwrap();
    }
    assert_eq!((raw.remove_prefix(b"a").unwrap(), raw.len().unwrap()), (2, 1));
    let reader = ByteCache::builder(&path).namespace("raw").read_only(true).open().unwrap();
    assert!(matches!(reader.remove_prefix(b""), Err(Error::ReadOnly { .. })));
}
