//! What the operations do.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use cachemere::valkey::{Remote, RemoteBuilder, Walk};
use cachemere::{Condition, Error, Secret, Zstd};

use crate::Test;
use crate::server::Server;

pub(crate) const TESTS: &[Test] = &[
    ("what_is_inserted_is_found_by_everybody", found_by_everybody),
    ("an_entry_ends_with_its_time", ends_with_its_time),
    ("a_condition_decides", conditions),
    ("a_cleared_namespace_is_empty_for_everybody", cleared),
    ("a_walk_meets_every_entry_once", walks),
    ("a_store_of_another_pipeline_is_refused", other_pipelines),
    ("a_server_sees_no_key_and_no_value_of_an_encrypted_store", secrecy),
    ("large_and_odd_keys_and_payloads_come_back", odd),
    ("without_a_front_and_with_one_that_always_asks", fronts),
];

fn builder(server: &Server) -> RemoteBuilder {
    Remote::builder(server.address("app"))
}

fn payload(remote: &Remote, key: &[u8]) -> Option<Vec<u8>> {
    remote.get(key).unwrap().map(|found| found.payload.to_vec())
}

fn found_by_everybody(program: &Path) {
    let server = Server::start(program, &[]);
    let [a, b] = [(); 2].map(|()| builder(&server).open().unwrap());
    assert_eq!(a.get(b"key").unwrap(), None);
    a.insert(b"key", b"one", 7, None).unwrap();
    for remote in [&a, &b, &a, &b] {
        let found = remote.get(b"key").unwrap().unwrap();
        assert_eq!((&*found.payload, found.tag), (&b"one"[..], 7));
    }
    a.insert(b"key", b"two", 8, None).unwrap();
    assert_eq!(payload(&a, b"key").as_deref(), Some(&b"two"[..]));
    b.insert(b"other", b"three", 9, None).unwrap();
    let found = a.get_many([&b"other"[..], b"none", b"key"]).unwrap();
    let found: Vec<_> = found.iter().map(|it| it.as_ref().map(|it| (&*it.payload, it.tag))).collect();
    assert_eq!(found, [Some((&b"three"[..], 9)), None, Some((&b"two"[..], 8))]);
    assert!(a.remove(b"key").unwrap() && !a.remove(b"key").unwrap());
    assert_eq!(payload(&a, b"key"), None);
    assert!(
        matches!(a.get(b""), Err(Error::EmptyKey))
            && matches!(a.insert(b"", b"", 0, None), Err(Error::EmptyKey))
    );
    // Another namespace, and another store, have other entries.
    for other in [builder(&server).namespace("other"), Remote::builder(server.address("app2"))] {
        assert_eq!(payload(&other.open().unwrap(), b"other"), None);
    }
}

fn ends_with_its_time(program: &Path) {
    let server = Server::start(program, &[]);
    let remote = builder(&server).time_to_live(Duration::from_secs(3600)).open().unwrap();
    remote.insert(b"long", b"1", 0, None).unwrap();
    remote.insert(b"short", b"2", 1, Some(Duration::from_millis(300))).unwrap();
    let info = remote.info(b"long").unwrap().unwrap();
    let left = info.expires.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
    assert_eq!(info.stored_size, 80 + 4 + 1);
    assert!(payload(&remote, b"short").is_some());
    sleep(Duration::from_millis(310));
    // Whether the server has told it or not.
    assert_eq!(payload(&remote, b"short"), None);
    assert_eq!(remote.info(b"short").unwrap(), None);
    assert!(!remote.touch(b"short", None).unwrap());
    assert!(remote.touch(b"long", Some(Duration::from_millis(200))).unwrap());
    assert_eq!(payload(&remote, b"long").as_deref(), Some(&b"1"[..]));
    sleep(Duration::from_millis(210));
    assert_eq!(payload(&remote, b"long"), None);
    remote.insert(b"ever", b"3", 2, Some(Duration::from_millis(100))).unwrap();
    assert!(remote.touch(b"ever", None).unwrap());
    sleep(Duration::from_millis(110));
    let info = remote.info(b"ever").unwrap().unwrap();
    assert_eq!((info.expires, info.tag), (None, 2));
    assert_eq!(payload(&remote, b"ever").as_deref(), Some(&b"3"[..]));
}

fn conditions(program: &Path) {
    let server = Server::start(program, &[]);
    let [a, b] = [(); 2].map(|()| builder(&server).open().unwrap());
    let insert = |remote: &Remote, payload: &[u8], condition| {
        remote.insert_if(b"key", payload, 0, None, condition).unwrap()
    };
    assert!(insert(&a, b"1", Condition::Absent) && !insert(&b, b"2", Condition::Absent));
    let first = b.get(b"key").unwrap().unwrap();
    assert_eq!(&*first.payload, b"1");
    assert!(insert(&b, b"3", Condition::Version(first.version)));
    assert!(!insert(&a, b"4", Condition::Version(first.version)));
    assert!(!a.remove_if(b"key", first.version).unwrap());
    // The server forgets its scripts when it is told so, or starts again.
    server.tell("SCRIPT FLUSH");
    let second = b.get(b"key").unwrap().unwrap();
    assert_eq!(&*second.payload, b"3");
    assert!(b.remove_if(b"key", second.version).unwrap() && !b.remove_if(b"key", second.version).unwrap());
    assert_eq!(payload(&b, b"key"), None);
    assert!(b.insert_if(b"key", b"5", 0, Some(Duration::from_millis(100)), Condition::Absent).unwrap());
    sleep(Duration::from_millis(110));
    assert!(insert(&a, b"6", Condition::Absent));
    assert_eq!(payload(&a, b"key").as_deref(), Some(&b"6"[..]));
}

fn cleared(program: &Path) {
    let server = Server::start(program, &[]);
    let [a, b] = [(); 2].map(|()| builder(&server).open().unwrap());
    let other = builder(&server).namespace("other").open().unwrap();
    for remote in [&a, &other] {
        for n in 0..1000u32 {
            remote.insert(&n.to_le_bytes(), b"payload", 0, None).unwrap();
        }
    }
    assert_eq!((a.len().unwrap(), b.is_empty().unwrap()), (1000, false));
    let one = a.get(&1u32.to_le_bytes()).unwrap().unwrap();
    b.clear().unwrap();
    assert_eq!(payload(&b, &1u32.to_le_bytes()), None);
    assert_eq!((b.len().unwrap(), a.len().unwrap(), other.len().unwrap()), (0, 0, 1000));
    // What it does on the last id that it knew, it does in the new one.
    assert!(!a.insert_if(&1u32.to_le_bytes(), b"", 0, None, Condition::Version(one.version)).unwrap());
    b.clear().unwrap();
    a.insert(b"new", b"1", 0, None).unwrap();
    assert_eq!(payload(&b, b"new").as_deref(), Some(&b"1"[..]));
    b.clear().unwrap();
    assert!(!a.remove(b"new").unwrap() && a.is_empty().unwrap());
    // Four keys of the store itself and of its namespaces, and what there is in the other one.
    assert_eq!(server.tell("DBSIZE").trim(), format!(":{}", 6 + 1000));
}

fn walks(program: &Path) {
    let server = Server::start(program, &[]);
    let remote = builder(&server).open().unwrap();
    let mut expected = BTreeMap::new();
    for n in 0..3000u32 {
        let (key, payload) = (n.to_le_bytes().to_vec(), vec![7; n as usize % 100]);
        remote.insert(&key, &payload, n as u8, None).unwrap();
        expected.insert(key, (payload, n as u8));
    }
    remote.insert(b"gone", b"", 0, Some(Duration::from_millis(20))).unwrap();
    sleep(Duration::from_millis(30));
    let (mut walk, mut found) = (Walk::default(), BTreeMap::new());
    while let Some(chunk) = remote.walk(&mut walk).unwrap() {
        for entry in chunk {
            let entry = entry.unwrap();
            let before = found.insert(entry.key, (entry.payload, entry.info.tag));
            assert!(before.is_none());
        }
    }
    assert_eq!(found, expected);
    assert_eq!(remote.len().unwrap(), 3000);
}

fn other_pipelines(program: &Path) {
    let server = Server::start(program, &[]);
    let key = |byte| Secret::key([byte; 32]);
    let plain = builder(&server).serializer_name("one").compression(Zstd::default()).open().unwrap();
    plain.insert(b"key", &[1; 10_000], 0, None).unwrap();
    assert!(plain.info(b"key").unwrap().unwrap().stored_size < 1000);
    let refused = |opened: cachemere::Result<Remote>, said: &[&str]| {
        let error = opened.expect_err("it is to be refused");
        assert!(said.iter().all(|said| error.to_string().contains(said)), "{error}");
        error
    };
    refused(builder(&server).serializer_name("two").open(), &["serializer", "\"one\"", "\"two\""]);
    refused(
        builder(&server).serializer_name("one").no_compression().open(),
        &["compressor", "\"zstd\"", "none"],
    );
    let error =
        refused(builder(&server).serializer_name("one").encryption(key(1)).open(), &["not encrypted"]);
    assert!(error.is_wrong_secret());
    // As it was made.
    let again = builder(&server).serializer_name("one").open().unwrap();
    assert_eq!(payload(&again, b"key"), Some(vec![1; 10_000]));

    let sealed = || Remote::builder(server.address("sealed"));
    sealed().encryption(key(1)).open().unwrap().insert(b"key", b"payload", 0, None).unwrap();
    assert!(matches!(refused(sealed().open(), &["encrypted"]), Error::MissingSecret { .. }));
    assert!(matches!(refused(sealed().encryption(key(2)).open(), &[]), Error::WrongSecret { .. }));
    let again = sealed().encryption(key(1)).open().unwrap();
    assert_eq!(payload(&again, b"key").as_deref(), Some(&b"payload"[..]));
    server.tell("SET cm:foreign something");
    refused(Remote::builder(server.address("foreign")).open(), &["another program"]);
    server.tell("RPUSH cm:list something");
    refused(Remote::builder(server.address("list")).open(), &["another program"]);
}

fn secrecy(program: &Path) {
    let server = Server::start(program, &[]);
    let remote = builder(&server).encryption(Secret::key([1; 32])).open().unwrap();
    let text = "visible".repeat(20);
    remote.insert(text.as_bytes(), text.as_bytes(), 3, None).unwrap();
    let plain = Remote::builder(server.address("plain")).open().unwrap();
    plain.insert(b"key", text.as_bytes(), 3, None).unwrap();
    // By a script of its own: it counts the values that have it.
    let count = |pattern: &str| {
        let code = "local n=0 for _,k in ipairs(redis.call('KEYS',ARGV[1])) do \
                    if string.find(k..redis.call('GET',k),'visible',1,true) then n=n+1 end end return n";
        server.tell(&format!("EVAL \"{code}\" 0 {pattern}")).trim().to_owned()
    };
    assert_eq!((count("cm:plain:*").as_str(), count("cm:app:*").as_str()), (":1", ":0"));
    assert_eq!(payload(&remote, text.as_bytes()).as_deref(), Some(text.as_bytes()));
}

fn odd(program: &Path) {
    let server = Server::start(program, &[]);
    for builder in
        [builder(&server), Remote::builder(server.address("sealed")).encryption(Secret::key([1; 32]))]
    {
        let remote = builder.open().unwrap();
        let large = vec![5; 3 << 20];
        for (key, payload_in) in [
            (&[0u8, 10, 13, 255][..], &b""[..]),
            (b"*?[x]\\", b"\r\n$-1\r\n"),
            (&large, b"1"),
            (b"large", &large),
        ] {
            remote.insert(key, payload_in, 255, None).unwrap();
            for _ in 0..2 {
                assert!(payload(&remote, key).as_deref() == Some(payload_in));
            }
        }
    }
}

fn fronts(program: &Path) {
    let server = Server::start(program, &[]);
    let writer = builder(&server).open().unwrap();
    for reader in [builder(&server).memory_bytes(0), builder(&server).max_stale(Duration::ZERO)] {
        let reader = reader.open().unwrap();
        for n in 0..300u32 {
            writer.insert(b"key", &n.to_le_bytes(), 0, None).unwrap();
            // Each time, as soon as the write has returned.
            for _ in 0..2 {
                assert_eq!(payload(&reader, b"key"), Some(n.to_le_bytes().to_vec()));
            }
        }
        writer.clear().unwrap();
        assert_eq!(payload(&reader, b"key"), None);
    }
    for refused in [Duration::from_nanos(1), Duration::from_millis(199)] {
        let error = builder(&server).max_stale(refused).open().expect_err("too short");
        assert!(error.to_string().contains("max_stale"), "{error}");
    }
}
