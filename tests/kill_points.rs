//! Nothing lost and nobody stuck, wherever a process is killed or stopped: at each named place of the engine
//! (`fault::point`), alone and beside a process that goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "kill_points/copied.rs"]
mod copied;
#[path = "kill_points/encrypted.rs"]
mod encrypted;
#[path = "kill_points/killed.rs"]
mod killed;
#[path = "kill_points/repaired.rs"]
mod repaired;
#[path = "kill_points/stopped.rs"]
mod stopped;
#[path = "support/mod.rs"]
mod support;
#[path = "kill_points/waiting.rs"]
mod waiting;
#[path = "support/writer.rs"]
mod writer;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cachemere::load::{Existing, Format, Load, Record, Records, Refusal};
use cachemere::{ByteCache, ByteEntry, Cache};
use support::{Random, hear, hear_the_end, say};
use writer::{Model, Step, Store, perform};

fn main() -> ExitCode {
    let tests =
        [killed::TESTS, stopped::TESTS, copied::TESTS, encrypted::TESTS, waiting::TESTS, repaired::TESTS]
            .concat();
    let roles: Vec<_> =
        [ROLES, copied::ROLES, encrypted::ROLES, stopped::ROLES, waiting::ROLES, repaired::ROLES].concat();
    support::run(&roles, &tests)
}

const ROLES: &[support::Part<'_>] = &[("work", work), ("write", write), ("load", load), ("survive", survive)];
const KEYS: u64 = 60;

/// Opened so that its background thread looks often, and its segments are small.
fn open(path: &Path, of: &str) -> Store {
    let builder = Cache::builder(path).namespace(format!("of the {of}"));
    builder.checkpoint_interval(Duration::from_millis(20)).max_bytes(64 << 20).open().unwrap()
}

fn assert_clean(cache: &Store) {
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Writes in bursts, so that all that is done behind writers is done, too; closes, and opens again. What it does beside is
/// said by words: `compact` before closing, and `rest` so long that the background thread finds nothing left to do.
fn work(arguments: &[String]) {
    let [path, from, besides @ ..] = arguments else { panic!("{arguments:?}") };
    let does = |what: &str| besides.iter().any(|beside| beside == what);
    let mut version: u64 = from.parse().unwrap();
    let mut random = Random(version);
    for _ in 0..3 {
        let cache = open(Path::new(path), "victim");
        for _ in 0..4 {
            for _ in 0..40 {
                version += 1;
                step(&cache, Step::any(&mut random), random.below(KEYS), version);
            }
            version += 1;
            step(&cache, Step::Many(200), KEYS, version);
            cache.checkpoint().unwrap();
            std::thread::sleep(Duration::from_millis(if does("rest") { 1000 } else { 8 }));
        }
        if does("compact") {
            cache.compact().unwrap();
        }
        cache.close().unwrap();
    }
}

/// Writes on, one value after the other.
fn write(arguments: &[String]) {
    let [path, from] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), "victim");
    let mut version: u64 = from.parse().unwrap();
    for _ in 0..2000 {
        version += 1;
        step(&cache, Step::Many(3), version % KEYS, version);
    }
}

fn step(cache: &Store, step: Step, key: u64, version: u64) {
    say(&format!("+ {} {key} {version}", step.name()));
    perform(cache, step, key, version);
    say("-");
}

const LOADED: u64 = 3000;

fn open_loaded(path: &Path) -> ByteCache {
    let builder = ByteCache::builder(path).namespace("loaded");
    builder.checkpoint_interval(Duration::from_millis(20)).max_bytes(64 << 20).open().unwrap()
}

/// Loads the same keys again and again, each time with values of the next version, and writes a value in between.
fn load(arguments: &[String]) {
    let [path, file] = arguments else { panic!("{arguments:?}") };
    let cache = open_loaded(Path::new(path));
    let beside = open(Path::new(path), "victim");
    for version in 1..=3 {
        let text: String = (0..LOADED).map(|n| format!("{n}\t{version}\n")).collect();
        std::fs::write(file, text).unwrap();
        let load = Load::new([file], Format::new(Records::TabSep), path);
        let as_it_is = |record: &Record<'_>, entry: &mut ByteEntry| -> Result<(), Refusal> {
            entry.key.extend_from_slice(record.key.raw());
            entry.payload.extend_from_slice(record.value.raw());
            Ok(())
        };
        step(&beside, Step::Insert, version, version);
        say(&format!("load {version}"));
        cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
        say(&format!("loaded {version}"));
    }
}

/// Has the store open, and does what it is told: `write` or `read` some values, which are timed.
fn survive(arguments: &[String]) {
    let [path, of] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), of);
    let mut version = 0;
    cache.insert(&0, &writer::value(0, 0)).unwrap();
    say("open");
    while let Some(line) = hear() {
        let (what, count) = line.split_once(' ').unwrap();
        let mut longest = Duration::ZERO;
        for _ in 0..count.parse::<u64>().unwrap() {
            let begun = Instant::now();
            match what {
                "write" => {
                    version += 1;
                    cache.insert(&(version % KEYS), &writer::value(version % KEYS, version)).unwrap();
                }
                "read" => {
                    let key = version % KEYS;
                    assert_eq!(cache.get(&key).unwrap(), Some(writer::value(key, version)));
                }
                _ => panic!("{line:?}"),
            }
            longest = longest.max(begun.elapsed());
        }
        say(&longest.as_micros().to_string());
    }
    let expected: Vec<u64> = (0..=version).rev().take(KEYS as usize).collect();
    for version in expected {
        let key = version % KEYS;
        assert_eq!(cache.get(&key).unwrap(), Some(writer::value(key, version)));
    }
    cache.close().unwrap();
    hear_the_end();
}

/// What the machine adds to any wait: the longest that threads which sleep for a moment overslept.
struct Delay(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<Duration>);

impl Delay {
    fn measure() -> Delay {
        let (send, ended) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            loop {
                let begun = Instant::now();
                let is_over = ended.recv_timeout(Duration::from_millis(1)).is_ok();
                longest = longest.max(begun.elapsed());
                if is_over {
                    return longest;
                }
            }
        });
        Delay(send, thread)
    }

    fn end(self) -> Duration {
        self.0.send(()).unwrap();
        self.1.join().unwrap()
    }
}

/// What a wait for somebody who was killed may take.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Lets a survivor do something a number of times, none of which may take long.
fn let_go_on(survivor: &mut support::Role, what: &str) {
    let delay = Delay::measure();
    survivor.say(what);
    let longest = survivor.line().expect("the survivor failed").parse().unwrap();
    let most = AT_ONCE + delay.end() * 4;
    assert!(Duration::from_micros(longest) < most, "{what}: {longest} µs, of at most {most:?}");
}

/// Compares with what a victim has said.
fn check(path: &Path, model: &mut Model) {
    let cache = open(path, "victim");
    model.check(&cache, false);
    assert_clean(&cache);
    model.version += 1;
    perform(&cache, Step::Insert, 1, model.version);
    model.apply(Step::Insert, 1, model.version);
    model.check(&cache, false);
    cache.close().unwrap();
}
