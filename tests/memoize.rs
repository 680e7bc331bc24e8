//! `#[memoize]`: what is computed once, what is told apart, what is not kept, and what is done when the cache fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, LazyLock, OnceLock};
use std::time::Duration;

use cachemere::{AsyncCache, Cache, CallKey, Clock, Error, memoize};
use serde::{Deserialize, Serialize};

type Calls = AtomicU32;
type Texts = Cache<CallKey, String>;

fn open<V: Clone + Send + Sync + Serialize + serde::de::DeserializeOwned + 'static>(
    path: &Path,
) -> Cache<CallKey, V> {
    Cache::builder(path).open().unwrap()
}

/// A cache, and the directory that it goes with.
fn texts() -> (tempfile::TempDir, Texts) {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir.path().join("store"));
    (dir, cache)
}

fn called(calls: &Calls) -> u32 {
    calls.load(Ordering::SeqCst)
}

fn call(calls: &Calls) -> u32 {
    calls.fetch_add(1, Ordering::SeqCst) + 1
}

#[memoize(cache = cache, ignore(calls))]
fn shout(text: &str, times: u32, calls: &Calls, cache: &Texts) -> String {
    call(calls);
    text.repeat(times as usize).to_uppercase()
}

#[test]
fn a_function_runs_once_for_equal_arguments_and_its_results_outlive_the_handle() {
    let (dir, cache) = texts();
    let calls = Calls::new(0);
    for _ in 0..3 {
        assert_eq!(shout("a", 2, &calls, &cache), "AA");
        assert_eq!(shout("a", 3, &calls, &cache), "AAA");
    }
    assert_eq!(called(&calls), 2);
    cache.close().unwrap();
    let cache = open(&dir.path().join("store"));
    assert_eq!(shout("a", 2, &calls, &cache), "AA");
    assert_eq!(called(&calls), 2);
    assert_eq!(cache.keys().next().unwrap().unwrap().function(), "memoize::shout");
}

static STORE: LazyLock<(tempfile::TempDir, Texts)> = LazyLock::new(texts);
static HANDLE: LazyLock<Texts> = LazyLock::new(|| STORE.1.clone());
static ONCE: OnceLock<Texts> = OnceLock::new();

#[memoize(cache = HANDLE)]
fn in_a_static(n: u32) -> String {
    n.to_string()
}

#[memoize(cache = ONCE.get().unwrap())]
fn in_a_once_lock(n: u32) -> String {
    n.to_string()
}

#[memoize(cache = STORE.1.clone())]
fn in_a_clone(n: u32) -> String {
    n.to_string()
}

#[test]
fn a_cache_can_be_any_expression_and_hold_the_results_of_several_functions() {
    ONCE.set(STORE.1.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!((in_a_static(1), in_a_once_lock(1), in_a_clone(1)), ("1".into(), "1".into(), "1".into()));
    }
    let stats = STORE.1.stats().unwrap();
    assert_eq!((stats.entries, stats.hits), (3, 3));
}

mod elsewhere {
    use super::*;

    #[memoize(cache = cache)]
    pub(crate) fn which(_n: u32, cache: &Texts) -> String {
        "elsewhere".into()
    }
}

#[memoize(cache = cache)]
fn which(_n: u32, cache: &Texts) -> String {
    "here".into()
}

struct Pair<T>(T, T);

impl<T: Serialize + Default> Pair<T> {
    #[memoize(cache = cache)]
    fn which(_n: u32, cache: &Texts) -> String {
        std::any::type_name::<T>().to_owned()
    }

    #[memoize(cache = cache, key = (&self.0, &self.1))]
    fn both(&self, cache: &Texts) -> String {
        serde_json::to_string(&(&self.0, &self.1)).unwrap()
    }
}

trait Named: Serialize {
    const NAME: &'static str;

    #[memoize(cache = cache)]
    fn name(&self, cache: &Texts) -> String {
        Self::NAME.to_owned()
    }
}

#[derive(Serialize)]
struct A;
#[derive(Serialize)]
struct B;

impl Named for A {
    const NAME: &'static str = "A";
}
impl Named for B {
    const NAME: &'static str = "B";
}

#[memoize(cache = cache)]
fn typed<T: Serialize, const N: usize>(it: T, cache: &Texts) -> String {
    let _ = it;
    format!("{} {N}", std::any::type_name::<T>())
}

#[memoize(cache = cache, name = "typed/1", version = 1)]
fn typed_by_name<T>(it: T, cache: &Texts) -> String
where
    T: Serialize,
{
    let _ = it;
    std::any::type_name::<T>().to_owned()
}

#[test]
fn functions_are_told_apart_by_module_type_trait_and_what_they_are_generic_over() {
    let (_dir, cache) = texts();
    for _ in 0..2 {
        assert_eq!((which(1, &cache), elsewhere::which(1, &cache)), ("here".into(), "elsewhere".into()));
        assert_eq!(
            (Pair::<u8>::which(1, &cache), Pair::<u16>::which(1, &cache)),
            ("u8".into(), "u16".into())
        );
        assert_eq!((A.name(&cache), B.name(&cache)), ("A".into(), "B".into()));
        assert_eq!(typed::<u8, 1>(1, &cache), "u8 1");
        assert_eq!(typed::<u8, 2>(1, &cache), "u8 2");
        assert_eq!(typed::<u16, 2>(1, &cache), "u16 2");
        assert_eq!(typed_by_name(1_u8, &cache), "u8");
        assert_eq!(typed_by_name(1_u16, &cache), "u16");
        assert_eq!(Pair(1_u8, 2).both(&cache), "[1,2]");
        assert_eq!(Pair(1_u8, 3).both(&cache), "[1,3]");
    }
    assert_eq!(cache.len().unwrap(), 13);
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Small,
    Large { by: u32 },
}

#[memoize(cache = cache, ignore(calls))]
fn many(
    (a, b): (u32, u32),
    kinds: &[Kind],
    map: HashMap<String, u32>,
    mut text: String,
    option: Option<&str>,
    calls: &Calls,
    cache: &Texts,
) -> String {
    text.push_str(&format!("{} {} {} {option:?}", a + b, kinds.len(), map.len()));
    call(calls);
    text
}

#[test]
fn arguments_are_told_apart_by_what_they_are_and_not_by_how_they_are_joined() {
    let (_dir, cache) = texts();
    let calls = Calls::new(0);
    let map = || -> HashMap<String, u32> { (0..50).map(|n| (n.to_string(), n)).collect() };
    let ask = |pair, kinds: &[Kind], text: &str, option| {
        many(pair, kinds, map(), text.to_owned(), option, &calls, &cache)
    };
    let kinds = [Kind::Small, Kind::Large { by: 2 }];
    for _ in 0..2 {
        assert_eq!(ask((1, 2), &kinds, "a", Some("b")), "a3 2 50 Some(\"b\")");
        assert_eq!(ask((2, 1), &kinds, "a", Some("b")), "a3 2 50 Some(\"b\")");
        assert_eq!(ask((1, 2), &kinds[..1], "a", Some("b")), "a3 1 50 Some(\"b\")");
        assert_eq!(ask((1, 2), &kinds, "ab", Some("")), "ab3 2 50 Some(\"\")");
        assert_eq!(ask((1, 2), &kinds, "ab", None), "ab3 2 50 None");
    }
    assert_eq!(called(&calls), 5);
}

#[memoize(cache = cache)]
#[allow(clippy::too_many_arguments)]
fn twenty(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
    n: u8,
    o: u8,
    p: u8,
    q: u8,
    r: u8,
    cache: &Cache<CallKey, u32>,
) -> u32 {
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r].iter().map(|n| u32::from(*n)).sum()
}

#[test]
fn a_function_may_have_more_arguments_than_serde_has_tuples_for() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    for last in [1, 2] {
        let sum = twenty(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, last, &cache);
        assert_eq!(sum, 17 + u32::from(last));
    }
}

#[derive(Debug)]
enum Failed {
    Itself(u32),
    Cache(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Cache(error)
    }
}

#[memoize(cache = cache, ignore(calls))]
fn fails_at_first(calls: &Calls, cache: &Texts) -> Result<String, Failed> {
    let n = call(calls);
    if n < 3 {
        return Err(Failed::Itself(n));
    }
    let text = String::from_utf8(vec![b'o', b'k']).map_err(|_| Failed::Itself(0))?;
    Ok(text)
}

#[memoize(cache = cache, ignore(calls))]
fn io_fails(calls: &Calls, cache: &Texts) -> Result<String, Box<dyn std::error::Error>> {
    call(calls);
    Err(std::io::Error::other("no network"))?
}

#[test]
fn of_results_only_ok_is_kept() {
    let (_dir, cache) = texts();
    let calls = Calls::new(0);
    let got: Vec<_> = (0..4).map(|_| fails_at_first(&calls, &cache)).collect();
    assert!(
        matches!(&got[..], [Err(Failed::Itself(1)), Err(Failed::Itself(2)), Ok(a), Ok(b)] if a == "ok" && b == "ok")
    );
    assert_eq!((called(&calls), cache.len().unwrap()), (3, 1));
    for _ in 0..2 {
        assert_eq!(io_fails(&calls, &cache).unwrap_err().to_string(), "no network");
    }
    assert_eq!((called(&calls), cache.len().unwrap()), (5, 1));
}

#[memoize(cache = cache, ignore(calls), cache_if = |text| text.len() > 1)]
fn long_ones(text: &str, calls: &Calls, cache: &Texts) -> String {
    call(calls);
    text.to_owned()
}

#[allow(clippy::ptr_arg)]
fn is_ascii(text: &String) -> bool {
    text.is_ascii()
}

#[memoize(cache = cache, ignore(calls), cache_if = is_ascii)]
fn ascii_ones(text: &str, calls: &Calls, cache: &Texts) -> Result<String, Failed> {
    call(calls);
    Ok(text.to_owned())
}

#[test]
fn what_cache_if_refuses_is_returned_and_not_kept() {
    let (_dir, cache) = texts();
    let calls = Calls::new(0);
    for text in ["a", "a", "ab", "ab"] {
        assert_eq!(long_ones(text, &calls, &cache), text);
    }
    assert_eq!(called(&calls), 3);
    for text in ["ü", "ü", "u", "u"] {
        assert_eq!(ascii_ones(text, &calls, &cache).unwrap(), text);
    }
    assert_eq!(called(&calls), 6);
    assert_eq!(cache.len().unwrap(), 2);
}

/// Seconds since 1970.
struct Hand(AtomicU32);

impl Clock for Hand {
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst).into())
    }
}

#[memoize(cache = cache, ignore(calls), ttl = Duration::from_secs(10))]
fn for_ten_seconds(calls: &Calls, cache: &Cache<CallKey, u32>) -> u32 {
    call(calls)
}

#[memoize(cache = cache, ignore(calls, ttl), ttl = ttl)]
fn for_as_long(ttl: Option<Duration>, calls: &Calls, cache: &Cache<CallKey, u32>) -> u32 {
    call(calls)
}

#[test]
fn a_result_lives_as_long_as_is_said_or_else_as_the_cache_says() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand(AtomicU32::new(1_000_000)));
    let builder = Cache::builder(dir.path()).time_to_live(Duration::from_secs(100)).clock(clock.clone());
    let cache: Cache<CallKey, u32> = builder.open().unwrap();
    let calls = Calls::new(0);
    assert_eq!(for_ten_seconds(&calls, &cache), 1);
    assert_eq!(for_as_long(None, &calls, &cache), 2);
    clock.0.fetch_add(11, Ordering::SeqCst);
    assert_eq!(for_ten_seconds(&calls, &cache), 3);
    assert_eq!(for_as_long(Some(Duration::from_secs(1)), &calls, &cache), 2);
    clock.0.fetch_add(100, Ordering::SeqCst);
    assert_eq!(for_as_long(Some(Duration::from_secs(1)), &calls, &cache), 4);
    clock.0.fetch_add(2, Ordering::SeqCst);
    assert_eq!(for_as_long(None, &calls, &cache), 5);
}

/// Functions that are called alike, and have another body or version each.
macro_rules! editions {
    ($($module:ident: ($($options:tt)*) $body:expr;)*) => {
        $(mod $module {
            use super::*;

            #[memoize(cache = cache, name = "edited", $($options)*)]
            pub(crate) fn edited(n: u32, cache: &Cache<CallKey, u32>) -> u32 {
                let _ = n;
                $body
            }
        })*
    };
}

editions! {
    first: () 1;
    second: () 2;
    first_again: ()
        // Looks different, and is not.
        1;
    versioned: (version = "a") 3;
    versioned_and_edited: (version = "a") 4;
    of_another_version: (version = "b") 5;
}

#[test]
fn code_that_was_edited_computes_anew_unless_a_version_stands_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    assert_eq!(
        (first::edited(7, &cache), second::edited(7, &cache), first_again::edited(7, &cache)),
        (1, 2, 1)
    );
    assert_eq!((versioned::edited(7, &cache), versioned_and_edited::edited(7, &cache)), (3, 3));
    assert_eq!(of_another_version::edited(7, &cache), 5);
    assert_eq!(cache.len().unwrap(), 4);
    assert!(cache.keys().all(|key| key.unwrap().function() == "edited"));
}

#[memoize(cache = cache)]
fn shared(n: u32, cache: &Cache<CallKey, Vec<u32>>) -> Arc<Vec<u32>> {
    Arc::new((0..n).collect())
}

#[memoize(cache = cache)]
fn shared_or_not(n: u32, cache: &Cache<CallKey, Vec<u32>>) -> Result<Arc<Vec<u32>>, Failed> {
    if n == 0 { Err(Failed::Itself(0)) } else { Ok(Arc::new((0..n).collect())) }
}

#[test]
fn a_result_in_an_arc_is_shared_with_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    assert_eq!(*shared(3, &cache), [0, 1, 2]);
    let (a, b) = (shared(3, &cache), shared(3, &cache));
    assert!(Arc::ptr_eq(&a, &b));
    assert!(shared_or_not(0, &cache).is_err());
    assert_eq!(*shared_or_not(2, &cache).unwrap(), [0, 1]);
    let (a, b) = (shared_or_not(2, &cache).unwrap(), shared_or_not(2, &cache).unwrap());
    assert!(Arc::ptr_eq(&a, &b));
}

#[memoize(cache = cache, key = text.trim(), key_fn = trimmed_key)]
fn trimmed(text: &str, calls: &Calls, cache: &Texts) -> String {
    call(calls);
    text.trim().to_owned()
}

#[memoize(cache = cache, key_fn = generic_key)]
fn generic<T: Serialize>(it: &T, cache: &Texts) -> String {
    let _ = it;
    "generic".to_owned()
}

impl Pair<i8> {
    #[memoize(cache = cache, key = self.0, key_fn = first_key)]
    fn first(&self, cache: &Texts) -> String {
        self.0.to_string()
    }
}

#[test]
fn a_key_fn_tells_the_key_under_which_a_result_is() {
    let (_dir, cache) = texts();
    let calls = Calls::new(0);
    assert_eq!(trimmed(" a", &calls, &cache), trimmed("a ", &calls, &cache));
    assert_eq!(called(&calls), 1);
    let key = trimmed_key("a", &calls, &cache).unwrap();
    assert_eq!(cache.get(&key).unwrap().as_deref(), Some("a"));
    assert!(cache.remove(&key).unwrap());
    assert_eq!(trimmed("a", &calls, &cache), "a");
    assert_eq!(called(&calls), 2);

    generic(&vec![(1, 2)], &cache);
    let key = generic_key(&vec![(1, 2)], &cache).unwrap();
    assert_eq!(cache.get(&key).unwrap().as_deref(), Some("generic"), "{key:?}");
    assert_eq!(key.function(), "memoize::generic<alloc::vec::Vec<(i32, i32)>>");
    let pair = Pair(1_i8, 2);
    pair.first(&cache);
    assert_eq!(cache.get(&pair.first_key(&cache).unwrap()).unwrap().as_deref(), Some("1"));
}

/// What cannot be serialized.
#[derive(Clone)]
struct Unserializable;

impl Serialize for Unserializable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("as it is"))
    }
}

impl<'de> Deserialize<'de> for Unserializable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Unserializable, D::Error> {
        Err(serde::de::Error::custom("as it is"))
    }
}

#[memoize(cache = cache, ignore(calls))]
fn bad_argument(_it: &Unserializable, calls: &Calls, cache: &Cache<CallKey, u32>) -> u32 {
    call(calls)
}

#[memoize(cache = cache)]
fn bad_argument_raises(_it: &Unserializable, cache: &Cache<CallKey, u32>) -> Result<u32, Failed> {
    Ok(1)
}

#[memoize(cache = cache, ignore(calls))]
fn bad_result(calls: &Calls, cache: &Cache<CallKey, Unserializable>) -> Result<Unserializable, Failed> {
    call(calls);
    Ok(Unserializable)
}

#[memoize(cache = cache, ignore(calls), on_error = "bypass")]
fn bypasses(calls: &Calls, cache: &Cache<CallKey, u32>) -> Result<u32, std::num::ParseIntError> {
    call(calls);
    "7".parse()
}

#[memoize(cache = cache)]
fn raises(cache: &Cache<CallKey, u32>) -> Result<u32, Failed> {
    Ok(7)
}

#[test]
fn an_error_of_the_cache_is_raised_or_passed_by_and_what_was_computed_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let calls = Calls::new(0);
    assert_eq!(
        (bad_argument(&Unserializable, &calls, &cache), bad_argument(&Unserializable, &calls, &cache)),
        (1, 2)
    );
    let raised = bad_argument_raises(&Unserializable, &cache);
    assert!(matches!(raised, Err(Failed::Cache(Error::Serialize { what: "key", .. }))));
    let unserializable: Cache<CallKey, Unserializable> =
        Cache::builder(dir.path()).namespace("other").open().unwrap();
    for _ in 0..2 {
        assert!(bad_result(&calls, &unserializable).is_ok());
    }
    assert_eq!(called(&calls), 4);
    // The key is free again.
    cache.close().unwrap();
    assert!(matches!(raises(&cache), Err(Failed::Cache(Error::Closed))));
    assert_eq!(bypasses(&calls, &cache), Ok(7));
    assert_eq!(called(&calls), 5);

    let read_only: Cache<CallKey, u32> = Cache::builder(dir.path()).read_only(true).open().unwrap();
    assert_eq!((raises(&read_only).unwrap(), read_only.len().unwrap()), (7, 0));
}

#[memoize(cache = cache, ignore(calls, barrier))]
fn slow(calls: &Calls, barrier: &Barrier, cache: &Texts) -> String {
    call(calls);
    let _ = barrier;
    std::thread::sleep(Duration::from_millis(50));
    "slow".to_owned()
}

#[memoize(cache = cache, ignore(calls))]
fn panics_once(calls: &Calls, cache: &Texts) -> String {
    if call(calls) == 1 {
        std::panic::resume_unwind(Box::new("as a function might"));
    }
    "went well".to_owned()
}

#[memoize(cache = cache)]
fn fibonacci(n: u64, cache: &Cache<CallKey, u64>) -> u64 {
    if n < 2 { n } else { fibonacci(n - 1, cache) + fibonacci(n - 2, cache) }
}

#[test]
fn of_all_threads_one_runs_the_function_and_a_panic_lets_another_do_it() {
    let (dir, cache) = texts();
    let (calls, barrier) = (Calls::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(slow(&calls, &barrier, &cache), "slow");
            });
        }
    });
    assert_eq!(called(&calls), 1);
    let calls = Calls::new(0);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panics_once(&calls, &cache))).is_err());
    assert_eq!(panics_once(&calls, &cache), "went well");
    let numbers: Cache<CallKey, u64> =
        Cache::builder(dir.path().join("store")).namespace("numbers").open().unwrap();
    assert_eq!(fibonacci(80, &numbers), 23_416_728_348_467_685);
    assert_eq!(numbers.len().unwrap(), 81);
}

struct Client {
    url: &'static str,
    answers: AsyncCache<CallKey, String>,
    calls: Arc<Calls>,
}

impl Client {
    #[memoize(cache = self.answers, key = (self.url, &question), cache_if = |answer| answer != "?")]
    async fn ask(&self, question: String) -> Result<String, Failed> {
        call(&self.calls);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if question.is_empty() {
            return Err(Failed::Itself(0));
        }
        let answer = question.parse::<String>().map_err(|_| Failed::Itself(1))?;
        Ok(answer)
    }

    #[memoize(cache = self.answers, key = self.url)]
    async fn whoami(&self) -> String {
        call(&self.calls);
        tokio::task::yield_now().await;
        self.url.to_owned()
    }
}

#[memoize(cache = cache)]
async fn shared_async(n: u32, cache: &AsyncCache<CallKey, Vec<u32>>) -> Arc<Vec<u32>> {
    Arc::new((0..n).collect())
}

#[test]
fn async_functions_are_memoized_in_tasks() {
    let (dir, cache) = texts();
    let calls = Arc::new(Calls::new(0));
    let client = Arc::new(Client { url: "a", answers: cache.into(), calls: calls.clone() });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        // They can be sent to other threads.
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.ask("why".to_owned()).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "why");
        }
        assert_eq!(called(&calls), 1);
        for _ in 0..2 {
            assert!(matches!(client.ask(String::new()).await, Err(Failed::Itself(0))));
            assert_eq!(client.ask("?".to_owned()).await.unwrap(), "?");
            assert_eq!(client.whoami().await, "a");
        }
        assert_eq!(called(&calls), 6);
        // Dropped in the middle, it leaves the key to the next one.
        let timed = tokio::time::timeout(Duration::from_millis(1), client.ask("how".to_owned()));
        assert!(timed.await.is_err());
        assert_eq!(client.ask("how".to_owned()).await.unwrap(), "how");

        let vecs: AsyncCache<CallKey, Vec<u32>> =
            Cache::builder(dir.path().join("store")).namespace("vecs").open().unwrap().into();
        shared_async(2, &vecs).await;
        let (a, b) = (shared_async(2, &vecs).await, shared_async(2, &vecs).await);
        assert!(Arc::ptr_eq(&a, &b) && *a == [0, 1]);

        client.answers.close().await.unwrap();
        assert!(matches!(client.ask("why".to_owned()).await, Err(Failed::Cache(Error::Closed))));
        assert_eq!(client.whoami().await, "a");
    });
}
