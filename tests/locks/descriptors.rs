use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Role, STUCK, hear_the_end, say, store};
use crate::{Words, open, open_bytes};

const STORES: usize = 20;

fn descriptors() -> Vec<PathBuf> {
    let listed = fs::read_dir("/proc/self/fd").unwrap();
    listed.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
}

fn below(dir: &Path) -> usize {
    descriptors().iter().filter(|path| path.starts_with(dir)).count()
}

fn mappings_below(dir: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
}

/// The background thread looks into files now and then.
#[track_caller]
fn settles_at(expected: usize, count: impl Fn() -> usize) {
    let since = Instant::now();
    while count() != expected {
        assert!(since.elapsed() < Duration::from_secs(20), "{} and not {expected}", count());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// In a process of its own, where no other test opens files.
fn played(role: &str) {
    let (dir, _) = store();
    let role = Role::start(role, &[dir.path().to_str().unwrap()]);
    assert_eq!(role.rest().last().map(String::as_str), Some("done"));
    role.join();
}

pub(crate) fn four() {
    played("count");
}

pub(crate) fn count(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let before = descriptors().len();
    let path = |n: usize| dir.join(n.to_string());
    let stores: Vec<Words> = (0..STORES).map(|n| open(&path(n))).collect();
    for cache in &stores {
        cache.insert("key", &"value".repeat(1000)).unwrap();
        assert_eq!(cache.get_or_insert_with("other", || "loaded".into()).unwrap(), "loaded");
    }
    settles_at(before + 4 * STORES, || descriptors().len());
    let handles: Vec<Words> = (0..STORES * 10)
        .map(|n| {
            let handle = Words::builder(path(n % STORES)).namespace(format!("{n}")).open().unwrap();
            handle.insert("key", &"more".into()).unwrap();
            handle
        })
        .collect();
    let readers: Vec<Words> =
        (0..STORES).map(|n| Words::builder(path(n)).read_only(true).open().unwrap()).collect();
    settles_at(before + 4 * STORES, || descriptors().len());
    drop(readers);
    drop(handles);
    // Opened anew behind it, with a lead that goes on.
    let lead = open_bytes(&path(0)).lead(b"slow").unwrap();
    for cache in &stores {
        cache.compact().unwrap();
        cache.insert("key", &"again".into()).unwrap();
    }
    settles_at(before + 4 * STORES, || descriptors().len());
    drop(lead);
    for cache in &stores {
        cache.close().unwrap();
    }
    settles_at(before, || descriptors().len());
    // One that only reads, of a store that nobody has open.
    let reader = Words::builder(path(0)).read_only(true).open().unwrap();
    assert_eq!(reader.get("key").unwrap().as_deref(), Some("again"));
    settles_at(before + 4, || descriptors().len());
    say("done");
}

pub(crate) fn nothing_is_kept() {
    played("closed");
}

pub(crate) fn closed(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let path = dir.join("store");
    let cache = open(&path);
    cache.insert("key", &"value".into()).unwrap();
    let shared = cache.get_shared("key").unwrap().unwrap();
    let clone = cache.clone();
    let mut walk = cache.iter();
    assert!(walk.next().is_some());
    let namespace = Words::builder(&path).namespace("other").open().unwrap();
    namespace.insert("key", &"value".into()).unwrap();
    let reader = Words::builder(&path).read_only(true).open().unwrap();
    assert_eq!(reader.get("key").unwrap().as_deref(), Some("value"));
    assert!(below(dir) == 4 && mappings_below(dir) > 0);
    for handle in [&cache, &namespace, &reader] {
        handle.close().unwrap();
    }
    // All of these are still there.
    assert_eq!(*shared, "value");
    assert!(clone.get("key").unwrap_err().is_closed() && namespace.get("key").unwrap_err().is_closed());
    settles_at(0, || below(dir));
    settles_at(0, || mappings_below(dir));
    drop(walk);

    // A lead keeps its lock, and no more than that.
    let bytes = open_bytes(&path);
    let lead = bytes.lead(b"key").unwrap();
    bytes.close().unwrap();
    settles_at(0, || mappings_below(dir));
    drop(lead);
    settles_at(0, || below(dir));
    say("done");
}

pub(crate) fn no_survivors() {
    played("exec");
}

/// Becomes another program in the middle of everything.
pub(crate) fn exec(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let stores: Vec<Words> = (0..5).map(|n| open(&dir.join(n.to_string()))).collect();
    let copy = dir.join("copy");
    for cache in &stores {
        cache.insert("key", &"value".into()).unwrap();
        cache.compact().unwrap();
    }
    stores[0].backup(&copy).unwrap();
    let reader = Words::builder(&copy).read_only(true).open().unwrap();
    assert_eq!(reader.get("key").unwrap().as_deref(), Some("value"));
    settles_at(24, || below(dir));
    let mut program = Command::new(std::env::current_exe().unwrap());
    let error = program.args(["play-role", "listing", &arguments[0]]).exec();
    panic!("{error}");
}

pub(crate) fn listing(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    assert_eq!(below(dir), 0, "{:?}", descriptors());
    // What the program had open before is free.
    for n in 0..5 {
        let cache = open(&dir.join(n.to_string()));
        assert_eq!(cache.get("key").unwrap().as_deref(), Some("value"));
        cache.compact().unwrap();
    }
    say("done");
}

pub(crate) fn orphans() {
    let (_dir, path) = store();
    let mut parent = Role::start("orphan", &[path.to_str().unwrap()]);
    parent.expect("forked");
    parent.kill();
    let since = Instant::now();
    let cache = open(&path);
    assert!(since.elapsed() < STUCK / 10, "{:?}", since.elapsed());
    assert_eq!(cache.get("key").unwrap().as_deref(), Some("value"));
    assert!(open_bytes(&path).try_lead(b"slow").unwrap().is_some());
    cache.insert("key", &"new".into()).unwrap();
    // It is seen to be the only one.
    cache.compact().unwrap();
    cache.close().unwrap();
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("log-")), "{left:?}");
    let pid: i32 = fs::read_to_string(path.with_extension("child")).unwrap().parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "the child has lived all the time");
    // SAFETY: a signal to the child that this test had made.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

/// Forks a child that does nothing, and waits to be killed.
pub(crate) fn orphan(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let cache = open(path);
    cache.insert("key", &"value".into()).unwrap();
    let _lead = open_bytes(path).lead(b"slow").unwrap();
    // SAFETY: the child does nothing that needs more than the one thread it has.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; its ends of the pipes are closed, so that nobody waits for it.
        unsafe {
            (0..3).for_each(|descriptor| {
                libc::close(descriptor);
            });
            libc::sleep(120);
            libc::_exit(0);
        }
    }
    fs::write(path.with_extension("child"), child.to_string()).unwrap();
    say("forked");
    hear_the_end();
}
