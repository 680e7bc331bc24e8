//! Waits for a process that is stopped (`SIGSTOP`) in each kind of critical section: reads go on, what has to wait says for
//! whom, a signal ends the wait, and it goes on when the other does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachemere::{Cache, Error, ask_while_waiting};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::open;
use super::stopped::read_only;
use super::support::{Part, Role, Test, hear, say, store};
use crate::writer::value;

pub(crate) const TESTS: &[Test] =
    &[("who_waits_for_a_stopped_process_says_for_which_and_can_be_ended", stopped_in_each)];
pub(crate) const ROLES: &[Part<'_>] = &[("wait", wait), ("hold", hold)];

/// What a process waits for by another, and where that one is stopped.
const PLACES: &[(&str, &str, u64)] = &[
    ("write", "the lock for writing is held", 30),
    ("write", "a record is written", 30),
    ("write", "the tail is to be moved", 30),
    ("write", "a whole transaction begins", 1),
    ("write", "a whole transaction is to be committed", 1),
    ("open", "a new store is to be written", 1),
    ("open", "an opening begins alone", 1),
    ("open", "an opening has found the log", 1),
    ("open", "an opening has told of the log", 1),
    ("open", "the last to close begins", 1),
    ("open", "the last to close has folded", 1),
    ("open", "a record is copied", 3),
    ("open", "a compacted file is to be put in place", 1),
    ("open", "a compacted file is in place", 1),
];

/// Opens, writes, loads, compacts and closes.
fn hold(arguments: &[String]) {
    use cachemere::load::{Existing, Format, Load, Record, Records, Refusal};
    use cachemere::{ByteCache, ByteEntry};
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), "victim");
    for version in 1..100 {
        cache.insert(&(version % 10), &value(version % 10, version)).unwrap();
    }
    let bytes = ByteCache::builder(path).namespace("loaded").open().unwrap();
    let file = Path::new(path).with_extension("tsv");
    std::fs::write(&file, "a\tb\n").unwrap();
    let load = Load::new([&file], Format::new(Records::TabSep), path);
    let make = |record: &Record<'_>, entry: &mut ByteEntry| -> Result<(), Refusal> {
        entry.key.extend_from_slice(record.key.raw());
        Ok(())
    };
    bytes.load(load, Existing::Replace, None, &make, &mut ()).unwrap();
    bytes.close().unwrap();
    // Fails beside others.
    drop(cache.compact());
    cache.close().unwrap();
}

static GIVES_UP: AtomicBool = AtomicBool::new(false);

/// Does what it is told, and says what came of it and what was logged.
fn wait(arguments: &[String]) {
    let [path, what] = arguments else { panic!("{arguments:?}") };
    tracing::subscriber::set_global_default(Log).unwrap();
    assert!(ask_while_waiting(|| GIVES_UP.load(Ordering::SeqCst)));
    let opened = (what == "write").then(|| open(Path::new(path), "waiting"));
    say("ready");
    while let Some(line) = hear() {
        GIVES_UP.store(false, Ordering::SeqCst);
        let (how, millis) = line.split_once(' ').unwrap();
        let after = Duration::from_millis(millis.parse().unwrap());
        if how == "interrupt" {
            std::thread::spawn(move || {
                std::thread::sleep(after);
                GIVES_UP.store(true, Ordering::SeqCst);
            });
        }
        let begun = Instant::now();
        let done = match &opened {
            Some(cache) => cache.insert(&1, &value(1, 1)),
            None => Cache::<u64, (u64, String)>::builder(path)
                .namespace("of the waiting")
                .max_bytes(64 << 20)
                .open()
                .and_then(|cache| cache.insert(&1, &value(1, 1))),
        };
        let took = begun.elapsed().as_millis();
        match done {
            Ok(()) => say(&format!("done {took}")),
            Err(Error::Interrupted) => say(&format!("interrupted {took}")),
            Err(error) => say(&format!("{error} {took}")),
        }
    }
}

/// Says what is logged, with the process that is named in it.
struct Log;

#[derive(Default)]
struct Told(String);

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, told: &dyn std::fmt::Debug) {
        if field.name() == "process" {
            self.0 = format!("{told:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn event(&self, event: &Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        say(&format!("waits for {}", told.0));
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn stopped_in_each() {
    // At once, since each takes seconds in which nothing happens.
    std::thread::scope(|scope| {
        for (what, place, passage) in PLACES {
            scope.spawn(move || stopped(what, place, *passage));
        }
    });
}

fn stopped(what: &str, place: &str, passage: u64) {
    let (_dir, path) = store();
    let path_of = path.to_str().unwrap();
    let mut waiting = None;
    let reader = (what == "write").then(|| {
        let cache = open(&path, "seen");
        cache.insert(&5, &value(5, 5)).unwrap();
        waiting = Some(Role::start("wait", &[path_of, what]));
        waiting.as_ref().unwrap().expect("ready");
        read_only(&path, "seen")
    });
    let mut victim = Role::start_with_fault(&format!("stop:{place}:{passage}"), "hold", &[path_of]);
    assert!(victim.is_stopped(), "{place} was not come by");
    let mut waiting = waiting.unwrap_or_else(|| {
        let waiting = Role::start("wait", &[path_of, what]);
        waiting.expect("ready");
        waiting
    });
    waiting.say("interrupt 300");
    let took = answer(&waiting, "interrupted");
    assert!((250..5000).contains(&took), "{place}: {took} ms");
    if let Some(reader) = &reader {
        assert_eq!(reader.get(&5).unwrap(), Some(value(5, 5)), "{place}");
    }
    waiting.say("wait 0");
    // The log tells of it after two seconds.
    assert_eq!(waiting.line(), Some(format!("waits for {}", victim.pid())), "{place}");
    victim.go_on();
    answer(&waiting, "done");
    assert!(victim.ended().success(), "{place}");
    waiting.join();
    let cache = open(&path, "waiting");
    assert!(cache.verify().unwrap().is_clean(), "{place}");
}

/// The milliseconds after which it was so.
fn answer(role: &Role, expected: &str) -> u64 {
    let line = role.line().expect("it ended");
    let took = line.strip_prefix(expected).unwrap_or_else(|| panic!("{line}, not {expected}"));
    took.trim().parse().unwrap()
}
