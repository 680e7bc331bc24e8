//! Files that are exchanged while a process has the store open. It goes on with what it has mapped.
//!
//! Nothing here makes a mapped file shorter: whoever touches what is missing then is killed by SIGBUS, and no check can
//! come before every touch. `docs/SECURITY.md` says so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::damage_support::{Dice, Peer, copy_files, orders, tell};
use crate::{KEYS, SOUND, builder, go_on, key, log, value};

/// Holds a sound store open, writes to it, and looks whether all is there.
pub(crate) fn holder(arguments: &[String]) {
    let [dir, access] = arguments else { panic!("two arguments") };
    let builder = builder("plain", Path::new(dir));
    let cache = match access.as_str() {
        "read" => builder.read_only(true).open().unwrap(),
        _ => builder.open().unwrap(),
    };
    tell("open");
    for order in orders() {
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("set", key) => {
                cache.insert(key.as_bytes(), b"by the holder", 0, None).unwrap();
                tell("set");
            }
            ("look", _) => match cache.get(&key(5)) {
                Ok(found) => {
                    assert_eq!(found.unwrap().payload, value(5));
                    tell(&format!("ops {:?}", log::ops_in(&cache).unwrap()));
                }
                Err(error) => tell(&format!("error {error}")),
            },
            ("close", _) => {
                cache.close().unwrap();
                tell("closed");
                return;
            }
            other => panic!("no such order: {other:?}"),
        }
    }
}

fn copy_of(name: &str) -> (tempfile::TempDir, PathBuf) {
    let (root, _) = &*SOUND;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("store");
    copy_files(&root.path().join(name), &dir);
    (work, dir)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> =
        files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("log-")).collect();
    found.sort();
    found
}

fn all_ops() -> String {
    format!("{:?}", Some(log::OPS))
}

fn assert_all_there(dir: &Path, written: &[&str]) {
    let cache = builder("plain", dir).open().unwrap();
    assert_eq!(log::ops_in(&cache).unwrap(), Some(log::OPS));
    for key in written {
        assert_eq!(cache.get(key.as_bytes()).unwrap().unwrap().payload, b"by the holder", "{key}");
    }
    let values: Vec<Vec<u8>> = (0..KEYS).map(value).collect();
    assert!(go_on(cache, "plain", dir, &values));
}

/// Puts a file in the place of another, which stays what it is for those who have it open.
fn put_in_place(at: &Path, bytes: &[u8]) {
    let new = at.with_file_name("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(&new, at).unwrap();
}

/// A file that was removed, is another's, too short, or was ours at another time: nobody joins the others by it, and
/// those go on.
pub(crate) fn control_exchanged() {
    let mut dice = Dice::new(11);
    for what in ["removed", "noise", "zeros", "cut", "empty", "another version's", "of before", "of now"] {
        let (_work, dir) = copy_of("plain-logged");
        let control = dir.join("control");
        let before = fs::read(&control).unwrap();
        let mut peer = Peer::start("holder", &[dir.to_str().unwrap(), "write"]);
        peer.expect("open");
        peer.ask("set first", "set");
        let mut now = fs::read(&control).unwrap();
        match what {
            "removed" => fs::remove_file(&control).unwrap(),
            "noise" => put_in_place(&control, &dice.bytes(now.len())),
            "zeros" => put_in_place(&control, &vec![0; now.len()]),
            "cut" => put_in_place(&control, &now[..5000]),
            "empty" => put_in_place(&control, &[]),
            "another version's" => {
                now[8] = 77;
                put_in_place(&control, &now);
            }
            "of before" => put_in_place(&control, &before),
            _ => put_in_place(&control, &now),
        }
        let since = Instant::now();
        for read_only in [false, true] {
            let error = builder("plain", &dir).read_only(read_only).open().unwrap_err();
            let said = if what.starts_with("another") { "another version" } else { "control" };
            assert!(error.is_busy() && error.to_string().contains(said), "{what}: {error}");
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{what}: {:?}", since.elapsed());
        peer.ask("set second", "set");
        assert_eq!(peer.ask("look", "ops"), all_ops(), "{what}");
        peer.ask("close", "closed");
        assert!(peer.finish().success());
        assert_all_there(&dir, &["first", "second"]);
    }
}

/// Whoever reads a directory that it cannot write to has the store open and uses no control file; the one that lies there
/// can be of any time.
pub(crate) fn reader_beside_old_control() {
    let am_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let (work, dir) = copy_of("plain-logged");
    let control = fs::read(dir.join("control")).unwrap();
    assert_all_there(&dir, &[]);
    for n in 0..500 {
        let cache = builder("plain", &dir).open().unwrap();
        cache.insert(format!("later {n}").as_bytes(), b"by the holder", 0, None).unwrap();
        if n % 50 == 0 {
            cache.close().unwrap();
        }
    }
    if !am_root {
        // Only root can be two users.
        return;
    }
    fs::write(dir.join("control"), control).unwrap();
    for file in fs::read_dir(&dir).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let program = work.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [work.path(), &dir, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut reader = Command::new(&program);
    reader.args([dir.to_str().unwrap(), "read"]).env(crate::damage_support::ROLE, "holder");
    reader.uid(65_534).gid(65_534).current_dir("/");
    let mut reader = Peer::of(reader, "reader");
    reader.expect("open");
    assert_eq!(reader.ask("look", "ops"), all_ops());

    let cache = builder("plain", &dir).open().unwrap();
    assert_eq!(log::ops_in(&cache).unwrap(), Some(log::OPS));
    cache.insert(b"beside", b"by the holder", 0, None).unwrap();
    for n in 0..500 {
        let found = cache.get(format!("later {n}").as_bytes()).unwrap();
        assert_eq!(found.unwrap().payload, b"by the holder", "{n}");
    }
    assert!(cache.verify().unwrap().is_clean());
    // Another one joins this one.
    let mut peer = Peer::start("holder", &[dir.to_str().unwrap(), "write"]);
    peer.expect("open");
    peer.ask("set joined", "set");
    assert_eq!(cache.get(b"joined").unwrap().unwrap().payload, b"by the holder");
    assert_eq!(peer.ask("look", "ops"), all_ops());
    // The reader says that it may be wrong.
    reader.ask("look", "error");
    peer.ask("close", "closed");
    cache.close().unwrap();
    drop(reader);
    assert_all_there(&dir, &["later 0", "later 499", "beside", "joined"]);
}

/// A process that comes to it finds out; the one that has mapped what was there brings it into the data file.
pub(crate) fn segments_exchanged() {
    let mut dice = Dice::new(13);
    for what in ["removed", "noise", "zeros", "cut", "another store's", "another's number", "a link"] {
        for index in 0..3 {
            let (_work, dir) = copy_of("plain-logged");
            let mut peer = Peer::start("holder", &[dir.to_str().unwrap(), "write"]);
            peer.expect("open");
            assert_eq!(peer.ask("look", "ops"), all_ops());
            let found = segments(&dir);
            let at = &found[index];
            let bytes = fs::read(at).unwrap();
            match what {
                "removed" => fs::remove_file(at).unwrap(),
                "noise" => put_in_place(at, &dice.bytes(bytes.len())),
                "zeros" => put_in_place(at, &vec![0; bytes.len()]),
                "cut" => put_in_place(at, &bytes[..bytes.len() / 2]),
                "another store's" => {
                    let other = SOUND.0.path().join("sealed-logged");
                    put_in_place(at, &fs::read(&segments(&other)[index]).unwrap());
                }
                "another's number" => put_in_place(at, &fs::read(&found[(index + 1) % 3]).unwrap()),
                _ => {
                    fs::rename(at, dir.join("elsewhere")).unwrap();
                    std::os::unix::fs::symlink(dir.join("elsewhere"), at).unwrap();
                }
            }
            let since = Instant::now();
            let looked = builder("plain", &dir).open().and_then(|cache| cache.get(&key(5)).map(drop));
            let error = looked.unwrap_err();
            assert!(error.is_damaged(), "{what} {index}: {error}");
            assert!(since.elapsed() < Duration::from_secs(20), "{what} {index}: {:?}", since.elapsed());
            peer.ask("set first", "set");
            assert_eq!(peer.ask("look", "ops"), all_ops(), "{what} {index}");
            peer.ask("close", "closed");
            assert!(peer.finish().success());
            assert_all_there(&dir, &["first"]);
        }
    }
}
