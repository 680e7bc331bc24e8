//! Each rule that keeps a store safe from a power loss, broken on purpose in a build for tests: the histories of
//! `power_loss` notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;
mod power_support;

use std::time::Instant;

use damage_support::{Dice, by_form, main_with, say};
use power_support::history::{Tally, play};

fn main() {
    main_with(
        power_support::play,
        vec![
            ("a_new_segment_whose_name_is_not_synced_is_noticed", || {
                noticed("a new segment's name is synced", 1);
            }),
            ("a_checkpoint_of_the_last_segment_alone_is_noticed", || noticed("all segments are synced", 2)),
            ("segments_removed_before_lmdb_is_synced_are_noticed", || noticed("LMDB is synced", 3)),
            ("segments_removed_before_the_commit_are_noticed", || noticed("commit, then remove", 4)),
            ("a_return_before_the_sync_is_noticed", || noticed("sync, then return", 5)),
            #[cfg(feature = "load")]
            ("a_barrier_that_ends_before_its_commit_is_on_the_disk_is_noticed", || {
                noticed("a barrier ends when it is on the disk", 6);
            }),
            ("appending_to_what_a_power_loss_left_is_noticed", || {
                noticed("what is found is not appended to", 7);
            }),
            ("taking_what_a_kill_left_for_synced_is_noticed", || noticed("what is found is not synced", 8)),
            ("a_number_that_is_used_again_is_noticed", || noticed("numbers are new", 9)),
            ("checksums_that_are_not_chained_are_noticed", || noticed("checksums are chained", 10)),
            ("bytes_of_older_segments_do_no_harm", || {
                let (mut dice, mut tally) = (Dice::new(13), Tally::default());
                while tally.losses < by_form(100, 1000) {
                    play(dice.roll() >> 32, 12, Some("files are new"), &mut tally).unwrap();
                }
            }),
            ("a_link_that_is_not_looked_at_is_noticed", || noticed("headers link", 11)),
            ("a_hole_in_what_the_disk_still_refers_to_is_noticed", || {
                noticed("what is punched is free on the disk", 14);
            }),
            ("trusting_a_commit_that_a_kill_left_is_noticed", || noticed("what is open is settled", 12)),
        ],
    );
}

/// Plays histories with the rule broken until one fails.
fn noticed(rule: &'static str, seed: u64) {
    let most = by_form(3000, 20_000);
    let (mut dice, mut tally, begun) = (Dice::new(seed), Tally::default(), Instant::now());
    while tally.losses < most {
        if let Err(why) = play(dice.roll() >> 32, 12, Some(rule), &mut tally) {
            say(&format!("{:?} after {}, {:?}: {why}", rule, tally.losses, begun.elapsed()));
            return;
        }
    }
    panic!("nobody noticed that {rule:?} did not hold: {tally}");
}
