//! How old what memory gives can be, whatever the network does: another process writes, and each read is judged by when
//! what came after the value it gave had been written.

use std::path::Path;
use std::time::{Duration, Instant};

use std::sync::atomic::{AtomicBool, Ordering};

use cachemere::valkey::Remote;
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::proxy::{Proxy, Way};
use crate::server::Server;
use crate::support::{Role, SharedWords, hear_the_end, rounds, say};

pub(crate) const TESTS: &[Test] = &[
    ("what_memory_gives_is_no_older_than_it_may_be", disturbed),
    ("threads_that_write_and_read_at_once_read_their_own_writes", own_writes),
];

const KEYS: usize = 16;
const READERS: usize = 8;
/// Of each key, at most.
const VERSIONS: usize = 1 << 14;
const MAX_STALE: Duration = Duration::from_millis(500);

/// Nanoseconds of the clock that all processes share.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// When each version of each key had been written; 0 before that.
fn board(path: &str) -> SharedWords {
    SharedWords::map(Path::new(path), KEYS * VERSIONS)
}

fn word(key: usize, version: u64) -> usize {
    key * VERSIONS + version as usize
}

/// Writes one version after the other, until the end is heard.
pub(crate) fn write(arguments: &[String]) {
    let [address, path] = arguments else { panic!("{arguments:?}") };
    let remote = Remote::builder(address).open().unwrap();
    let board = board(path);
    std::thread::spawn(|| {
        hear_the_end();
        std::process::exit(0);
    });
    say("writing");
    for version in 1..VERSIONS as u64 {
        for key in 0..KEYS {
            remote.insert(&[key as u8], &version.to_le_bytes(), 0, None).unwrap();
            board[word(key, version)].store(now(), Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(600));
}

fn disturbed(program: &Path) {
    let server = Server::start(program, &[]);
    let proxy = Proxy::start(server.port());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board");
    let path = path.to_str().unwrap();
    let board = board(path);
    let reader =
        Remote::builder(proxy.address("app")).max_stale(MAX_STALE).answer_within(Duration::from_secs(20));
    let reader = reader.open().unwrap();
    let mut writer = Role::start("write", &[&server.address("app"), path]);
    writer.expect("writing");
    let stop = |signal| kill_process(Pid::from_raw(server.pid() as i32).unwrap(), signal).unwrap();
    let calls = || calls_of_mget(&server);

    let mut reads = 0;
    for (name, begin, end) in [
        ("undisturbed", &(|| ()) as &(dyn Fn() + Sync), &(|| ()) as &(dyn Fn() + Sync)),
        ("all late", &|| proxy.be_late(Way::ToClient, Duration::from_millis(100)), &|| {
            proxy.be_late(Way::ToClient, Duration::ZERO)
        }),
        ("answers held", &|| proxy.hold(Way::ToClient, true), &|| proxy.hold(Way::ToClient, false)),
        ("cut", &|| proxy.cut_clients(), &|| ()),
        ("server stopped", &|| stop(Signal::STOP), &|| stop(Signal::CONT)),
    ] {
        let before = calls();
        let is_over = &AtomicBool::new(false);
        let (of_this, longest) = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                begin();
                std::thread::sleep(Duration::from_millis(1600));
                end();
                std::thread::sleep(Duration::from_millis(300));
                is_over.store(true, Ordering::SeqCst);
            });
            // Some, so that not all of them wait for an answer when the network stands still.
            let readers: Vec<_> = (0..READERS)
                .map(|first| {
                    scope.spawn({
                        let (reader, board) = (&reader, &board);
                        move || judge(reader, board, first, || is_over.load(Ordering::SeqCst))
                    })
                })
                .collect();
            let each = readers.into_iter().map(|reader| reader.join().unwrap());
            each.fold((0, 0), |(all, longest), (reads, stale)| (all + reads, longest.max(stale)))
        });
        let longest = Duration::from_nanos(longest);
        eprintln!("{name}: {of_this} reads, {} of the server, longest {longest:?}", calls() - before);
        assert!(longest < MAX_STALE, "{name}: {longest:?}");
        reads += of_this;
        if name == "undisturbed" {
            assert!(calls() - before < of_this / 2, "memory gives nothing");
        }
    }
    assert!(reads >= 100_000);
    writer.kill();
}

/// Reads keys by turns, until it is over and enough; how many reads it were, and how old the oldest was.
fn judge(reader: &Remote, board: &SharedWords, first: usize, is_over: impl Fn() -> bool) -> (u64, u64) {
    let (mut reads, mut longest) = (0, 0);
    let mut keys = (0..KEYS).skip(first).step_by(READERS).cycle();
    while !is_over() || reads < rounds(5_000, 50_000) {
        let key = keys.next().unwrap();
        let begun = now();
        // While it reconnects there is no answer.
        let Ok(found) = reader.get(&[key as u8]) else { continue };
        let version = found.map_or(0, |it| u64::from_le_bytes((*it.payload).try_into().unwrap()));
        let next = board[word(key, version + 1)].load(Ordering::SeqCst);
        if next != 0 && next < begun {
            longest = longest.max(begun - next);
        }
        reads += 1;
    }
    (reads, longest)
}

fn calls_of_mget(server: &Server) -> u64 {
    let told = server.tell("INFO commandstats");
    let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_mget:calls="));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

fn own_writes(program: &Path) {
    let server = Server::start(program, &[]);
    let remote = &Remote::builder(server.address("app")).open().unwrap();
    let published = &std::sync::atomic::AtomicU64::new(0);
    let until = &(Instant::now() + Duration::from_secs(rounds(2, 30)));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for version in 1u64.. {
                remote.insert(b"key", &version.to_le_bytes(), 0, None).unwrap();
                published.store(version, Ordering::SeqCst);
                // So that memory has it for a while.
                if version % 8 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
                if Instant::now() > *until {
                    break;
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                while Instant::now() < *until {
                    let least = published.load(Ordering::SeqCst);
                    let found = remote.get(b"key").unwrap();
                    let version = found.map_or(0, |it| u64::from_le_bytes((*it.payload).try_into().unwrap()));
                    assert!(version >= least, "{version} after {least}");
                }
            });
        }
    });
    assert!(published.load(Ordering::SeqCst) > 100);
}
