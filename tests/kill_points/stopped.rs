//! Processes that are stopped (`SIGSTOP`) at a named place, and then go on or are killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachemere::Cache;

use super::killed::survivor;
use super::support::{Part, Random, Role, Test, hear_the_end, rounds, say, store, torture};
use super::writer::{Model, Store, value};
use super::{AT_ONCE, Delay, KEYS, assert_clean, check, let_go_on, open};

pub(crate) const TESTS: &[Test] = &[
    ("a_reader_stopped_over_ten_folds_sees_no_wrong_value_and_holds_nobody_up", readers),
    ("writers_go_on_when_one_is_stopped_with_the_lock_and_killed", writers),
    ("a_fold_that_is_stopped_holds_nobody_up_and_is_taken_over_when_killed", folds),
];

pub(crate) const ROLES: &[Part<'_>] = &[("look", look)];

/// Segments of the log in the store's directory.
pub(crate) fn segments(path: &Path) -> usize {
    let files = std::fs::read_dir(path).unwrap();
    files.filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().starts_with("log-")).count()
}

pub(crate) fn wait_for_folds(path: &Path) {
    let since = Instant::now();
    while segments(path) > 2 {
        assert!(since.elapsed() < Duration::from_secs(30), "{} segments are not folded", segments(path));
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn read_only(path: &Path, of: &str) -> Store {
    let builder = Cache::builder(path).namespace(format!("of the {of}"));
    builder.read_only(true).front_bytes(0).open().unwrap()
}

/// The version of all values, which were written at once.
pub(crate) fn version_of_all(cache: &Store) -> u64 {
    let all: Vec<_> = cache.iter().map(|entry| entry.unwrap()).collect();
    assert_eq!(all.len() as u64, KEYS);
    let version = all[0].1.0;
    for (key, found) in all {
        assert_eq!(found, value(key, version), "of another version, or of none");
    }
    version
}

/// Reads and walks without end.
fn look(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = read_only(Path::new(path), "writer");
    let is_over = Arc::new(AtomicBool::new(false));
    let (mut last, mut looks) = (0, 0u64);
    std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            hear_the_end();
            is_over.store(true, Ordering::SeqCst);
        }
    });
    let mut was_over = false;
    // Once more when it is over: by then the writer has done all that it will.
    while !was_over {
        was_over = is_over.load(Ordering::SeqCst);
        let key = looks % KEYS;
        let found = cache.get(&key).unwrap().unwrap();
        assert!(found.0 >= last && found == value(key, found.0), "{} after {last}", found.0);
        let version = version_of_all(&cache);
        assert!(version >= found.0);
        (last, looks) = (version, looks + 1);
    }
    say(&format!("{last} {looks}"));
}

pub(crate) fn write_all(cache: &Store, version: u64) {
    let all: Vec<_> = (0..KEYS).map(|key| (key, value(key, version))).collect();
    cache.insert_many(all.iter().map(|(key, value)| (key, value))).unwrap();
}

/// Writes ten segments and more, each write of which may take no long time.
pub(crate) fn write_ten_segments(cache: &Store, version: &mut u64) {
    let (first, begun) = (newest_segment(cache.path()), Instant::now());
    let (mut longest, delay) = (Duration::ZERO, Delay::measure());
    while newest_segment(cache.path()) < first + 14 {
        *version += 1;
        let begun = Instant::now();
        write_all(cache, *version);
        longest = longest.max(begun.elapsed());
    }
    let most = AT_ONCE + delay.end() * 4;
    assert!(longest < most, "{longest:?}, of at most {most:?}, in {:?}", begun.elapsed());
}

fn newest_segment(path: &Path) -> u32 {
    let files = std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name());
    let numbers = files.filter_map(|name| u32::from_str_radix(name.to_str()?.strip_prefix("log-")?, 16).ok());
    numbers.max().unwrap_or(0)
}

fn readers() {
    let places = [
        ("a snapshot is to be pinned", false),
        ("a snapshot is pinned", true),
        ("a snapshot of the data file is open", true),
        ("a snapshot is open", true),
        ("a segment is to be mapped", true),
    ];
    let mut random = Random::new();
    for (place, holds_folds) in places {
        for _ in 0..rounds(1, 10) {
            let (_dir, path) = store();
            let cache = open(&path, "writer");
            let mut version = 1;
            write_all(&cache, version);
            let passage = if place == "a segment is to be mapped" { 1 } else { 20 + random.below(100) };
            let fault = format!("stop:{place}:{passage}");
            let mut reader = Role::start_with_fault(&fault, "look", &[path.to_str().unwrap()]);
            // So that there is something to be mapped anew.
            while place == "a segment is to be mapped" && version < 30 {
                version += 1;
                write_all(&cache, version);
            }
            assert!(reader.is_stopped(), "{place}");
            let before = version;
            write_ten_segments(&cache, &mut version);
            let put_off = segments(&path);
            assert_eq!(version_of_all(&cache), version);
            if holds_folds {
                assert!(put_off >= 8, "{place}: {put_off} segments");
            } else {
                wait_for_folds(&path);
            }
            reader.go_on();
            wait_for_folds(&path);
            reader.finish();
            let told = reader.line().expect("the reader failed");
            let (seen, looks) = told.split_once(' ').unwrap();
            let (seen, looks): (u64, u64) = (seen.parse().unwrap(), looks.parse().unwrap());
            eprintln!("{place}: {put_off} segments; {looks} looks, from {before} to {seen} of {version}");
            assert!(seen == version && looks > 0);
            reader.join();
            assert_clean(&cache);
        }
    }
}

fn writers() {
    let places = [
        "the lock for writing is held",
        "there is room for a record",
        "a change is written",
        "a record is written",
        "the tail is to be moved",
        "the tail is moved",
        "a segment is begun",
    ];
    let mut random = Random::new();
    for place in places {
        for _ in 0..rounds(1, 10) {
            let (_dir, path) = store();
            let mut others = [survivor(&path), survivor(&path)];
            let reader = read_only(&path, "survivor");
            let mut model = Model::default();
            let passage = if place == "a segment is begun" { 2 } else { 10 + random.below(100) };
            let mut victim = Role::start_with_fault(
                &format!("stop:{place}:{passage}"),
                "write",
                &[path.to_str().unwrap(), "0"],
            );
            assert!(victim.is_stopped(), "{place}");
            others.iter_mut().for_each(|other| other.say("write 1"));
            // They wait; whoever reads does not.
            assert_eq!(others[0].line_within(Duration::from_millis(300)), None);
            assert_eq!(others[1].line_within(Duration::from_millis(1)), None);
            let (begun, delay) = (Instant::now(), Delay::measure());
            assert_eq!(reader.get(&5).unwrap(), Some(value(5, 5)));
            assert!(begun.elapsed() < AT_ONCE + delay.end() * 4);
            let delay = Delay::measure();
            let begun = Instant::now();
            victim.kill();
            others.iter().for_each(|other| drop(other.line().expect("a survivor failed")));
            let took = begun.elapsed();
            assert!(took < AT_ONCE + delay.end() * 4, "{place}: {took:?}");
            victim.rest().iter().for_each(|line| model.hear(line));
            check(&path, &mut model);
            others.iter_mut().for_each(Role::kill);
            drop(reader);
            check(&path, &mut model);
        }
    }
}

fn folds() {
    let places = [
        "a fold begins",
        "a fold is to be committed",
        "a fold is committed",
        "a commit is told of and not synced",
        "a fold is published",
        "a fold is told of",
        "a segment is to be removed",
    ];
    for place in places {
        for passage in 1..=rounds(1, 4) {
            for is_killed in [true, false] {
                if !torture() && !is_killed && passage == 1 && place != "a fold is committed" {
                    continue;
                }
                let mut passages = passage..passage + 20;
                assert!(passages.any(|passage| stop_fold(place, passage, is_killed)), "{place}");
            }
        }
    }
}

/// Starts a process that writes, and is stopped at a place that its background thread comes by. Returns what it has written;
/// `None` if it was stopped beside a write of its own, and may hold the lock for writing.
pub(crate) fn stop_at_rest(fault: &str, path: &Path, of: &str) -> Option<(Role, u64)> {
    let mut role = Role::start_with_fault(fault, "survive", &[path.to_str().unwrap(), of]);
    let (mut written, mut answered) = (0, role.line_within(Duration::from_secs(2)).is_some());
    while answered && !role.is_stopped_now() {
        assert!(written < 20_000, "{fault} was not come by");
        role.say("write 10");
        written += 10;
        answered = role.line_within(Duration::from_millis(500)).is_some();
        std::thread::sleep(Duration::from_millis(8));
    }
    answered.then_some((role, written))
}

/// Whether it was stopped where it should.
fn stop_fold(place: &str, passage: u64, is_killed: bool) -> bool {
    let (_dir, path) = store();
    let mut other = survivor(&path);
    let fault = format!("stop:{place}:{passage}");
    let Some((mut victim, written)) = stop_at_rest(&fault, &path, "victim") else { return false };
    let_go_on(&mut other, "write 50");
    let_go_on(&mut other, "read 50");
    // Another can even open the store now.
    let cache = open(&path, "writer");
    let mut version = 0;
    write_ten_segments(&cache, &mut version);
    assert_eq!(version_of_all(&cache), version);
    let put_off = segments(&path);
    // One that was made ahead for nothing is removed without the gate.
    assert!(put_off >= 8 || place == "a segment is to be removed", "{place}: {put_off} segments");
    if is_killed {
        victim.kill();
    } else {
        victim.go_on();
    }
    let_go_on(&mut other, "write 5");
    wait_for_folds(&path);
    assert_eq!(version_of_all(&cache), version);
    cache.close().unwrap();
    if !is_killed {
        victim.join();
    }
    other.join();
    assert_eq!(segments(&path), 0);
    let cache = open(&path, "victim");
    let last = written.saturating_sub(KEYS - 1)..=written;
    assert!(last.into_iter().all(|n| cache.get(&(n % KEYS)).unwrap() == Some(value(n % KEYS, n))));
    assert_clean(&cache);
    true
}
