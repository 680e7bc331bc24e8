//! Keys, values and what is kept; loads that share their value.

use std::sync::Arc;

use cachemere::{Cache, Error};

use super::{backend, front, store};

#[test]
fn keys_and_values_come_in_the_order_of_insertion_and_back() {
    let (_dir, path) = store();
    let cache: Cache<str, u32> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    for (n, key) in (0..600).map(|n| (n, format!("{n}"))) {
        cache.insert(&key, &n).unwrap();
    }
    let keys: Vec<String> = cache.keys().map(Result::unwrap).collect();
    assert_eq!(keys, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
    let values: Vec<u32> = cache.values().rev().map(Result::unwrap).collect();
    assert_eq!(values, (0..600).rev().collect::<Vec<_>>());
    let mut both = cache.keys();
    assert_eq!(
        (both.next().unwrap().unwrap(), both.next_back().unwrap().unwrap()),
        ("0".into(), "599".into())
    );
    assert_eq!(both.count(), 598);
}

#[test]
fn what_is_not_to_be_kept_is_removed_and_nothing_else() {
    let (_dir, path) = store();
    let cache: Cache<u32, u32> = Cache::builder(&path).backend(backend()).front(front()).open().unwrap();
    let all: Vec<u32> = (0..700).collect();
    cache.insert_many(all.iter().map(|n| (*n, n))).unwrap();
    assert_eq!(cache.get(&0).unwrap(), Some(0));
    assert_eq!(cache.retain(|key, value| key == value && key % 7 == 3).unwrap(), 600);
    assert_eq!((cache.len().unwrap(), cache.get(&0).unwrap(), cache.get(&3).unwrap()), (100, None, Some(3)));
    // What somebody writes meanwhile stays, though what was there before was not to be kept.
    let removed = cache.retain(|key, _| {
        cache.insert(key, &(key + 1)).unwrap();
        false
    });
    assert_eq!((removed.unwrap(), cache.len().unwrap(), cache.get(&3).unwrap()), (0, 100, Some(4)));
    let read_only: Cache<u32, u32> = Cache::builder(&path).read_only(true).open().unwrap();
    assert!(
        read_only.retain(|_, _| unreachable!("refused before anything is read")).unwrap_err().is_read_only()
    );
    assert!(cache.verify().unwrap().is_clean());
}

/// What need not be cloned to be read, though a cache asks for it.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Unwilling(u32);

impl Clone for Unwilling {
    fn clone(&self) -> Self {
        panic!("it was cloned")
    }
}

#[test]
fn a_load_that_shares_its_value_clones_none() {
    let (_dir, path) = store();
    let builder = Cache::<str, Unwilling>::builder(&path).backend(backend()).front(front());
    let cache = builder.clone().open().unwrap();
    let loaded = cache.get_shared_or_insert_with("a", || Unwilling(1)).unwrap();
    let again = cache.get_shared_or_insert_with("a", || unreachable!("it is there")).unwrap();
    let from_memory = cache.get_shared_or_insert_with("a", || unreachable!("it is there")).unwrap();
    assert_eq!((&*loaded, &*again), (&Unwilling(1), &Unwilling(1)));
    assert!(Arc::ptr_eq(&again, &from_memory));
    let failed = cache.try_get_shared_or_insert_with("b", || Err(Error::EmptyKey));
    assert!(matches!(failed, Err(Error::EmptyKey)));
    // The builder that was cloned describes the same cache.
    assert_eq!(*builder.open().unwrap().get_shared("a").unwrap().unwrap(), Unwilling(1));
}
