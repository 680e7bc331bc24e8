//! Values of another type or schema than what is asked for: never taken for what they are not, never deleted without a word,
//! and in nobody's way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use cachemere::{AsyncCache, Batch, BoxError, ByteCache, Cache, Codec, Error, Secret, Undecodable, Zstd};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct New {
    text: String,
    tokens: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tolerant {
    text: String,
    #[serde(default)]
    tokens: u32,
}

fn new(text: &str) -> New {
    New { text: text.to_owned(), tokens: 1 }
}

/// Three entries of which the middle one can be read as `New`.
fn mixed() -> (tempfile::TempDir, Cache<str, New>) {
    let dir = tempfile::tempdir().unwrap();
    let old: Cache<str, Old> = Cache::builder(dir.path()).open().unwrap();
    let cache: Cache<str, New> = Cache::builder(dir.path()).open().unwrap();
    old.insert("a", &Old { text: "a".into() }).unwrap();
    cache.insert("b", &new("b")).unwrap();
    old.insert("c", &Old { text: "c".into() }).unwrap();
    (dir, cache)
}

fn handle<V>(path: &Path, what: Undecodable) -> Cache<str, V>
where
    V: Serialize + for<'de> Deserialize<'de> + Clone + Send + Sync + 'static,
{
    Cache::builder(path).on_undecodable(what).open().unwrap()
}

fn is_undecodable<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Deserialize { what: "value", .. }))
}

#[test]
fn a_field_that_was_added_is_an_error_for_get_and_a_miss_for_loads() {
    let (dir, cache) = mixed();
    assert!(is_undecodable(cache.get("a")) && is_undecodable(cache.take("a")));
    assert!(is_undecodable(cache.update("a", |_| unreachable!("there is no value"))));
    assert!(cache.contains("a").unwrap());
    assert!(!cache.compare_and_set("a", Some(&new("a")), None).unwrap());
    assert_eq!(cache.get_or_insert_with("a", || new("loaded")).unwrap(), new("loaded"));
    assert_eq!(cache.get("a").unwrap(), Some(new("loaded")));
    // A load that fails leaves it as it was.
    let failed: Result<New, Error> = cache.try_get_or_insert_with("c", || Err(Error::EmptyKey));
    assert!(matches!(failed, Err(Error::EmptyKey)));
    let old: Cache<str, Old> = Cache::builder(dir.path()).open().unwrap();
    assert_eq!(old.get("c").unwrap(), Some(Old { text: "c".into() }));
    // A field that has a default was never in the way.
    let tolerant: Cache<str, Tolerant> = Cache::builder(dir.path()).open().unwrap();
    assert_eq!(tolerant.get("c").unwrap(), Some(Tolerant { text: "c".into(), tokens: 0 }));
}

#[test]
fn what_cannot_be_decoded_is_passed_over_by_who_asks_for_many_or_takes_the_first() {
    let (_dir, cache) = mixed();
    assert_eq!(cache.get_many(["a", "b", "c", "d"]).unwrap(), [None, Some(new("b")), None, None]);
    let met: Vec<_> = cache.iter().map(|item| item.ok().map(|(key, _)| key)).collect();
    assert_eq!(met, [None, Some("b".to_owned()), None]);
    cache.insert("d", &new("d")).unwrap();
    assert_eq!(cache.pop_oldest().unwrap(), Some(("b".to_owned(), new("b"))));
    assert_eq!(cache.pop_newest().unwrap(), Some(("d".to_owned(), new("d"))));
    assert_eq!((cache.pop_oldest().unwrap(), cache.pop_newest().unwrap()), (None, None));
    assert_eq!(cache.retain(|_, _| unreachable!("none is left that can be decoded")).unwrap(), 0);
    assert_eq!(cache.keys().map(Result::unwrap).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(cache.values().filter(Result::is_ok).count(), 0);
    assert_eq!(cache.len().unwrap(), 2, "nothing was deleted");
    assert!(cache.stats().unwrap().undecodable >= 6);
    assert!(cache.remove("a").unwrap() && cache.remove("c").unwrap());
}

#[test]
fn it_is_a_miss_everywhere_if_that_is_chosen() {
    let (dir, _) = mixed();
    let cache: Cache<str, New> = handle(dir.path(), Undecodable::Miss);
    assert_eq!((cache.get("a").unwrap(), cache.take("a").unwrap()), (None, None));
    assert!(cache.contains("a").unwrap(), "it stays");
    let met: Vec<_> = cache.iter().map(|item| item.unwrap().0).collect();
    assert_eq!(met, ["b"]);
    let met: Vec<_> = cache.iter().rev().map(|item| item.unwrap().0).collect();
    assert_eq!(met, ["b"]);
    let stats = cache.stats().unwrap();
    assert_eq!((stats.undecodable, stats.misses), (2 + 2 + 2, 1));
    assert_eq!(cache.update("a", |old| Some(old.unwrap_or(new("updated")))).unwrap(), Some(new("updated")));
    assert_eq!(cache.get("a").unwrap(), Some(new("updated")));
}

#[test]
fn it_is_an_error_everywhere_if_that_is_chosen() {
    let (dir, _) = mixed();
    let cache: Cache<str, New> = handle(dir.path(), Undecodable::Error);
    assert!(is_undecodable(cache.get("a")) && is_undecodable(cache.get_many(["b", "a"])));
    assert!(is_undecodable(cache.get_or_insert_with("a", || unreachable!("it is there"))));
    assert!(is_undecodable(cache.pop_oldest()) && is_undecodable(cache.pop_newest()));
    assert_eq!(cache.len().unwrap(), 3);
}

#[test]
fn a_task_loads_what_cannot_be_decoded() {
    let (_dir, cache) = mixed();
    let cache = AsyncCache::from(cache);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(is_undecodable(cache.get("a").await));
        assert_eq!(cache.get_or_insert_with("a", || async { new("loaded") }).await.unwrap(), new("loaded"));
        assert_eq!(cache.get("a").await.unwrap(), Some(new("loaded")));
    });
}

#[test]
fn numbers_of_another_type_are_not_taken_for_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let numbers: Cache<str, u32> = Cache::builder(dir.path()).open().unwrap();
    numbers.insert("n", &7).unwrap();
    numbers.insert_many([("m", &8)]).unwrap();
    let mut batch = Batch::new();
    batch.insert("o", 9);
    numbers.write(&batch).unwrap();
    numbers.update("p", |_| Some(10)).unwrap();
    let floats: Cache<str, f64> = Cache::builder(dir.path()).open().unwrap();
    let wide: Cache<str, i64> = Cache::builder(dir.path()).open().unwrap();
    let optional: Cache<str, Option<u32>> = Cache::builder(dir.path()).open().unwrap();
    for key in ["n", "m", "o", "p"] {
        let error = floats.get(key).unwrap_err().to_string();
        assert!(error.contains("u32") && error.contains("f64"), "{error}");
        assert!(is_undecodable(wide.get(key)));
        assert_eq!(optional.get(key).unwrap().unwrap(), numbers.get(key).unwrap());
    }
    assert_eq!(wide.get_or_insert_with("n", || -1).unwrap(), -1);
    assert!(is_undecodable(numbers.get("n")));
    let lists: Cache<str, Vec<f32>> = Cache::builder(dir.path()).namespace("lists").open().unwrap();
    lists.insert("l", &vec![0.5]).unwrap();
    let whole: Cache<str, Vec<u32>> = Cache::builder(dir.path()).namespace("lists").open().unwrap();
    assert!(is_undecodable(whole.get("l")));
    let array: Cache<str, [f32; 1]> = Cache::builder(dir.path()).namespace("lists").open().unwrap();
    assert_eq!(array.get("l").unwrap(), Some([0.5]));
}

#[test]
fn a_schema_is_recorded_with_each_entry_whatever_the_pipeline() {
    for (encrypted, compressed) in [(false, false), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let open = |schema: Option<&str>| -> Cache<str, String> {
            let mut builder = Cache::builder(dir.path());
            if encrypted {
                builder = builder.encryption(Secret::key([3; 32]));
            }
            if compressed {
                builder = builder.compression(Zstd::default());
            }
            if let Some(schema) = schema {
                builder = builder.schema(schema);
            }
            builder.open().unwrap()
        };
        let long = "answer ".repeat(100);
        let (none, second, third) = (open(None), open(Some("answer/2")), open(Some("answer/3")));
        none.insert("0", &long).unwrap();
        second.insert("2", &long).unwrap();
        third.insert_many([("3", &long)]).unwrap();
        // Who asks for none reads all.
        assert_eq!(
            none.get_many(["0", "2", "3"]).unwrap(),
            [const { Some(()) }; 3].map(|one| one.map(|()| long.clone()))
        );
        assert!(is_undecodable(second.get("0")) && is_undecodable(third.get("2")));
        assert_eq!(second.get("2").unwrap().as_ref(), Some(&long));
        // Also from memory, and compared without it.
        assert_eq!(second.get("2").unwrap().as_ref(), Some(&long));
        assert!(second.compare_and_set("2", Some(&long), Some(&"short".to_owned())).unwrap());
        assert!(!third.compare_and_set("2", Some(&"short".to_owned()), None).unwrap());
        assert_eq!(third.get_or_insert_with("2", || "new".to_owned()).unwrap(), "new");
        assert!(is_undecodable(second.get("2")));
        // An entry that lives on keeps its schema.
        assert!(second.touch("3").unwrap() && is_undecodable(second.get("3")));
        assert_eq!(third.get("3").unwrap().as_ref(), Some(&long));
        assert!(none.verify().unwrap().is_clean());
    }
}

#[test]
fn a_schema_that_is_empty_or_huge_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for schema in [String::new(), "x".repeat(256), "x".repeat(1 << 20)] {
        let opened = Cache::<str, u32>::builder(&path).schema(schema).open();
        assert!(matches!(opened, Err(Error::Invalid { .. })));
        assert!(!path.exists());
    }
    Cache::<str, u32>::builder(&path).schema("x".repeat(255)).open().unwrap().insert("a", &1).unwrap();
}

struct Text;

impl Codec<u32> for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn encode(&self, value: &u32, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, BoxError> {
        Ok(std::str::from_utf8(bytes)?.parse()?)
    }
}

#[test]
fn a_serializer_of_ones_own_has_schemas_too() {
    let dir = tempfile::tempdir().unwrap();
    let open = |schema: &str| -> Cache<str, u32> {
        Cache::builder(dir.path()).serializer(Text).schema(schema).open().unwrap()
    };
    open("1").insert("a", &7).unwrap();
    assert_eq!(open("1").get("a").unwrap(), Some(7));
    assert!(is_undecodable(open("2").get("a")));
    let any: Cache<str, u32> = Cache::builder(dir.path()).serializer(Text).open().unwrap();
    assert_eq!(any.get("a").unwrap(), Some(7));
}

#[test]
fn what_is_written_without_a_schema_is_what_always_was() {
    let dir = tempfile::tempdir().unwrap();
    let (path, marked) = (dir.path().join("plain"), dir.path().join("marked"));
    let payload_in = |path: &Path| {
        let bytes = ByteCache::builder(path).serializer_name("msgpack").open().unwrap();
        bytes.scan(&mut Default::default()).unwrap().remove(0).unwrap().payload
    };
    Cache::<str, u32>::builder(&path).open().unwrap().insert("a", &7).unwrap();
    assert_eq!(payload_in(&path), [7]);
    // No version that knows of no schemas takes this for a number.
    Cache::<str, u32>::builder(&marked).schema("s").open().unwrap().insert("a", &7).unwrap();
    assert_eq!(payload_in(&marked), [0xc1, 1, b's', 7]);
}
