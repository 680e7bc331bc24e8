//! Keys, values and durations that cannot be stored.

use std::collections::BTreeMap;
use std::time::Duration;

use cachemere::{
    BackendKind, Batch, BoxError, ByteCache, Cache, Codec, Condition, Error, Maintenance, Undecodable,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::backend::backend;
use crate::{contents, refused, store};

/// A number that cannot be serialized when it is 13.
#[derive(Clone, PartialEq, Debug)]
struct Picky(u32);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            13 => Err(serde::ser::Error::custom("thirteen brings bad luck")),
            n => serializer.serialize_u32(n),
        }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        u32::deserialize(deserializer).map(Picky)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Nest {
    End,
    Deeper(Box<Nest>),
}

#[test]
fn a_value_that_cannot_be_serialized_writes_nothing() {
    let (_dir, path) = store();
    let cache: Cache<str, Picky> =
        Cache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert("key", &Picky(1)).unwrap();
    let (good, bad) = (Picky(2), Picky(13));
    for error in [
        refused(&path, || cache.insert("key", &bad)),
        refused(&path, || cache.insert_with_ttl("key", &bad, Duration::from_secs(1))),
        refused(&path, || cache.insert_if_absent("new", &bad)),
        refused(&path, || cache.insert_many([("new", &good), ("key", &bad)])),
        refused(&path, || cache.write(Batch::new().insert("new", good.clone()).insert("key", bad.clone()))),
        refused(&path, || cache.update("key", |_| Some(bad.clone()))),
        refused(&path, || cache.compare_and_set("key", Some(&bad), Some(&good))),
        refused(&path, || cache.compare_and_set("key", Some(&Picky(1)), Some(&bad))),
        refused(&path, || cache.get_or_insert_with("new", || bad.clone())),
    ] {
        assert!(matches!(error, Error::Serialize { what: "value", .. }), "{error:?}");
        assert!(error.is_serialization() && error.to_string().contains("bad luck"), "{error}");
    }
    assert_eq!(cache.get("key").unwrap(), Some(Picky(1)));
    assert_eq!(cache.len().unwrap(), 1);
}

#[test]
fn a_key_that_cannot_be_serialized_is_refused_everywhere() {
    let (_dir, path) = store();
    let cache: Cache<Picky, u32> =
        Cache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert(&Picky(1), &1).unwrap();
    let (good, bad) = (Picky(2), Picky(13));
    for error in [
        refused(&path, || cache.insert(&bad, &1)),
        refused(&path, || cache.insert_with_ttl(&bad, &1, Duration::from_secs(1))),
        refused(&path, || cache.insert_if_absent(&bad, &1)),
        refused(&path, || cache.insert_many([(&good, &1), (&bad, &1)])),
        refused(&path, || cache.write(Batch::new().insert(&good, 1).remove(&bad))),
        refused(&path, || cache.get(&bad)),
        refused(&path, || cache.get_shared(&bad)),
        refused(&path, || cache.get_many([&good, &bad])),
        refused(&path, || cache.contains(&bad)),
        refused(&path, || cache.info(&bad)),
        refused(&path, || cache.remove(&bad)),
        refused(&path, || cache.take(&bad)),
        refused(&path, || cache.touch(&bad)),
        refused(&path, || cache.update(&bad, |_| panic!("is not asked"))),
        refused(&path, || cache.compare_and_set(&bad, None, Some(&1))),
        refused(&path, || cache.get_or_insert_with(&bad, || panic!("is not asked"))),
    ] {
        assert!(matches!(error, Error::Serialize { what: "key", .. }), "{error:?}");
    }
    assert_eq!(cache.len().unwrap(), 1);
}

#[test]
fn a_value_that_could_not_be_read_back_is_not_written() {
    let (_dir, path) = store();
    let cache: Cache<str, Nest> =
        Cache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    let nest = |depth| (0..depth).fold(Nest::End, |inner, _| Nest::Deeper(Box::new(inner)));
    cache.insert("deep", &nest(100)).unwrap();
    let error = refused(&path, || cache.insert("deeper", &nest(1_000)));
    assert!(error.is_serialization() && error.to_string().contains("128"), "{error}");
}

/// JSON has texts as the keys of its maps only.
struct Json;

impl Codec<BTreeMap<Vec<u8>, u32>> for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, value: &BTreeMap<Vec<u8>, u32>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(out, value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, u32>, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[test]
fn a_map_whose_keys_the_serializer_does_not_take_is_refused() {
    let (_dir, path) = store();
    let builder = Cache::<str, _>::builder(&path).backend(backend()).maintenance(Maintenance::Manual);
    let cache = builder.serializer(Json).open().unwrap();
    cache.insert("empty", &BTreeMap::new()).unwrap();
    let map = BTreeMap::from([(vec![1, 2], 3)]);
    let error = refused(&path, || cache.insert("map", &map));
    assert!(matches!(&error, Error::Serialize { what: "value", .. }), "{error:?}");
    assert!(error.to_string().contains("key must be a string"), "{error}");
}

#[test]
fn an_entry_of_more_than_a_gibibyte_is_refused() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    // Untouched zeros take no memory.
    let huge = vec![0; (1 << 30) + 1];
    for (key, payload, size) in [(&b"k"[..], &huge[..], huge.len() + 1), (b"k", &huge[1..], huge.len())] {
        for error in [
            refused(&path, || cache.insert(key, payload, 0, None)),
            refused(&path, || cache.insert_if(key, payload, 0, None, Condition::Absent)),
        ] {
            assert!(error.is_invalid(), "{error:?}");
            assert!(
                matches!(error, Error::TooLarge { size: found, limit } if found == size as u64 && limit == 1 << 30),
                "{error:?}"
            );
        }
    }
}

#[test]
fn an_entry_that_a_size_limit_leaves_no_room_for_is_refused() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path)
        .backend(BackendKind::Lmdb)
        .maintenance(Maintenance::Manual)
        .max_bytes(4 << 20)
        .open()
        .unwrap();
    cache.insert(b"key", b"value", 0, None).unwrap();
    // A bit more than a quarter.
    let large = vec![7; 1_100_000];
    for error in [
        refused(&path, || cache.insert(b"large", &large, 0, None)),
        refused(&path, || {
            cache.insert_many([(&b"a"[..], b"1".to_vec(), 0), (b"large", large.to_vec(), 0)], None)
        }),
    ] {
        assert!(error.is_store_full(), "{error:?}");
        assert!(matches!(error, Error::StoreFull { limit: 0x40_0000, .. }), "{error:?}");
    }
    assert_eq!(cache.len().unwrap(), 1);
}

/// Gives no bytes for an empty text.
struct Verbatim;

impl Codec<str> for Verbatim {
    fn name(&self) -> &str {
        "verbatim"
    }

    fn encode(&self, value: &str, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

#[test]
fn an_empty_key_is_refused() {
    let (_dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    for error in [
        refused(&path, || cache.insert(b"", b"value", 0, None)),
        refused(&path, || cache.insert_if(b"", b"value", 0, None, Condition::Absent)),
        refused(&path, || cache.insert_many([(&b"a"[..], b"1".to_vec(), 0), (b"", b"2".to_vec(), 0)], None)),
        refused(&path, || cache.remove(b"")),
    ] {
        assert!(matches!(error, Error::EmptyKey) && error.is_invalid(), "{error:?}");
    }
    assert_eq!(cache.get(b"").unwrap(), None);
    assert!(!cache.contains(b"").unwrap() && !cache.touch(b"", None).unwrap());
    assert_eq!(cache.len().unwrap(), 0);

    let (_dir, path) = store();
    let builder = Cache::<str, u32>::builder(&path).backend(backend()).maintenance(Maintenance::Manual);
    let typed = builder.key_serializer(Verbatim).open().unwrap();
    let error = refused(&path, || typed.insert("", &1));
    assert!(matches!(error, Error::EmptyKey), "{error:?}");
    // MessagePack has bytes for an empty text.
    let (_dir, path) = store();
    let typed: Cache<str, u32> = Cache::builder(path).backend(backend()).open().unwrap();
    typed.insert("", &1).unwrap();
    assert_eq!(typed.get("").unwrap(), Some(1));
}

#[test]
fn a_duration_of_nothing_is_refused() {
    let (_dir, path) = store();
    let builder = || Cache::<str, u32>::builder(&path).backend(backend()).maintenance(Maintenance::Manual);
    let nothing = [Duration::ZERO, Duration::from_nanos(999)];
    for zero in nothing {
        for error in [
            refused(&path, || builder().time_to_live(zero).open()),
            refused(&path, || builder().time_to_idle(zero).open()),
        ] {
            assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        }
    }
    let error = refused(&path, || builder().checkpoint_interval(Duration::ZERO).open());
    assert!(matches!(error, Error::Invalid { what: "checkpoint_interval", .. }), "{error:?}");
    assert!(!path.exists());

    let cache = builder().open().unwrap();
    cache.insert("key", &1).unwrap();
    let bytes = ByteCache::builder(&path).backend(backend()).namespace("bytes").open().unwrap();
    bytes.insert(b"key", b"1", 0, None).unwrap();
    for zero in nothing {
        for error in [
            refused(&path, || cache.insert_with_ttl("key", &2, zero)),
            refused(&path, || cache.touch_with_ttl("key", zero)),
            refused(&path, || bytes.insert(b"key", b"2", 0, Some(zero))),
            refused(&path, || bytes.insert_if(b"new", b"2", 0, Some(zero), Condition::Absent)),
            refused(&path, || bytes.insert_many([(&b"key"[..], b"2".to_vec(), 0)], Some(zero))),
            refused(&path, || bytes.touch(b"key", Some(zero))),
        ] {
            assert!(matches!(error, Error::Invalid { what: "ttl", .. }), "{error:?}");
        }
    }
    assert_eq!(cache.get("key").unwrap(), Some(1));
    // The longest lifetime there is does not overflow.
    cache.insert_with_ttl("key", &3, Duration::MAX).unwrap();
    assert_eq!(cache.get("key").unwrap(), Some(3));
}

#[test]
fn a_value_of_another_type_is_an_error_and_stays() {
    let (_dir, path) = store();
    let numbers: Cache<str, u32> =
        Cache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    numbers.insert("key", &7).unwrap();
    let before = contents(&path);
    let texts = || Cache::<str, String>::builder(&path).backend(backend());
    // Unless it is chosen, who asks for many or takes the first gets past it.
    let passing = texts().open().unwrap();
    assert_eq!(passing.get_many(["key"]).unwrap(), [None]);
    assert_eq!((passing.pop_oldest().unwrap(), passing.pop_newest().unwrap()), (None, None));
    let chosen = texts().on_undecodable(Undecodable::Error).open().unwrap();
    for texts in [&passing, &chosen] {
        for error in [
            texts.get("key").unwrap_err(),
            texts.get_shared("key").unwrap_err(),
            texts.take("key").unwrap_err(),
            texts.update("key", |_| panic!("is not asked")).unwrap_err(),
            texts.iter().next().unwrap().unwrap_err(),
            texts.iter().next_back().unwrap().unwrap_err(),
        ] {
            assert!(matches!(error, Error::Deserialize { what: "value", .. }), "{error:?}");
        }
    }
    let texts = chosen;
    for error in [
        texts.get_many(["key"]).unwrap_err(),
        texts.get_or_insert_with("key", || panic!("is not asked")).unwrap_err(),
        texts.pop_oldest().unwrap_err(),
        texts.pop_newest().unwrap_err(),
    ] {
        assert!(matches!(error, Error::Deserialize { what: "value", .. }), "{error:?}");
        assert!(error.is_serialization());
    }
    let keys: Cache<u64, u32> = Cache::builder(&path).backend(backend()).open().unwrap();
    let error = keys.iter().next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Deserialize { what: "key", .. }), "{error:?}");
    assert!(before == contents(&path));
    // What needs no value works: it can be replaced or removed.
    assert!(texts.contains("key").unwrap() && texts.info("key").unwrap().is_some());
    assert_eq!(numbers.get("key").unwrap(), Some(7));
    texts.insert("key", &"text".to_owned()).unwrap();
    assert!(numbers.get("key").unwrap_err().is_serialization());
    assert!(texts.remove("key").unwrap());
}
