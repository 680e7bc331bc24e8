//! A closed handle.

use std::time::Duration;

use cachemere::{
    Batch, ByteBatch, ByteCache, Cache, Condition, Error, Maintenance, Result, ScanPosition, Secret,
};

use crate::backend::backend;
use crate::{contents, store};

fn check<const N: usize>(results: [(&str, Result<()>); N]) {
    for (operation, result) in results {
        assert!(matches!(result, Err(Error::Closed)), "{operation}: {result:?}");
    }
}

#[test]
fn a_closed_handle_refuses_every_operation() {
    let (dir, path) = store();
    let open = || {
        let builder = Cache::<str, u32>::builder(&path).backend(backend()).maintenance(Maintenance::Manual);
        builder.encryption(Secret::key([1; 32])).open().unwrap()
    };
    let cache = open();
    cache.insert("key", &1).unwrap();
    let other = open();
    let clone = cache.clone();
    cache.close().unwrap();
    let before = contents(dir.path());
    let secret = || Secret::key([1; 32]);
    let backup = dir.path().join("backup");
    for cache in [&cache, &clone] {
        check([
            ("get", cache.get("key").map(drop)),
            ("get_shared", cache.get_shared("key").map(drop)),
            ("get_many", cache.get_many(["key"]).map(drop)),
            ("get_many of nothing", cache.get_many::<&str>([]).map(drop)),
            ("contains", cache.contains("key").map(drop)),
            ("info", cache.info("key").map(drop)),
            ("len", cache.len().map(drop)),
            ("is_empty", cache.is_empty().map(drop)),
            ("stats", cache.stats().map(drop)),
            ("namespaces", cache.namespaces().map(drop)),
            ("store_info", cache.store_info().map(drop)),
            ("sibling", cache.sibling::<str, u32>().map(drop)),
            ("iter", cache.iter().next().unwrap().map(drop)),
            ("iter back", cache.iter().next_back().unwrap().map(drop)),
            ("insert", cache.insert("key", &2)),
            ("insert_with_ttl", cache.insert_with_ttl("key", &2, Duration::from_secs(1))),
            ("insert_if_absent", cache.insert_if_absent("key", &2).map(drop)),
            ("insert_many", cache.insert_many([("key", &2)])),
            ("insert_many of nothing", cache.insert_many::<&str>([])),
            ("write", cache.write(Batch::new().insert("key", 2))),
            ("write of nothing", cache.write(&Batch::new())),
            ("remove", cache.remove("key").map(drop)),
            ("take", cache.take("key").map(drop)),
            ("update", cache.update("key", |_| panic!("is not asked")).map(drop)),
            ("compare_and_set", cache.compare_and_set("key", None, None).map(drop)),
            ("touch", cache.touch("key").map(drop)),
            ("touch_with_ttl", cache.touch_with_ttl("key", Duration::from_secs(1)).map(drop)),
            ("get_or_insert_with", cache.get_or_insert_with("key", || panic!("is not asked")).map(drop)),
            ("pop_oldest", cache.pop_oldest().map(drop)),
            ("pop_newest", cache.pop_newest().map(drop)),
            ("clear", cache.clear()),
            ("sweep", cache.sweep().map(drop)),
            ("checkpoint", cache.checkpoint()),
            ("compact", cache.compact()),
            ("backup", cache.backup(&backup)),
            ("verify", cache.verify().map(drop)),
            ("change_secret", cache.change_secret(&secret(), &secret())),
            ("reencrypt", cache.reencrypt(&secret(), &secret())),
            ("encrypt", cache.encrypt(&secret())),
            ("remove_prefix", cache.remove_prefix("").map(drop)),
            ("entry", cache.entry("key").and_then(|mut entry| entry.remove()).map(drop)),
        ]);
        cache.close().unwrap();
        assert_eq!(cache.path(), path.canonicalize().unwrap());
    }
    let mut iter = cache.iter();
    assert!(iter.next().unwrap().unwrap_err().is_closed());
    assert!(iter.next().is_none() && iter.next_back().is_none(), "it ends after its error");
    assert!(before == contents(dir.path()));
    assert_eq!(other.get("key").unwrap(), Some(1), "another handle goes on");
}

#[test]
fn a_closed_byte_level_handle_refuses_every_operation() {
    let (dir, path) = store();
    let cache = ByteCache::builder(&path).backend(backend()).maintenance(Maintenance::Manual).open().unwrap();
    cache.insert(b"key", b"1", 0, None).unwrap();
    let found = cache.get(b"key").unwrap().unwrap();
    let (version, held) = (found.version, cache.hold(&found).unwrap());
    cache.close().unwrap();
    let before = contents(dir.path());
    check([
        ("token", cache.token().map(drop)),
        ("get", cache.get(b"key").map(drop)),
        ("get_unless", cache.get_unless(b"key", &held).map(drop)),
        ("get_many", cache.get_many([&b"key"[..]]).map(drop)),
        ("insert", cache.insert(b"key", b"2", 0, None)),
        ("insert_if", cache.insert_if(b"key", b"2", 0, None, Condition::Version(version)).map(drop)),
        ("insert_many", cache.insert_many([], None)),
        ("write", cache.write(&ByteBatch::new())),
        ("namespaces", cache.namespaces().map(drop)),
        ("store_info", cache.store_info().map(drop)),
        ("sibling", cache.sibling().map(drop)),
        ("remove", cache.remove(b"key").map(drop)),
        ("remove_if", cache.remove_if(b"key", version).map(drop)),
        ("contains", cache.contains(b"key").map(drop)),
        ("info", cache.info(b"key").map(drop)),
        ("touch", cache.touch(b"key", None).map(drop)),
        ("hold", cache.hold(&found).map(drop)),
        ("is_current", cache.is_current(&held).map(drop)),
        ("scan", cache.scan(&mut ScanPosition::default()).map(drop)),
        ("scan_back", cache.scan_back(&mut ScanPosition::default()).map(drop)),
        ("pop_oldest", cache.pop_oldest().map(drop)),
        ("pop_newest", cache.pop_newest().map(drop)),
        ("lead", cache.lead(b"key").map(drop)),
        ("len", cache.len().map(drop)),
        ("is_empty", cache.is_empty().map(drop)),
        ("clear", cache.clear()),
        ("stats", cache.stats().map(drop)),
        ("sweep", cache.sweep().map(drop)),
        ("checkpoint", cache.checkpoint()),
        ("compact", cache.compact()),
        ("backup", cache.backup(dir.path().join("backup"))),
        ("verify", cache.verify().map(drop)),
        ("change_secret", cache.change_secret(&Secret::key([1; 32]), &Secret::key([2; 32]))),
        ("reencrypt", cache.reencrypt(&Secret::key([1; 32]), &Secret::key([2; 32]))),
        ("encrypt", cache.encrypt(&Secret::key([1; 32]))),
        ("remove_prefix", cache.remove_prefix(b"").map(drop)),
    ]);
    cache.close().unwrap();
    assert!(before == contents(dir.path()));
}
