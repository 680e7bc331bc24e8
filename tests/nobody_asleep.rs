//! Nobody asleep: when one of several writers is killed, each of the others writes on at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cachemere::Cache;
use support::{Random, Role, SharedWords, rounds, say, store};

fn main() -> ExitCode {
    support::run(
        &[("write", write)],
        &[
            ("two_of_three_writers_write_on_when_one_is_killed", || kill_one_of(3, rounds(25, 500))),
            ("seven_of_eight_writers_write_on_when_one_is_killed", || kill_one_of(8, rounds(12, 500))),
        ],
    )
}

/// What a survivor's next writes may take, beside what the same writes take when nobody is killed.
const AT_ONCE: Duration = Duration::from_millis(200);
/// Writes of each survivor that have to return. More than one: it may have been in the middle of one, and not have had to
/// wait.
const WRITES: u64 = 3;

/// Writes without end, and counts its writes where others see it.
fn write(arguments: &[String]) {
    let [path, board, number] = arguments else { panic!("{arguments:?}") };
    let number: usize = number.parse().unwrap();
    let board = SharedWords::map(Path::new(board), number + 1);
    let cache: Cache<u64, u64> = Cache::builder(path).open().unwrap();
    cache.insert(&0, &0).unwrap();
    say("open");
    for n in 1.. {
        cache.insert(&(number as u64 * 1000 + n % 1000), &n).unwrap();
        board[number].fetch_add(1, Ordering::SeqCst);
    }
}

fn start(path: &Path, board: &Path, number: usize) -> Role {
    Role::start("write", &[path.to_str().unwrap(), board.to_str().unwrap(), &number.to_string()])
}

/// How long it takes until all but one have returned from some writes.
fn until_all_wrote(board: &SharedWords, but: Option<usize>) -> Duration {
    let begun = Instant::now();
    let before: Vec<u64> = board.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    let wrote = |n: usize| board[n].load(Ordering::SeqCst) >= before[n] + WRITES;
    while !(0..before.len()).all(|n| Some(n) == but || wrote(n)) {
        assert!(begun.elapsed() < Duration::from_secs(20), "somebody sleeps for good");
        std::thread::sleep(Duration::from_micros(200));
    }
    begun.elapsed()
}

fn kill_one_of(writers: usize, kills: u64) {
    let (dir, path) = store();
    let board_at = dir.path().join("board");
    let board = SharedWords::map(&board_at, writers);
    let mut random = Random::new();
    let mut roles: Vec<Role> = (0..writers).map(|number| start(&path, &board_at, number)).collect();
    roles.iter().for_each(|role| role.expect("open"));
    // How long they take by turns when nobody is killed, and after a kill.
    let (mut quiet, mut after) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        quiet.push(until_all_wrote(&board, None));
        let victim = random.below(writers as u64) as usize;
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        roles[victim].kill();
        after.push(until_all_wrote(&board, Some(victim)));
        roles[victim] = start(&path, &board_at, victim);
        roles[victim].expect("open");
    }
    let wrote: u64 = board.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    let (longest, usual) = (after.iter().max().unwrap(), quiet.iter().max().unwrap());
    eprintln!(
        "{kills} kills of one of {writers}, {wrote} writes; longest wait {longest:?}, without a kill {usual:?}"
    );
    assert!(*longest < AT_ONCE + *usual * 2, "{after:?} beside {quiet:?}");
    drop(roles);
    let cache: Cache<u64, u64> = Cache::builder(&path).open().unwrap();
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}
