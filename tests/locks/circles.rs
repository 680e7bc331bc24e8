use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Role, hear, say, store};
use crate::{open, open_bytes};

/// Tries to take the lead of each key that it hears.
pub(crate) fn try_lead(arguments: &[String]) {
    let cache = open_bytes(Path::new(&arguments[0]));
    say("ready");
    while let Some(key) = hear() {
        let lead = cache.try_lead(key.as_bytes()).unwrap();
        say(if lead.is_some() { "free" } else { "taken" });
    }
}

pub(crate) fn kept() {
    let (_dir, path) = store();
    let first = open_bytes(&path);
    let slow = first.lead(b"slow").unwrap().unwrap();
    let mut other = Role::start("try", &[path.to_str().unwrap()]);
    other.expect("ready");
    let mut is_taken = |key: &str| {
        other.say(key);
        match other.line().as_deref() {
            Some("taken") => true,
            Some("free") => false,
            said => panic!("{said:?}"),
        }
    };
    assert!(is_taken("slow") && !is_taken("next"));
    // Another handle of this process is closed, and whoever looks into the files closes them.
    open_bytes(&path).close().unwrap();
    let read_all = || {
        for file in fs::read_dir(&path).unwrap() {
            fs::read(file.unwrap().path()).unwrap();
        }
    };
    read_all();
    assert!(is_taken("slow"));
    // The store is closed while the lead goes on, and opened anew.
    first.close().unwrap();
    assert!(is_taken("slow"));
    let second = open_bytes(&path);
    let next = second.lead(b"next").unwrap().unwrap();
    assert!(is_taken("slow") && is_taken("next"));
    drop(slow);
    assert!(!is_taken("slow") && is_taken("next"));
    drop(first);
    read_all();
    assert!(is_taken("next"));
    drop(next);
    assert!(!is_taken("next"));
}

/// Loads a key of one store, and for that another of the next. Says what came of it.
pub(crate) fn circle(arguments: &[String]) {
    let [own, key, other, wanted] = arguments else { panic!("{arguments:?}") };
    let (own, other) = (open(Path::new(own)), open(Path::new(other)));
    let got = own.get_or_insert_with(key.as_str(), || {
        say("loading");
        hear();
        let got = other.get_or_insert_with(wanted.as_str(), || {
            say("loading the other");
            format!("{wanted} for {key}")
        });
        format!("{key} of {}", got.unwrap())
    });
    say(&got.unwrap());
}

pub(crate) fn over_processes() {
    // In one store; each process in two of two, and of three.
    for (stores, processes) in [(1, 2), (1, 3), (2, 2), (3, 3)] {
        let dirs: Vec<_> = (0..stores).map(|_| store()).collect();
        let path = |n: usize| dirs[n % stores].1.to_str().unwrap();
        let mut all: Vec<Role> = (0..processes)
            .map(|n| {
                let (key, wanted) = (format!("key {n}"), format!("key {}", (n + 1) % processes));
                Role::start("circle", &[path(n), &key, path(n + 1), &wanted])
            })
            .collect();
        all.iter().for_each(|role| role.expect("loading"));
        let since = Instant::now();
        all.iter_mut().for_each(|role| role.say("now the other"));
        let said: Vec<Vec<String>> = all.iter().map(Role::rest).collect();
        assert!(since.elapsed() < Duration::from_secs(10), "{stores} {processes}: {:?}", since.elapsed());
        all.into_iter().for_each(Role::join);
        let twice = said.iter().filter(|said| said[0] == "loading the other").count();
        assert!(twice >= 1, "{said:?}");
        eprintln!(
            "{processes} processes, {stores} stores: {twice} loaded what another did, in {:?}",
            since.elapsed()
        );
    }
}

pub(crate) fn over_stores() {
    let ((_one, one), (_two, two)) = (store(), store());
    let (one, two) = (open(&one), open(&two));
    let (barrier, runs) = (Barrier::new(2), AtomicU32::new(0));
    let since = Instant::now();
    std::thread::scope(|scope| {
        for (mine, other) in [(&one, &two), (&two, &one)] {
            let (barrier, runs) = (&barrier, &runs);
            scope.spawn(move || {
                let got = mine.get_or_insert_with("key", || {
                    barrier.wait();
                    other
                        .get_or_insert_with("key", || {
                            runs.fetch_add(1, Ordering::SeqCst);
                            "by the other".into()
                        })
                        .unwrap()
                });
                assert_eq!(got.unwrap(), "by the other");
            });
        }
    });
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert!(runs.into_inner() >= 1);
}
