//! Each operation of several steps, with each single system call in it that can fail failing: the operation is done or it
//! is not, in this process and for whoever opens the store next. The handle goes on; or it says why it does not, and
//! loses nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

#[path = "failed_calls/calls.rs"]
mod calls;
mod damage_support;
#[path = "failed_calls/operation.rs"]
mod operation;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use cachemere::Error;
use calls::{Call, Fault};
use damage_support::{Peer, by_form, copy_files, is_long, main_with, orders, quick_dir, say, tell};
use operation::{Content, Operation, backup_of, content, is_for_good, put};

fn main() {
    main_with(
        |role, arguments| match role {
            "prepare" => Operation::of(&arguments[0]).prepare(Path::new(&arguments[1])),
            "run" => run(arguments),
            "beside" => beside(arguments),
            "look" => look(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("a_new_store_is_there_or_not_whichever_call_fails", || each(Operation::Create)),
            ("a_new_encrypted_store_is_there_or_not_whichever_call_fails", || each(Operation::CreateSealed)),
            ("what_a_kill_left_is_recovered_whichever_call_fails", || each(Operation::Recover)),
            ("a_write_and_a_fold_are_done_or_not_whichever_call_fails", || each(Operation::Write)),
            ("what_is_done_in_the_background_loses_nothing_whichever_call_fails", || each(Operation::Upkeep)),
            ("a_checkpoint_loses_nothing_whichever_call_fails", || each(Operation::Checkpoint)),
            #[cfg(feature = "load")]
            ("a_load_is_done_or_not_whichever_call_fails", || each(Operation::Load)),
            ("a_clear_is_done_or_not_whichever_call_fails", || each(Operation::Clear)),
            ("a_compaction_is_done_or_not_whichever_call_fails", || each(Operation::Compact)),
            ("a_new_data_key_is_there_or_not_whichever_call_fails", || each(Operation::Reencrypt)),
            ("a_store_is_encrypted_or_not_whichever_call_fails", || each(Operation::Encrypt)),
            ("a_new_secret_is_there_or_not_whichever_call_fails", || each(Operation::ChangeSecret)),
            ("a_backup_is_there_or_not_whichever_call_fails", || each(Operation::Backup)),
            ("a_close_loses_nothing_whichever_call_fails", || each(Operation::Close)),
        ],
    );
}

/// One run of an operation.
#[derive(Clone, Copy, Debug)]
struct Run {
    operation: Operation,
    fault: Fault,
    /// Whether the process ends as by SIGKILL afterwards.
    is_killed: bool,
    /// Whether another process has the store open meanwhile.
    is_shared: bool,
}

fn each(operation: Operation) {
    let root = quick_dir();
    let template = root.path().join("template");
    std::fs::create_dir(&template).unwrap();
    let store = template.join("store");
    assert!(Peer::start("prepare", &[&name(operation), store.to_str().unwrap()]).wait().success());

    let none = Fault { call: Call::Open, number: 0, error: 0, lasts: false };
    let mut looker = Peer::start("look", &[]);
    let (_, seen) =
        play(Run { operation, fault: none, is_killed: false, is_shared: false }, root.path(), 0, &mut looker)
            .unwrap();

    let runs: Mutex<VecDeque<(usize, Run)>> =
        Mutex::new(runs(operation, &seen).into_iter().enumerate().collect());
    let (failures, hits) = (Mutex::new(Vec::new()), Mutex::new(0));
    // Those that do nothing but wait go side by side.
    let side_by_side = if operation == Operation::Upkeep { 16 } else { 2 };
    std::thread::scope(|threads| {
        for _ in 0..side_by_side {
            threads.spawn(|| {
                let mut looker = Peer::start("look", &[]);
                loop {
                    let Some((number, run)) = runs.lock().unwrap().pop_front() else { break };
                    match play(run, root.path(), number + 1, &mut looker) {
                        Ok((failed, _)) => *hits.lock().unwrap() += u64::from(failed > 0),
                        Err(why) => {
                            failures.lock().unwrap().push(format!("{run:?}: {why}"));
                            looker = Peer::start("look", &[]);
                        }
                    }
                }
            });
        }
    });
    let (failures, hits) = (failures.into_inner().unwrap(), hits.into_inner().unwrap());
    say(&format!("{operation:?}: {hits} faults in {} calls", seen.iter().sum::<usize>()));
    assert!(
        failures.is_empty(),
        "{} of {hits}:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
    assert!(hits > 0);
}

fn name(of: impl std::fmt::Debug) -> String {
    format!("{of:?}")
}

/// Every call with every error, once and from then on, with either end; in the short form each call with one of them.
fn runs(operation: Operation, seen: &[usize]) -> Vec<Run> {
    let mut runs = Vec::new();
    for call in Call::ALL {
        for number in 1..=seen[call as usize] {
            let errors = call.errors();
            let once = errors.iter().map(|error| (*error, false));
            // Nobody is interrupted for ever.
            let lasting = errors.iter().filter(|error| **error != libc::EINTR).map(|error| (*error, true));
            let all: Vec<(i32, bool)> = once.chain(lasting).collect();
            let picked = by_form(&all[number % all.len()..][..1], &all[..]);
            for (at, (error, lasts)) in picked.iter().enumerate() {
                let fault = Fault { call, number, error: *error, lasts: *lasts };
                let turn = number + at;
                let shared = match operation.can_be_shared() {
                    true => by_form(if turn % 4 < 2 { &[true][..] } else { &[false] }, &[false, true]),
                    false => &[false],
                };
                let is_killed = turn % 2 == 0;
                runs.extend(shared.iter().map(|&is_shared| Run { operation, fault, is_killed, is_shared }));
            }
        }
    }
    if operation == Operation::Upkeep && !is_long() {
        // Each takes a second.
        runs = runs.into_iter().step_by(9).collect();
    }
    runs
}

/// Runs an operation and looks at what is there then; how many calls failed, and how many of each kind there were.
fn play(run: Run, root: &Path, number: usize, looker: &mut Peer) -> Result<(usize, Vec<usize>), String> {
    let Run { operation, fault, is_killed, is_shared } = run;
    let home = root.join(number.to_string());
    let dir = home.join("store");
    std::fs::create_dir(&home).unwrap();
    if !operation.creates() {
        copy_files(&root.join("template/store"), &dir);
    }
    let arguments = [
        name(operation),
        dir.to_str().unwrap().to_owned(),
        name(fault.call),
        fault.number.to_string(),
        fault.error.to_string(),
        fault.lasts.to_string(),
        is_killed.to_string(),
    ];
    let mut other = is_shared.then(|| {
        let mut other = Peer::start("beside", &[&arguments[0], &arguments[1]]);
        other.expect("open");
        other
    });
    let mut child = Peer::start("run", &arguments.each_ref().map(String::as_str));
    let mut hear = |word: &str| match child.hear() {
        Some(line) => line.strip_prefix(word).map(str::to_owned).ok_or(line),
        None => Err("the process has ended".to_owned()),
    };
    let calls: Vec<usize> = hear("calls ")?.split(' ').map(|count| count.parse().unwrap()).collect();
    let done = hear("done ")?;
    let mut found = hear("found ").map_err(|why| format!("{why}, after {done}"))?;
    hear("ended").map_err(|why| format!("{why}, after {done}"))?;
    child.wait();
    if let Some(other) = &mut other {
        other.say(&found);
        match other.hear() {
            Some(line) => match line.strip_prefix("found ") {
                Some(now) => found = now.to_owned(),
                None => return Err(format!("beside it: {line}, after {done}")),
            },
            None => return Err(format!("who had it open beside it has ended, after {done}")),
        }
        other.wait();
    }
    let must_be = if done == "ok" { "done" } else { "any" };
    looker.say(&format!("{operation:?} {must_be} {}", dir.to_str().unwrap()));
    let left = match looker.hear() {
        Some(line) => line.strip_prefix("found ").map(str::to_owned).ok_or(line),
        None => Err("who opens it next has ended".to_owned()),
    };
    let left = left.map_err(|why| format!("next: {why}, after {done}"))?;
    if left != found {
        return Err(format!("next: {left}, not {found}, after {done}"));
    }
    std::fs::remove_dir_all(&home).unwrap();
    Ok((calls[0], calls[1..].to_vec()))
}

/// Says why this process fails, to whoever has started it.
fn say_why_it_fails() {
    std::panic::set_hook(Box::new(|panic| tell(&panic.to_string().replace('\n', " "))));
}

fn told(content: &Content) -> String {
    let entries: Vec<String> = content.iter().map(|(key, version)| format!("{key}={version}")).collect();
    entries.join(" ")
}

fn run(arguments: &[String]) {
    say_why_it_fails();
    let [operation, dir, call, number, error, lasts, is_killed] = arguments else {
        panic!("seven arguments")
    };
    let (operation, dir) = (Operation::of(operation), Path::new(dir));
    let (number, error) = (number.parse().unwrap(), error.parse().unwrap());
    let mut cache = operation.open(dir);
    calls::arm(Fault { call: Call::of(call), number, error, lasts: lasts == "true" });
    let outcome = operation.run(dir, &mut cache);
    let (failed, seen) = calls::disarm();
    tell(&format!("calls {failed} {}", seen.map(|count| count.to_string()).join(" ")));
    tell(&match &outcome.done {
        Ok(()) => "done ok".to_owned(),
        Err(error) => format!("done {error}"),
    });

    if let Some(closed) = cache.as_ref().filter(|_| operation == Operation::Close) {
        assert!(matches!(closed.len(), Err(Error::Closed)), "it is closed");
        cache = None;
    }
    let cache = cache.unwrap_or_else(|| operation.builder(dir, 0).open().expect("it opens now"));
    let mut found = content(&cache).expect("all can be read");
    assert!(outcome.allowed.contains(&found), "neither as before nor as after: {}", told(&found));
    if outcome.done.is_err() {
        match operation.repeat(dir, &cache) {
            Ok(()) => found = content(&cache).unwrap(),
            Err(error) => assert!(is_for_good(&error), "not even now: {error}"),
        }
    }
    match put(&cache, "new", 1) {
        Ok(()) => drop(found.insert("new".to_owned(), 1)),
        Err(error) => assert!(is_for_good(&error), "nothing can be written: {error}"),
    }
    assert_eq!(content(&cache).expect("all can be read"), found, "after a write");
    tell(&format!("found {}", told(&found)));
    if is_killed == "true" {
        tell("ended");
        // SAFETY: the process ends as if it were killed.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(0)
        };
    }
    if let Err(error) = cache.close() {
        assert!(is_for_good(&error), "it cannot be closed: {error}");
    }
    tell("ended");
}

/// Has the store open while calls fail elsewhere, and goes on afterwards.
fn beside(arguments: &[String]) {
    say_why_it_fails();
    let operation = Operation::of(&arguments[0]);
    let cache = operation.builder(Path::new(&arguments[1]), 0).open().unwrap();
    tell("open");
    let expected = orders().next().unwrap();
    let mut found = content(&cache).expect("all can be read");
    assert_eq!(told(&found), expected);
    match put(&cache, "beside", 1) {
        Ok(()) => drop(found.insert("beside".to_owned(), 1)),
        Err(error) => assert!(is_for_good(&error), "nothing can be written: {error}"),
    }
    assert_eq!(content(&cache).expect("all can be read"), found, "after a write");
    if let Err(error) = cache.close() {
        assert!(is_for_good(&error), "it cannot be closed: {error}");
    }
    tell(&format!("found {}", told(&found)));
}

/// Opens one store after the other, as the next process to do so.
fn look(_: &[String]) {
    say_why_it_fails();
    for order in orders() {
        let mut words = order.splitn(3, ' ');
        let mut next = || words.next().unwrap();
        let (operation, is_done, dir) = (Operation::of(next()), next() == "done", Path::new(next()));
        let (cache, secret) = match operation.builder(dir, 0).open() {
            Ok(cache) => (cache, 0),
            Err(Error::WrongSecret { .. } | Error::MissingSecret { .. }) if operation.changes_secret() => {
                (operation.builder(dir, 1).open().unwrap(), 1)
            }
            Err(error) => panic!("it does not open: {error}"),
        };
        assert_no_rests(dir);
        let found = content(&cache).unwrap();
        let report = cache.verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        if operation.changes_secret() && is_done {
            assert_eq!(secret, 1, "the old secret still opens it");
        }
        if operation == Operation::Backup {
            check_backup(&cache, dir, is_done);
        }
        operation.repeat(dir, &cache).unwrap();
        let beside = std::fs::read_dir(dir.parent().unwrap()).unwrap();
        let mut beside: Vec<_> =
            beside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        beside.retain(|name| name != "store" && name != "backup");
        assert!(beside.is_empty(), "{beside:?} is left beside the store");
        put(&cache, "newer", 1).unwrap();
        cache.close().unwrap();
        let cache = operation.builder(dir, secret).open().unwrap();
        assert!(cache.remove(b"newer").unwrap());
        cache.close().unwrap();
        tell(&format!("found {}", told(&found)));
    }
}

/// What an operation that was not finished has left is gone.
fn assert_no_rests(dir: &Path) {
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_known = ["data.mdb", "control", "reserve"].contains(&name.as_str())
            || name.starts_with("log-")
            || name.ends_with(".lock");
        assert!(is_known, "{name} is left in the store");
    }
}

fn check_backup(cache: &cachemere::ByteCache, dir: &Path, is_done: bool) {
    let backup = backup_of(dir);
    assert!(!is_done || backup.exists(), "there is no backup");
    if backup.exists() {
        let opened = Operation::Backup.builder(&backup, 0).open().unwrap();
        let mut all = content(cache).unwrap();
        all.retain(|key, _| key != "new" && key != "beside");
        assert_eq!(content(&opened).unwrap(), all, "the backup");
        opened.close().unwrap();
    }
}
