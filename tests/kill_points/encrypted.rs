//! A process that is killed while it encrypts a store in place.

use std::path::Path;

use cachemere::{ByteCache, Secret};

use super::support::{Part, Role, Test, say, store};

pub(crate) const TESTS: &[Test] =
    &[("a_process_killed_while_it_encrypts_leaves_a_store_in_plain_text_or_an_encrypted_one", killed)];

pub(crate) const ROLES: &[Part<'_>] = &[("encrypt", encrypt)];

fn secret() -> Secret {
    Secret::key([7; 32])
}

fn encrypt(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    ByteCache::builder(path).open().unwrap().encrypt(&secret()).unwrap();
    say("done");
}

fn killed() {
    for (place, is_encrypted) in [
        ("a record is copied:1", false),
        ("a record is copied:90", false),
        ("a compacted file is to be put in place:1", false),
        ("a compacted file is in place:1", true),
    ] {
        let (_dir, path) = store();
        let cache = ByteCache::builder(&path).open().unwrap();
        for n in 0..100u32 {
            cache.insert(&n.to_be_bytes(), &[7; 500], 0, None).unwrap();
        }
        cache.close().unwrap();
        let mut victim = Role::start_with_fault(place, "encrypt", &[path.to_str().unwrap()]);
        assert_eq!(victim.line(), None, "{place}: it is killed before it is done");
        victim.ended();
        assert_good(&path, is_encrypted, place);
    }
}

fn assert_good(path: &Path, is_encrypted: bool, place: &str) {
    let (plain, encrypted) = (ByteCache::builder(path), ByteCache::builder(path).encryption(secret()));
    let (right, wrong) = if is_encrypted { (encrypted, plain) } else { (plain, encrypted) };
    assert!(wrong.open().is_err_and(|error| error.is_wrong_secret()), "{place}");
    let cache = right.open().unwrap();
    for n in 0..100u32 {
        assert_eq!(cache.get(&n.to_be_bytes()).unwrap().unwrap().payload, [7; 500]);
    }
    assert!(cache.verify().unwrap().is_clean());
    assert!(!path.join("reencrypt.tmp").exists(), "{place}");
    // It can be encrypted from where it is.
    assert_eq!(cache.encrypt(&secret()).is_ok(), !is_encrypted);
}
