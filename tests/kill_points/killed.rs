//! Processes that are killed at a named place.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use cachemere::Cache;

use super::stopped::{read_only, segments, stop_at_rest};
use super::support::{Random, Role, Test, rounds, store, torture};
use super::writer::{Model, Value, value};
use super::{AT_ONCE, Delay, LOADED, check, let_go_on, open_loaded};

pub(crate) const TESTS: &[Test] = &[
    ("every_named_place_is_tried", every_place),
    ("a_process_killed_anywhere_loses_nothing", alone),
    ("a_process_killed_anywhere_holds_nobody_up_and_loses_nothing", beside),
    ("a_process_killed_while_it_makes_good_what_another_left_loses_nothing", twice),
    ("a_load_killed_anywhere_is_there_as_a_whole_or_not_at_all", loads),
    ("a_fold_counts_though_its_process_was_killed_before_it_could_say_so", unsaid),
    ("a_segment_that_was_made_ahead_too_late_is_not_used", late_segment),
    ("a_process_killed_around_a_wait_holds_nobody_up", waiting),
];

/// How a place is come by.
#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    /// Writing, folding and closing, alone or not.
    Work,
    /// The same, with a long rest.
    Rest,
    /// Only by the one process that has the store open.
    Alone,
    Compact,
    /// Only by who makes the store.
    New,
    /// After another was killed.
    Mend,
    Load,
    /// By those who wait for a lock, or for whom others wait.
    Wait,
}

const PLACES: &[(&str, By)] = &[
    ("a control file is mapped", By::Work),
    ("a slot is taken", By::Work),
    ("an opening begins alone", By::Alone),
    ("an opening has found the log", By::Alone),
    ("an opening has told of the log", By::Alone),
    ("a new store is to be written", By::New),
    ("a new store is written", By::New),
    ("the lock for writing is held", By::Work),
    ("there is room for a record", By::Work),
    ("a change is written", By::Work),
    ("a record is written but for its checksum", By::Work),
    ("a record is written", By::Work),
    ("the tail is to be moved", By::Work),
    ("the tail is moved", By::Work),
    ("a segment has a name", By::Work),
    ("a segment has its room", By::Work),
    ("a segment is made", By::Work),
    ("a segment is made ahead", By::Work),
    ("a header is written but for its checksum", By::Work),
    ("a segment is begun", By::Work),
    ("a segment is ended", By::Rest),
    ("a segment is to be removed", By::Work),
    ("a segment is to be mapped", By::Alone),
    ("a fold begins", By::Work),
    ("a fold is to be committed", By::Work),
    ("a fold is committed", By::Work),
    ("a commit is told of and not synced", By::Work),
    ("a fold is published", By::Work),
    ("a fold is told of", By::Work),
    ("a snapshot is to be pinned", By::Work),
    ("a snapshot is pinned", By::Work),
    ("a snapshot of the data file is open", By::Work),
    ("a snapshot is open", By::Work),
    ("the log is to be synced", By::Work),
    ("the log is synced", By::Work),
    ("the last to close begins", By::Alone),
    ("the last to close has folded", By::Alone),
    ("a record is copied", By::Compact),
    ("a compacted file is to be put in place", By::Compact),
    ("a compacted file is in place", By::Compact),
    ("what a killed writer left is found", By::Mend),
    ("what a killed writer left is taken in", By::Mend),
    ("a whole transaction begins", By::Load),
    ("a whole transaction is to be committed", By::Load),
    ("a whole transaction is committed", By::Load),
    ("a whole transaction is published", By::Load),
    ("a lock is given back and nobody woken", By::Wait),
    ("a lock was waited for", By::Wait),
];

fn places(wanted: &[By]) -> impl Iterator<Item = (&'static str, By)> {
    PLACES.iter().copied().filter(move |(_, by)| wanted.contains(by))
}

/// At which passages of a place to kill.
fn passages(random: &mut Random) -> Vec<u64> {
    match torture() {
        true => vec![1, 2, 3, 3 + random.below(10), 10 + random.below(100)],
        false => vec![1, 2 + random.below(8)],
    }
}

fn every_place() {
    fn names(dir: &Path, found: &mut Vec<String>) {
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                names(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let named = text.split("fault::point(\"").skip(1);
                found.extend(named.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"), &mut found);
    let tried: Vec<&str> =
        PLACES.iter().map(|(name, _)| *name).chain(super::repaired::PLACES.iter().copied()).collect();
    assert!(found.len() >= tried.len());
    for name in &found {
        assert!(tried.contains(&name.as_str()), "{name:?}");
    }
    for name in tried {
        assert!(found.iter().any(|found| found == name), "{name:?}");
    }
}

/// Lets a process work until it is killed, or done; whether it was killed.
fn kill_at(place: &str, passage: u64, role: &str, path: &Path, besides: &[&str], model: &mut Model) -> bool {
    let (path, from) = (path.to_str().unwrap(), model.version.to_string());
    let arguments = [&[path, &from], besides].concat();
    let mut victim = Role::start_with_fault(&format!("{place}:{passage}"), role, &arguments);
    victim.rest().iter().for_each(|line| model.hear(line));
    let status = victim.ended();
    assert!(status.success() || status.signal() == Some(9), "{place}:{passage}: {status}");
    !status.success()
}

/// A store whose writer was killed, so that there is something in the log.
fn leave_a_log(path: &Path, model: &mut Model) {
    assert!(kill_at("the tail is moved", 60, "write", path, &[], model));
    // It is in the log, though nobody could say so.
    let (step, key, version) = model.open.take().unwrap();
    model.apply(step, key, version);
}

fn besides(by: By) -> &'static [&'static str] {
    match by {
        By::Rest => &["rest"],
        By::Compact => &["compact"],
        _ => &[],
    }
}

fn alone() {
    let mut random = Random::new();
    for (place, by) in places(&[By::Work, By::Rest, By::Alone, By::Compact, By::New]) {
        for passage in passages(&mut random) {
            let (_dir, path) = store();
            let mut model = Model::default();
            if by != By::New {
                leave_a_log(&path, &mut model);
            }
            let killed = kill_at(place, passage, "work", &path, besides(by), &mut model);
            assert!(killed || passage > 1, "{place} was not come by");
            eprintln!("{place}:{passage}, killed: {killed}");
            check(&path, &mut model);
        }
    }
}

fn beside() {
    let mut random = Random::new();
    for (place, by) in places(&[By::Work, By::Rest]) {
        for passage in passages(&mut random) {
            let (_dir, path) = store();
            let mut model = Model::default();
            let mut survivor = survivor(&path);
            // The survivor can have been the one who folded.
            let tries = if passage == 1 { 5 } else { 1 };
            let killed = (0..tries).any(|_| kill_at(place, passage, "work", &path, besides(by), &mut model));
            assert!(killed || passage > 1, "{place} was not come by");
            eprintln!("{place}:{passage} beside another, killed: {killed}");
            // Before its next write what the victim had all but written is not there, and then it is.
            let_go_on(&mut survivor, "write 20");
            let_go_on(&mut survivor, "read 20");
            check(&path, &mut model);
            survivor.join();
            check(&path, &mut model);
        }
    }
}

pub(crate) fn survivor(path: &Path) -> Role {
    let mut role = Role::start("survive", &[path.to_str().unwrap(), "survivor"]);
    role.expect("open");
    role.say("write 5");
    role.line().unwrap();
    role
}

fn twice() {
    let mut random = Random::new();
    let first = [
        "there is room for a record",
        "a change is written",
        "a record is written but for its checksum",
        "a record is written",
        "the tail is to be moved",
        "the tail is moved",
        "a segment is begun",
    ];
    for (place, _) in places(&[By::Mend]) {
        for first in first {
            let (_dir, path) = store();
            let mut model = Model::default();
            let mut survivor = survivor(&path);
            let passage =
                if first == "a segment is begun" { 1 + random.below(2) } else { 10 + random.below(300) };
            assert!(kill_at(first, passage, "write", &path, &[], &mut model), "{first}");
            let open = model.open.take();
            let killed = kill_at(place, 1, "write", &path, &[], &mut model);
            assert!(killed, "{first}, then {place}");
            // The second had not begun to write what it said.
            model.open = open;
            let_go_on(&mut survivor, "write 20");
            check(&path, &mut model);
            survivor.join();
            check(&path, &mut model);
        }
    }
}

fn loads() {
    let mut random = Random::new();
    for (place, _) in places(&[By::Load]) {
        for is_alone in [true, false] {
            for passage in [1, 2, 1 + random.below(3)] {
                for mend in std::iter::once(None).chain(places(&[By::Mend]).map(Some)) {
                    if !torture() && (passage > 1) == mend.is_some() {
                        continue;
                    }
                    kill_load(place, passage, is_alone, mend.map(|(place, _)| place));
                }
            }
        }
    }
}

/// Kills a process that loads, and maybe the next to write as well.
fn kill_load(place: &str, passage: u64, is_alone: bool, mend: Option<&str>) {
    let (dir, path) = store();
    let mut model = Model::default();
    let mut other = (!is_alone).then(|| survivor(&path));
    let file = dir.path().join("file");
    let arguments = [path.to_str().unwrap(), file.to_str().unwrap()];
    let mut victim = Role::start_with_fault(&format!("{place}:{passage}"), "load", &arguments);
    let (mut begun, mut done) = (0, 0);
    for line in victim.rest() {
        match line.split_once(' ') {
            Some(("load", version)) => begun = version.parse().unwrap(),
            Some(("loaded", version)) => done = version.parse().unwrap(),
            _ => model.hear(&line),
        }
    }
    assert_eq!(victim.ended().signal(), Some(9), "{place}:{passage} was not come by");
    if let Some(mend) = mend {
        let killed = kill_at(mend, 1, "write", &path, &[], &mut model);
        eprintln!("{place}:{passage}, then {mend}, alone: {is_alone}, killed: {killed}");
    }
    if let Some(other) = &mut other {
        let_go_on(other, "write 20");
        let_go_on(other, "read 20");
    }
    let mut seen = None;
    for round in 0..2 {
        check(&path, &mut model);
        let cache = open_loaded(&path);
        let (mut found, mut position) = (Vec::<u64>::new(), Default::default());
        while found.len() as u64 <= LOADED {
            let chunk = cache.scan(&mut position).unwrap();
            if chunk.is_empty() {
                break;
            }
            let payloads = chunk.into_iter().map(|entry| entry.unwrap().payload);
            found.extend(
                payloads.map(|payload| std::str::from_utf8(&payload).unwrap().parse::<u64>().unwrap()),
            );
        }
        let version = found.first().copied().unwrap_or(0);
        assert!(found.iter().all(|found| *found == version), "parts of a load");
        assert!(version == 0 || found.len() as u64 == LOADED);
        assert!(version == done || version == begun, "{place}: {version} of {done} and {begun}");
        assert_eq!(*seen.get_or_insert(version), version);
        cache.close().unwrap();
        if let Some(other) = other.take_if(|_| round == 0) {
            other.join();
        }
    }
}

fn waiting() {
    let mut random = Random::new();
    for (place, _) in places(&[By::Wait]) {
        let mut kills = 0;
        for _ in 0..rounds(4, 100) {
            let (_dir, path) = store();
            let mut model = Model::default();
            let mut others = [survivor(&path), survivor(&path)];
            let delay = Delay::measure();
            others.iter_mut().for_each(|other| other.say("write 5000"));
            kills += u64::from(kill_at(place, 1 + random.below(5), "write", &path, &[], &mut model));
            let longest = others.each_ref().map(|other| other.line().unwrap().parse::<u64>().unwrap());
            let most = AT_ONCE + delay.end() * 4;
            assert!(
                longest.iter().all(|longest| u128::from(*longest) < most.as_micros()),
                "{longest:?} {most:?}"
            );
            check(&path, &mut model);
            // Both write the same keys, so what each is to find at its end is not known.
            others.iter_mut().for_each(Role::kill);
            check(&path, &mut model);
        }
        assert!(kills > 0, "{place} was not come by");
    }
}

fn unsaid() {
    let places = ["a fold is committed", "a commit is told of and not synced", "a fold is published"];
    for place in places {
        let mut kills = 0;
        for _ in 0..rounds(3, 20) {
            let (_dir, path) = store();
            // Looks less often than the other, which so folds first.
            let builder = Cache::<u64, Value>::builder(&path).namespace("of the writer").max_bytes(64 << 20);
            let cache = builder.checkpoint_interval(Duration::from_secs(5)).open().unwrap();
            let mut victim = Role::start_with_fault(
                &format!("{place}:1"),
                "survive",
                &[path.to_str().unwrap(), "survivor"],
            );
            victim.expect("open");
            victim.say("write 100");
            victim.line().unwrap();
            // All is folded after a while of rest.
            std::thread::sleep(Duration::from_millis(900));
            let killed = victim.ended_by_now().is_some_and(|status| status.signal() == Some(9));
            kills += u64::from(killed);
            victim.kill();
            // The other takes over; or has to when it closes.
            cache.close().unwrap();
            assert_eq!(segments(&path), 0, "{place}, killed: {killed}");
            let found = read_only(&path, "survivor");
            assert!((41..=100).all(|n| found.get(&(n % 60)).unwrap() == Some(value(n % 60, n))));
            if kills > 0 && !torture() {
                break;
            }
        }
        assert!(kills > 0, "{place} was not come by");
    }
}

/// One process is stopped while it makes a segment ahead, another begins one with a higher number and is killed before it
/// writes to it. What is written then has to be found again.
fn late_segment() {
    let mut left = rounds(1, 20);
    while left > 0 {
        let (_dir, path) = store();
        let Some((mut survivor, mut written)) =
            stop_at_rest("stop:a segment is made ahead:1", &path, "survivor")
        else {
            continue;
        };
        left -= 1;
        let mut model = Model::default();
        assert!(kill_at("a segment is begun", 1, "write", &path, &[], &mut model));
        survivor.go_on();
        std::thread::sleep(Duration::from_millis(20));
        survivor.say("write 20");
        written += 20;
        survivor.line().expect("the survivor failed");
        survivor.kill();
        check(&path, &mut model);
        let found = read_only(&path, "survivor");
        for n in written - 19..=written {
            assert_eq!(found.get(&(n % 60)).unwrap(), Some(value(n % 60, n)));
        }
    }
}
