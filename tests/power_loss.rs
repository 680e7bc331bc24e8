//! Power losses, played on real stores that several processes write; see `power_support` for how.
//!
//! What is left must open without an error, be sound, hold exactly some state that was, not older than the last checkpoint
//! that had returned, and take new writes. Then the next life goes on from there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;
mod power_support;

use std::time::{Duration, Instant};

use damage_support::{Dice, by_form, is_long, main_with, say, seed};
use power_support::history::{Tally, play};
use power_support::recorder::{Process, Recorder};
use power_support::steps::Content;
use power_support::sweep::sweep;
use power_support::wire::{FAIL, Kind};

fn main() {
    main_with(
        power_support::play,
        vec![
            ("a_power_loss_at_any_moment_leaves_a_state_that_was_and_all_that_was_safe", any_moment),
            ("who_closes_beside_others_counts_as_a_user_until_its_writes_are_synced", closing),
            ("a_sync_that_failed_is_not_tried_again_and_ends_all_writing", failed_sync),
            ("a_power_loss_with_any_single_page_or_name_lost_leaves_a_state_that_was", any_page),
        ],
    );
}

fn any_moment() {
    let wanted = by_form(150, 2500);
    let enough = Instant::now() + Duration::from_secs(by_form(9, 3600));
    let (mut dice, mut tally) = (Dice::new(seed()), Tally::default());
    let mut least = 20;
    while tally.losses < least || (tally.losses < wanted && Instant::now() < enough) {
        // A failure is played again with the seed of its history alone.
        let history = match std::env::var("CACHEMERE_HISTORY") {
            Ok(history) => history.parse().unwrap(),
            Err(_) => dice.roll() >> 32,
        };
        if let Err(why) = play(history, 12, None, &mut tally) {
            panic!("{why} (set CACHEMERE_HISTORY to that seed to play it again); {tally}");
        }
        least = least.min(wanted);
    }
    say(&tally.to_string());
    assert!(!is_long() || tally.losses >= 2000, "{tally}");
    assert!(tally.holes > 0, "{tally}");
}

fn failed_sync() {
    for of_lmdb in [false, true] {
        let root = damage_support::quick_dir();
        let dir = root.path().join("store");
        let mut recorder = Recorder::new(None);
        let arguments = [dir.to_str().unwrap(), "0", "0", "60000", "checkpoint", "alone"];
        // Answers until the process has nothing more to ask, or has ended.
        let until_next = |recorder: &Recorder, process: &Process, mut fails: bool| loop {
            match recorder.next().unwrap() {
                (id, _) if id != process.id => {}
                (_, None) => panic!("it ended"),
                (_, Some(request)) if request.kind == Kind::Next => return request.text,
                (_, Some(request)) if request.kind == Kind::Sync && fails => {
                    fails = false;
                    process.answer(FAIL);
                }
                _ => process.answer(""),
            }
        };
        let process = recorder.start("writer", &arguments);
        until_next(&recorder, &process, false);
        process.answer("put 1 1");
        until_next(&recorder, &process, false);
        if of_lmdb {
            // Killed and opened again: then the first sync is that of the data file.
            drop(process);
            let process = recorder.start("writer", &arguments);
            until_next(&recorder, &process, false);
            process.answer("fail");
            assert_eq!(until_next(&recorder, &process, true), "closed");
        } else {
            process.answer("fail");
            assert_eq!(until_next(&recorder, &process, true), "closed");
            drop(process);
        }
        // Whoever opens it when all have closed it finds out what is there.
        let process = recorder.start("writer", &arguments);
        let content = Content::read(&until_next(&recorder, &process, false));
        assert_eq!(content.counts, [1, 0, 0]);
        for order in ["put 2 1", "checkpoint", "close"] {
            process.answer(order);
            until_next(&recorder, &process, false);
        }
    }
}

/// Else the next one to close, or to open, takes itself for the only one, and what it makes anew is still used.
fn closing() {
    let root = damage_support::quick_dir();
    let dir = root.path().join("store");
    let dir = dir.to_str().unwrap();
    let mut recorder = Recorder::new(None);
    let start = |recorder: &mut Recorder, writer: &str| {
        recorder.start("writer", &[dir, writer, "0", "60000", "checkpoint", "alone"])
    };
    // Lets a process go on until it asks for this.
    let until = |recorder: &Recorder, process: &Process, wanted: Kind| loop {
        let (id, request) = recorder.next().unwrap();
        assert_eq!(id, process.id, "the others wait");
        match request.unwrap().kind {
            kind if kind == wanted => return,
            _ => process.answer(""),
        }
    };
    let first = start(&mut recorder, "0");
    until(&recorder, &first, Kind::Next);
    let second = start(&mut recorder, "1");
    until(&recorder, &second, Kind::Next);
    for (process, number) in [(&first, 1), (&second, 1), (&first, 2)] {
        process.answer(&format!("put {number} 1"));
        until(&recorder, process, Kind::Next);
    }
    first.answer("close");
    until(&recorder, &first, Kind::Sync);
    second.answer("close");
    until(&recorder, &second, Kind::Next);
    let files =
        || std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files().filter(|name| name.starts_with("log-")).count(), 1, "it was not the last to close");
    second.answer("");
    let third = start(&mut recorder, "2");
    loop {
        let (id, request) = recorder.next().unwrap();
        match request {
            Some(request) if id == third.id && request.kind == Kind::Next => break,
            Some(_) => third.answer(""),
            None => assert_eq!(id, second.id),
        }
    }
    third.answer("put 1 1");
    until(&recorder, &third, Kind::Next);
    first.answer("");
    until(&recorder, &first, Kind::Next);
    third.answer("close");
    until(&recorder, &third, Kind::Next);
    assert_eq!(files().filter(|name| name.starts_with("log-")).count(), 0, "all have closed it");
}

fn any_page() {
    let wanted = by_form(400u64, 20_000);
    let mut dice = Dice::new(seed());
    let (mut images, mut events) = (0, 0);
    while images < wanted {
        let history = match std::env::var("CACHEMERE_HISTORY") {
            Ok(history) => history.parse().unwrap(),
            Err(_) => dice.roll() >> 32,
        };
        match sweep(history, wanted.saturating_sub(images).min(2500)) {
            Ok((looked_at, seen)) => (images, events) = (images + looked_at, events + seen),
            Err(why) => panic!("{why}"),
        }
    }
    say(&format!("{images} images at {events} events"));
}
