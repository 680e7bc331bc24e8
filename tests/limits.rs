//! Limits: what the files take on the disk, how many entries there are, and which of them make room.
//!
//! Several processes write more than fits, while the parent measures all files of the store again and again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachemere::{ByteCache, Error, Maintenance, ScanPosition};
use damage_support::{Dice, Peer, by_form, main_with, orders, quick_dir, say, tell};

fn main() {
    main_with(
        |role, arguments| match role {
            "writer" => writer(arguments),
            "saver" => saver(arguments),
            "teller" => teller(arguments),
            "churner" => churner(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("max_bytes_bounds_the_files_under_a_load_of_small_entries", || {
                under_load(16 << 20, 1_000, 4_000)
            }),
            ("max_bytes_bounds_the_files_under_a_load_of_large_entries", || {
                under_load(16 << 20, 1_000, 64_000)
            }),
            ("a_larger_max_bytes_bounds_the_files_on_a_disk", larger_on_disk),
            ("the_smallest_max_bytes_bounds_the_files", || under_load(4 << 20, 100, 4_000)),
            ("max_bytes_bounds_the_files_while_a_snapshot_is_pinned", while_pinned),
            ("max_bytes_bounds_the_files_during_backups", during_backups),
            ("a_large_value_in_the_log_keeps_its_room_in_the_data_file", large_while_pinned),
            ("a_killed_writer_does_not_use_up_the_room", killed_writers),
            ("any_mixture_of_sizes_is_taken_under_any_limit", any_mixture),
            ("four_processes_and_an_open_walk_are_never_refused", four_and_a_walk),
            ("most_of_a_limit_is_values", mostly_values),
            ("four_writers_at_a_small_limit_go_on_at_speed", four_writers),
            ("a_full_map_is_a_clear_error_and_what_removes_makes_room", full_map),
            ("max_entries_is_exact_for_small_limits_in_all_processes", exact_entries),
            ("what_any_process_has_read_is_evicted_last", evicted_by_access),
            ("what_eviction_costs_does_not_grow_with_the_namespaces", many_namespaces),
            ("reading_everything_does_not_fill_a_limited_store", read_everything),
        ],
    );
}

fn key(writer: usize, n: usize) -> Vec<u8> {
    format!("{writer}/{n}").into_bytes()
}

fn value(writer: usize, n: usize, low: usize, high: usize) -> Vec<u8> {
    let mut dice = Dice::new((writer as u64) << 40 | n as u64);
    let len = dice.between(low, high);
    dice.bytes(len)
}

/// Arguments: directory, number, limit, least and most bytes of a value. Told `write <seconds>`, it writes as fast as it
/// can and tells what came of it.
fn writer(arguments: &[String]) {
    let [dir, rest @ ..] = arguments else { panic!("five arguments") };
    let numbers: Vec<usize> = rest.iter().map(|number| number.parse().unwrap()).collect();
    let [number, limit, low, high] = numbers[..] else { panic!("five arguments") };
    let cache = ByteCache::builder(dir).max_bytes(limit as u64).open().unwrap();
    tell("open");
    let mut next = 0;
    let mut written: Vec<(usize, Instant)> = Vec::new();
    for order in orders() {
        let Some(millis) = order.strip_prefix("write ") else { break };
        let (since, time) = (Instant::now(), Duration::from_millis(millis.parse().unwrap()));
        let (mut inserts, mut bytes, mut full, mut lost, mut slowest) = (0, 0, 0, 0, Duration::ZERO);
        while since.elapsed() < time {
            let value = value(number, next, low, high);
            let begun = Instant::now();
            match cache.insert(&key(number, next), &value, 0, None) {
                Ok(()) => {
                    inserts += 1;
                    bytes += value.len();
                    written.push((next, begun));
                }
                Err(error @ Error::StoreFull { .. }) => {
                    let text = error.to_string();
                    assert!(text.contains("snapshot") && text.contains("try again"), "{text}");
                    full += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
            slowest = slowest.max(begun.elapsed());
            next += 1;
            // What was written a moment ago is still there; unless the others have filled the store since, and then
            // nothing older is, but for what was being written at the same time.
            if let Some(&(recent, at)) = written.len().checked_sub(3).and_then(|place| written.get(place)) {
                match cache.get(&key(number, recent)).unwrap() {
                    Some(found) => assert!(found.payload == self::value(number, recent, low, high)),
                    None => lost += usize::from(older_than(&cache, at) > 10),
                }
            }
        }
        tell(&format!(
            "wrote {inserts} {bytes} {full} {lost} {} {}",
            since.elapsed().as_micros(),
            slowest.as_millis()
        ));
    }
    drop(cache);
    tell("closed");
}

/// How many entries there are that were last used before.
fn older_than(cache: &ByteCache, at: Instant) -> usize {
    let at = std::time::SystemTime::now() - at.elapsed() - Duration::from_millis(5);
    let mut position = ScanPosition::default();
    let mut older = 0;
    loop {
        let chunk = cache.scan(&mut position).unwrap();
        if chunk.is_empty() {
            return older;
        }
        older += chunk.iter().filter(|entry| entry.as_ref().unwrap().info.accessed < at).count();
    }
}

struct Wrote {
    inserts: usize,
    bytes: usize,
    full: usize,
    lost: usize,
    micros: usize,
    slowest_ms: usize,
}

fn what_was_written(peer: &mut Peer) -> Wrote {
    let told = peer.expect("wrote");
    let numbers: Vec<usize> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    let [inserts, bytes, full, lost, micros, slowest_ms] = numbers[..] else { panic!("{told}") };
    Wrote { inserts, bytes, full, lost, micros, slowest_ms }
}

fn start_writers(dir: &Path, count: usize, limit: u64, low: usize, high: usize) -> Vec<Peer> {
    (0..count)
        .map(|number| {
            let arguments = [number, limit as usize, low, high].map(|number| number.to_string());
            let mut all = vec![dir.to_str().unwrap()];
            all.extend(arguments.iter().map(String::as_str));
            let mut peer = Peer::start("writer", &all);
            peer.expect("open");
            peer
        })
        .collect()
}

/// Bytes the files of a directory take on the disk. (Free pages of the data file are given back, and its length says
/// nothing of that.)
fn size_of(dir: &Path) -> u64 {
    let mut on_disk = 0;
    for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // A file can be gone again.
        let Ok(found) = file.metadata() else { continue };
        on_disk += match found.is_dir() {
            true => size_of(&file.path()),
            false => std::os::unix::fs::MetadataExt::blocks(&found) * 512,
        };
    }
    on_disk
}

/// Measures the store all the time `work` runs; the most bytes its files ever took.
fn measured<T>(dir: &Path, work: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let meter = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(size_of(dir));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        // Also when it panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let guard = Over(&over);
        let done = work();
        drop(guard);
        (done, meter.join().unwrap())
    })
}

fn assert_within(most: u64, limit: u64) {
    assert!(most <= limit + limit / 10, "the files took {most} bytes, with a limit of {limit}");
}

/// Not on a disk: how often a write must wait for others to sync theirs is not what is tested.
fn store() -> (tempfile::TempDir, PathBuf) {
    let root = quick_dir();
    let dir = root.path().join("store");
    (root, dir)
}

/// Live bytes, after a look at everything.
fn live_bytes(dir: &Path) -> u64 {
    let cache = ByteCache::builder(dir).open().unwrap();
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    report.bytes
}

fn end(peers: Vec<Peer>) {
    for mut peer in peers {
        peer.ask("close", "closed");
        assert!(peer.finish().success());
    }
}

fn under_load(limit: u64, low: usize, high: usize) {
    let (_root, dir) = store();
    load(&dir, limit, low, high);
}

fn larger_on_disk() {
    let root = tempfile::tempdir().unwrap();
    load(&root.path().join("store"), 64 << 20, 1_000, 64_000);
}

fn load(dir: &Path, limit: u64, low: usize, high: usize) {
    let mut peers = start_writers(dir, 3, limit, low, high);
    let time = by_form(2_000, 12_000);
    let (wrote, most) = measured(dir, || {
        peers.iter_mut().for_each(|peer| peer.say(&format!("write {time}")));
        peers.iter_mut().map(what_was_written).collect::<Vec<_>>()
    });
    let live = live_bytes(dir);
    end(peers);
    let total: usize = wrote.iter().map(|wrote| wrote.bytes).sum();
    for wrote in &wrote {
        say(&format!(
            "limit {} MiB, values of {low} to {high}: {} inserts/s and {:.1} MB/s in a process, the slowest {} ms",
            limit >> 20,
            wrote.inserts * 1_000_000 / wrote.micros,
            wrote.bytes as f64 / wrote.micros as f64,
            wrote.slowest_ms,
        ));
    }
    say(&format!(
        "limit {} MiB: {:.1} times as much written, at most {:.1} % taken, {:.1} % live",
        limit >> 20,
        total as f64 / limit as f64,
        most as f64 * 100.0 / limit as f64,
        live as f64 * 100.0 / limit as f64
    ));
    assert_within(most, limit);
    for wrote in &wrote {
        assert_eq!(wrote.full, 0, "a write had no room though nobody keeps a snapshot");
        assert_eq!(wrote.lost, 0, "an entry written a moment ago was evicted");
    }
    if total as u64 > limit * 3 / 2 {
        // Values of a bit more than half a page take a whole one, so that only about half of the bytes can be live. And
        // the smallest store has to evict more to find room in one piece.
        let least = match (limit >> 20, high) {
            (1, _) => limit / 6,
            (_, ..8192) => limit / 4,
            _ => limit * 2 / 5,
        };
        assert!(live >= least, "only {live} of {limit} bytes are live");
    }
}

/// Whether any process reads a snapshot now: the words in the slots of the control file, behind the head of 4096 bytes.
fn is_pinned(dir: &Path) -> bool {
    let control = std::fs::read(dir.join("control")).unwrap();
    let slots = control[4096..].chunks(1024).take(16);
    slots.flat_map(|slot| &slot[64..64 + 64 * 8]).any(|byte| *byte != 0)
}

/// Starts a process that makes backups, and stops it in the midst of one: it keeps a snapshot open until it goes on.
fn stopped_saver(dir: &Path, to: &Path) -> Peer {
    let mut saver = Peer::start("saver", &[dir.to_str().unwrap(), to.to_str().unwrap()]);
    saver.expect("open");
    let since = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(7));
        saver.stop();
        if is_pinned(dir) {
            return saver;
        }
        saver.resume();
        assert!(since.elapsed() < Duration::from_secs(60), "no backup was met in its midst");
    }
}

/// Whether each of two writers, whose turns these are, has written more than a few entries.
fn both_went_on(wrote: &[Wrote]) -> bool {
    (0..2).all(|writer| wrote.iter().skip(writer).step_by(2).map(|wrote| wrote.inserts).sum::<usize>() > 20)
}

fn while_pinned() {
    let limit: u64 = 16 << 20;
    let (root, dir) = store();
    let mut peers = start_writers(&dir, 2, limit, 1_000, 30_000);
    let ((told, kept), most) = measured(&dir, || {
        let mut write = |time: u64| -> Vec<Wrote> {
            peers.iter_mut().for_each(|peer| peer.say(&format!("write {time}")));
            peers.iter_mut().map(what_was_written).collect()
        };
        let before = write(1_000);
        let mut saver = stopped_saver(&dir, root.path());
        let mut pinned = write(by_form(7_000, 20_000));
        // However slow the disk is.
        let since = Instant::now();
        while pinned.iter().all(|wrote| wrote.full == 0) && since.elapsed() < Duration::from_secs(60) {
            pinned.extend(write(2_000));
        }
        let kept = live_bytes(&dir);
        saver.resume();
        // Right away.
        let mut after = write(2_000);
        // However slow the disk is.
        let since = Instant::now();
        while !both_went_on(&after) && since.elapsed() < Duration::from_secs(60) {
            after.extend(write(2_000));
        }
        saver.ask("end", "made");
        assert!(saver.finish().success());
        ((before, pinned, after), kept)
    });
    let (before, pinned, after) = told;
    end(peers);
    assert_within(most, limit);
    let sum = |all: &[Wrote], of: fn(&Wrote) -> usize| all.iter().map(of).sum::<usize>();
    let full = sum(&pinned, |wrote| wrote.full);
    say(&format!(
        "with a pin: {} inserts before, {} while pinned with {full} refused as full (the slowest {} ms), {} after; at \
         most {:.1} % taken; {:.1} % live at the end of the pin",
        sum(&before, |wrote| wrote.inserts),
        sum(&pinned, |wrote| wrote.inserts),
        pinned.iter().map(|wrote| wrote.slowest_ms).max().unwrap(),
        sum(&after, |wrote| wrote.inserts),
        most as f64 * 100.0 / limit as f64,
        kept as f64 * 100.0 / limit as f64,
    ));
    assert!(kept >= limit / 4, "in vain, all but {kept} of {limit} bytes were evicted");
    assert!(full > 0, "so long a pin must have used up all room: the test tests nothing");
    assert_eq!(sum(&before, |wrote| wrote.full) + sum(&after, |wrote| wrote.full), 0);
    assert!(both_went_on(&after), "writes work again");
    let live = live_bytes(&dir);
    assert!(live >= limit / 4, "only {live} of {limit} bytes are in use two seconds after the pin");
}

/// While a snapshot is kept open, what is written stays in the log. It will need room in the data file as well.
fn large_while_pinned() {
    let limit: u64 = 4 << 20;
    let (root, dir) = store();
    let cache = ByteCache::builder(&dir).max_bytes(limit).open().unwrap();
    let ((), most) = measured(&dir, || {
        (0..200).for_each(|n| cache.insert(&key(0, n), &value(0, n, 4_000, 4_000), 0, None).unwrap());
        let mut saver = stopped_saver(&dir, root.path());
        // A fold of these makes the snapshot an old one; the next has to wait.
        (200..210).for_each(|n| cache.insert(&key(0, n), &value(0, n, 100, 100), 0, None).unwrap());
        std::thread::sleep(Duration::from_millis(1_500));
        cache
            .insert(&key(1, 0), &value(1, 0, limit as usize / 4 - 200, limit as usize / 4 - 200), 0, None)
            .unwrap();
        let full =
            (210..20_000).find_map(|n| cache.insert(&key(0, n), &value(0, n, 1_000, 1_000), 0, None).err());
        assert!(full.is_some_and(|error| error.is_store_full()), "the log has grown beyond the limit");
        saver.resume();
        saver.ask("end", "made");
        assert!(saver.finish().success());
        (20_000..20_200).for_each(|n| cache.insert(&key(0, n), &value(0, n, 1_000, 1_000), 0, None).unwrap());
    });
    say(&format!(
        "a large value in the log under a pin: at most {:.1} % taken",
        most as f64 * 100.0 / limit as f64
    ));
    assert_within(most, limit);
}

/// Makes one backup after the other until told to stop, and looks at each.
fn saver(arguments: &[String]) {
    let [dir, to] = arguments else { panic!("two arguments") };
    let cache = ByteCache::builder(dir).open().unwrap();
    tell("open");
    let over = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let mut made = 0;
            while !over.load(Ordering::Relaxed) {
                let to = Path::new(to).join(format!("backup {made}"));
                cache.backup(&to).unwrap();
                let copy = ByteCache::builder(&to).open().unwrap();
                assert!(copy.verify().unwrap().is_clean());
                drop(copy);
                std::fs::remove_dir_all(&to).unwrap();
                made += 1;
            }
            made
        });
        orders().next();
        over.store(true, Ordering::Relaxed);
        work.join().unwrap()
    });
    drop(cache);
    tell(&format!("made {made}"));
}

fn during_backups() {
    let limit: u64 = 16 << 20;
    let (root, dir) = store();
    let mut peers = start_writers(&dir, 2, limit, 1_000, 30_000);
    let ((wrote, made), most) = measured(&dir, || {
        let mut saver = Peer::start("saver", &[dir.to_str().unwrap(), root.path().to_str().unwrap()]);
        saver.expect("open");
        peers.iter_mut().for_each(|peer| peer.say(&format!("write {}", by_form(3_000, 15_000))));
        let wrote: Vec<Wrote> = peers.iter_mut().map(what_was_written).collect();
        let made: usize = saver.ask("end", "made").parse().unwrap();
        assert!(saver.finish().success());
        (wrote, made)
    });
    end(peers);
    let (inserts, full) =
        (wrote.iter().map(|w| w.inserts).sum::<usize>(), wrote.iter().map(|w| w.full).sum::<usize>());
    say(&format!(
        "{made} backups during {inserts} inserts, {full} refused as full; at most {:.1} % taken",
        most as f64 * 100.0 / limit as f64
    ));
    assert_within(most, limit);
    assert!(made > 0 && inserts > 100);
    assert!(full * 20 < inserts, "backups make writers fail: {full} of {inserts}");
}

fn killed_writers() {
    let limit: u64 = 4 << 20;
    let (_root, dir) = store();
    let (_, most) = measured(&dir, || {
        let mut dice = Dice::new(1);
        for _ in 0..by_form(8, 60) {
            let mut peers = start_writers(&dir, 2, limit, 1_000, 20_000);
            peers.iter_mut().for_each(|peer| peer.say("write 60000"));
            std::thread::sleep(Duration::from_millis(dice.between(50, 250) as u64));
            // Both at once, with their pins and in the midst of writing.
            peers.iter_mut().for_each(Peer::kill);
        }
    });
    let mut peers = start_writers(&dir, 1, limit, 1_000, 20_000);
    // However slow the disk is.
    let (mut inserts, mut bytes, since) = (0, 0, Instant::now());
    while bytes < 2 * limit as usize && since.elapsed() < Duration::from_secs(60) {
        peers[0].say("write 500");
        let wrote = what_was_written(&mut peers[0]);
        assert_eq!(wrote.full, 0);
        inserts += wrote.inserts;
        bytes += wrote.bytes;
    }
    end(peers);
    assert!(inserts > 50, "{inserts}");
    assert!(bytes >= 2 * limit as usize, "only {bytes} bytes were written in {:?}", since.elapsed());
    assert_within(most, limit);
    assert!(live_bytes(&dir) >= limit / 2);
}

/// Does single operations as told, on a store with a limit on entries.
fn teller(arguments: &[String]) {
    let [dir, limit] = arguments else { panic!("two arguments") };
    let limit: u64 = limit.parse().unwrap();
    let cache = ByteCache::builder(dir).max_entries(limit).open().unwrap();
    tell("open");
    for order in orders() {
        let (order, n) = order.split_once(' ').unwrap_or((&order, ""));
        match order {
            "insert" => {
                cache.insert(n.as_bytes(), n.as_bytes(), 0, None).unwrap();
                tell(&format!("len {}", cache.len().unwrap()));
            }
            "get" => tell(&format!("got {}", cache.get(n.as_bytes()).unwrap().is_some())),
            "contains" => tell(&format!("has {}", cache.contains(n.as_bytes()).unwrap())),
            "flush" => {
                cache.checkpoint().unwrap();
                tell("flushed");
            }
            _ => break,
        }
    }
    tell("closed");
}

fn two_tellers(dir: &Path, limit: usize) -> [Peer; 2] {
    [0, 1].map(|_| {
        let mut peer = Peer::start("teller", &[dir.to_str().unwrap(), &limit.to_string()]);
        peer.expect("open");
        peer
    })
}

fn exact_entries() {
    for limit in [1, 2, 3, 7, 20, 63] {
        let (_root, dir) = store();
        let mut tellers = two_tellers(&dir, limit);
        for n in 0..limit * 2 + 5 {
            let len: usize = tellers[n % 2].ask(&format!("insert {n}"), "len").parse().unwrap();
            assert_eq!(len, limit.min(n + 1), "limit {limit}, after {n}");
        }
        // Replacing evicts nobody.
        let last = limit * 2 + 4;
        assert_eq!(tellers[0].ask(&format!("insert {last}"), "len"), limit.to_string());
        assert_eq!(tellers[1].ask(&format!("contains {last}"), "has"), "true");
        // Nor does it matter who is asked.
        assert_eq!(tellers[1].ask(&format!("insert {last}"), "len"), limit.to_string());
    }
}

fn evicted_by_access() {
    let (_root, dir) = store();
    let [mut one, mut other] = two_tellers(&dir, 10);
    // Much longer than the grain of the clock that accesses are told by.
    let pause = || std::thread::sleep(Duration::from_millis(60));
    for n in 0..10 {
        one.ask(&format!("insert {n}"), "len");
        pause();
    }
    // The other process reads some of them, in another order, and writes that down.
    for n in [2, 0, 5] {
        assert_eq!(other.ask(&format!("get {n}"), "got"), "true");
        pause();
    }
    other.ask("flush", "flushed");
    // A look that is not an access does not count.
    assert_eq!(other.ask("contains 1", "has"), "true");
    let mut gone = Vec::new();
    for n in 10..20 {
        assert_eq!(one.ask(&format!("insert {n}"), "len"), "10");
        pause();
        for old in 0..10 {
            if !gone.contains(&old) && one.ask(&format!("contains {old}"), "has") == "false" {
                gone.push(old);
            }
        }
    }
    assert_eq!(gone, [1, 3, 4, 6, 7, 8, 9, 2, 0, 5]);
}

/// The least recently read entry of the store is found without a look at each namespace.
fn many_namespaces() {
    let namespaces: usize = by_form(4_000, 16_000);
    let (_root, dir) = store();
    let limit = namespaces as u64 * 1_100;
    let open = |number: usize, limit: u64| {
        ByteCache::builder(&dir).max_bytes(limit).namespace(number.to_string()).open().unwrap()
    };
    let first = open(0, limit);
    let mut handles = Vec::new();
    // Until the first of them are evicted; the handles of the last stay open.
    let slowest = Cell::new(Duration::ZERO);
    let value = [7; 400];
    let insert = |cache: &ByteCache, n: usize| {
        let begun = Instant::now();
        cache.insert(&key(0, n), &value, 0, None).unwrap();
        slowest.set(slowest.get().max(begun.elapsed()));
    };
    for number in 1..=namespaces {
        let cache = open(number, limit);
        insert(&cache, 0);
        if number + 100 > namespaces {
            handles.push(cache);
        }
    }
    let (mut written, since) = (0, Instant::now());
    while written < namespaces / 2 {
        insert(&handles[written % 100], written);
        written += 1;
    }
    let took = since.elapsed();
    let evicted = (1..=namespaces).map(|number| !open(number, limit).contains(&key(0, 0)).unwrap());
    let evicted: Vec<bool> = evicted.collect();
    let count = evicted.iter().filter(|is| **is).count();
    let last = evicted.iter().rposition(|is| *is).unwrap();
    let slowest = slowest.get();
    say(&format!(
        "{namespaces} namespaces: {} writes/s, the slowest {} ms; {count} evicted, the last of them at {last}",
        written * 1_000 / took.as_millis() as usize,
        slowest.as_millis()
    ));
    assert!(slowest < Duration::from_secs(by_form(5, 2)), "one write took {slowest:?}");
    assert!(count > namespaces / 20, "the test evicts too little: {count}");
    // In their order, but for what was evicted before all of them had been looked at.
    assert!(last < count + namespaces / 8, "{count} evicted, and of those the last at {last}");
    // What is cleared has its room freed at the same cost.
    handles.iter().for_each(|cache| cache.clear().unwrap());
    insert(&first, 0);
    assert!(first.verify().unwrap().is_clean());
}

/// Access times are part of the entries, so writing them down takes as much room as the entries do.
fn read_everything() {
    let limit: u64 = 16 << 20;
    let (_root, dir) = store();
    for maintenance in [Maintenance::Manual, Maintenance::Background] {
        let open = || ByteCache::builder(&dir).max_bytes(limit).maintenance(maintenance).open().unwrap();
        let cache = open();
        let mut next = 0;
        for round in 0..4 {
            while next < 400 * (round + 1) {
                cache.insert(&key(0, next), &value(0, next, 1_000, 60_000), 0, None).unwrap();
                next += 1;
            }
            let there = (0..next).filter(|n| cache.get(&key(0, *n)).unwrap().is_some()).count();
            assert!(there > 100, "{there}");
            // Also all the access times at once.
            if round % 2 == 1 {
                cache.checkpoint().unwrap();
            }
        }
        // What was read last is what is kept.
        let there: Vec<usize> = (0..next).filter(|n| cache.contains(&key(0, *n)).unwrap()).collect();
        for n in &there[..20] {
            assert!(cache.get(&key(0, *n)).unwrap().is_some());
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..there.len() / 2 {
            cache.insert(&key(0, next), &value(0, next, 20_000, 40_000), 0, None).unwrap();
            next += 1;
        }
        assert!(there[..20].iter().all(|n| cache.contains(&key(0, *n)).unwrap()));
        assert!(cache.verify().unwrap().is_clean());
        cache.close().unwrap();
        let cache = open();
        assert!(there[..20].iter().all(|n| cache.contains(&key(0, *n)).unwrap()));
        cache.clear().unwrap();
        cache.close().unwrap();
    }
}

/// What is written under a limit.
#[derive(Clone, Copy)]
struct Churn {
    limit: u64,
    /// Bytes of a value, from and to; each power of two between is as likely.
    low: usize,
    high: usize,
    /// Keys are written again after so many; 0 for never.
    keys: usize,
    is_sealed: bool,
}

/// Arguments: directory, number, `Churn` field by field. Told `write <bytes> <millis>`, it writes until it has written so
/// much and for so long at most, and tells what came of it.
fn churner(arguments: &[String]) {
    let [dir, rest @ ..] = arguments else { panic!("seven arguments") };
    let numbers: Vec<usize> = rest.iter().map(|number| number.parse().unwrap()).collect();
    let [number, limit, low, high, keys, is_sealed] = numbers[..] else { panic!("seven arguments") };
    let mut builder = ByteCache::builder(dir).max_bytes(limit as u64);
    if is_sealed == 1 {
        builder = builder.encryption(cachemere::Secret::key([7; 32]));
    }
    let cache = builder.open().unwrap();
    tell("open");
    let mut dice = Dice::new(number as u64);
    let mut next = 0;
    for order in orders() {
        let Some(order) = order.strip_prefix("write ") else { break };
        let (most, millis) = order.split_once(' ').unwrap();
        let (most, millis): (usize, u64) = (most.parse().unwrap(), millis.parse().unwrap());
        let (since, mut bytes, mut refused, mut times) = (Instant::now(), 0, 0, Vec::new());
        while bytes < most && since.elapsed() < Duration::from_millis(millis) {
            let octave = dice.between(low.ilog2() as usize, high.ilog2() as usize);
            let len = dice.between(1 << octave, (2 << octave) - 1).clamp(low, high);
            let value = dice.bytes(len);
            let key = key(number, if keys == 0 { next } else { dice.below(keys) });
            next += 1;
            let begun = Instant::now();
            let inserted = cache.insert(&key, &value, 0, None);
            times.push(begun.elapsed());
            match inserted {
                Ok(()) => bytes += value.len(),
                Err(error) => {
                    say(&format!("refused {} bytes: {error}", value.len()));
                    refused += 1;
                }
            }
            assert!(cache.get(&key).unwrap().is_none_or(|found| found.payload == value));
        }
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
        tell(&format!("wrote {} {bytes} {refused} {} {} {}", times.len(), at(0.5), at(0.99), at(1.0)));
    }
    cache.close().unwrap();
    tell("closed");
}

/// What came of it, and the most bytes that the files took.
struct Churned {
    inserts: usize,
    refused: usize,
    /// The 99th percentile of a write of the slowest process.
    p99: Duration,
    most: u64,
    live: u64,
}

fn churn(dir: &Path, churn: Churn, processes: usize, times_the_limit: u64) -> Churned {
    let Churn { limit, low, high, keys, is_sealed } = churn;
    let start = |number: usize| {
        let numbers = [number, limit as usize, low, high, keys, is_sealed.into()].map(|n| n.to_string());
        let mut arguments = vec![dir.to_str().unwrap()];
        arguments.extend(numbers.iter().map(String::as_str));
        let mut peer = Peer::start("churner", &arguments);
        peer.expect("open");
        peer
    };
    let mut peers: Vec<Peer> = (0..processes).map(start).collect();
    let bytes = limit * times_the_limit / processes as u64;
    let since = Instant::now();
    let (told, most) = measured(dir, || {
        let order = format!("write {bytes} {}", by_form(2_000, 60_000));
        peers.iter_mut().for_each(|peer| peer.say(&order));
        peers.iter_mut().map(|peer| peer.expect("wrote")).collect::<Vec<_>>()
    });
    let took = since.elapsed();
    let told: Vec<Vec<usize>> =
        told.iter().map(|told| told.split(' ').map(|number| number.parse().unwrap()).collect()).collect();
    let sum = |of: usize| told.iter().map(|told| told[of]).sum::<usize>();
    let highest = |of: usize| told.iter().map(|told| told[of]).max().unwrap();
    let mut builder = ByteCache::builder(dir);
    if is_sealed {
        builder = builder.encryption(cachemere::Secret::key([7; 32]));
    }
    let cache = builder.open().unwrap();
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    let mut live = 0;
    let mut position = ScanPosition::default();
    loop {
        let chunk = cache.scan(&mut position).unwrap();
        if chunk.is_empty() {
            break;
        }
        live += chunk.iter().map(|entry| entry.as_ref().unwrap().payload.len() as u64).sum::<u64>();
    }
    let stats = cache.stats().unwrap();
    let part = |bytes: u64| bytes as f64 * 100.0 / limit as f64;
    say(&format!(
        "pages of records {:.1} %, log {:.1} %, free {:.1} %",
        part(stats.record_bytes),
        part(stats.log_bytes),
        part(stats.free_bytes)
    ));
    drop(cache);
    end(peers);
    let churned = Churned {
        inserts: sum(0),
        refused: sum(2),
        p99: Duration::from_micros(highest(4) as u64),
        most,
        live,
    };
    say(&format!(
        "limit {} MiB, values of {low} to {high}, {processes} processes{}{}: {} inserts/s, p50 {} us, p99 {} us, slowest {} ms, \
         {} refused; at most {:.1} % taken, {:.1} % values of {:.1} times the limit written",
        limit >> 20,
        if keys == 0 { "" } else { ", overwriting" },
        if is_sealed { ", encrypted" } else { "" },
        churned.inserts * 1_000_000 / took.as_micros() as usize,
        highest(3),
        churned.p99.as_micros(),
        highest(5) / 1000,
        churned.refused,
        most as f64 * 100.0 / limit as f64,
        live as f64 * 100.0 / limit as f64,
        sum(1) as f64 / limit as f64,
    ));
    churned
}

fn assert_taken(churned: &Churned, Churn { limit, high, .. }: Churn) {
    assert_eq!(churned.refused, 0, "a write was refused though everything can be evicted");
    assert_within(churned.most, limit);
    // Much more than what is promised of a quiet machine; values of megabytes take some milliseconds to copy twice.
    let most = if high < 1 << 16 { 100 } else { 1_000 };
    assert!(churned.p99 < Duration::from_millis(most), "{:?}", churned.p99);
    assert!(churned.inserts > 10);
}

fn any_mixture() {
    let limits: &[u64] = by_form(&[4, 8, 32], &[4, 8, 16, 64, 256, 1024]);
    for limit in limits.iter().map(|mib| mib << 20) {
        let quarter = limit as usize / 4 - 100;
        let kinds = [
            (50, 500, 0),
            (100, 100, 0),
            (900, 900, 2_000),
            (1, quarter, 0),
            (1, quarter, 50),
            (quarter, quarter, 0),
        ];
        for (n, (low, high, keys)) in kinds.into_iter().enumerate() {
            let (_root, dir) = store();
            let kind = Churn { limit, low, high, keys, is_sealed: n % 2 == 1 };
            assert_taken(&churn(&dir, kind, 1, 3), kind);
        }
    }
}

fn four_and_a_walk() {
    let limits: &[u64] = by_form(&[4, 16], &[4, 16, 64, 256]);
    for limit in limits.iter().map(|mib| mib << 20) {
        let quarter = limit as usize / 4 - 100;
        for (low, high, keys) in [(1, quarter, 0), (100, 1_000, 10_000), (quarter / 2, quarter, 0)] {
            let (_root, dir) = store();
            let cache = ByteCache::builder(&dir).max_bytes(limit).open().unwrap();
            for n in 0..5_000 {
                cache.insert(&key(9, n), b"old", 0, None).unwrap();
            }
            let mut position = ScanPosition::default();
            assert!(!cache.scan(&mut position).unwrap().is_empty());
            let kind = Churn { limit, low, high, keys, is_sealed: false };
            assert_taken(&churn(&dir, kind, 4, 3), kind);
            // It goes on, over what is there now.
            while !cache.scan(&mut position).unwrap().is_empty() {}
        }
    }
}

/// Three values of a bit more than 1 KB find room in a page, and pages are kept nearly full.
fn mostly_values() {
    let limits: &[u64] = by_form(&[8, 16], &[4, 16, 64, 256]);
    for limit in limits.iter().map(|mib| mib << 20) {
        let (_root, dir) = store();
        let kind = Churn { limit, low: 1_024, high: 1_024, keys: 0, is_sealed: false };
        let churned = churn(&dir, kind, 1, 4);
        assert_taken(&churned, kind);
        // A larger part of the least limits is the log.
        let part = if limit < 16 << 20 { 50 } else { 55 };
        assert!(churned.live >= limit / 100 * part, "only {} of {limit} bytes are values", churned.live);
    }
}

/// Its figures are printed: on a quiet machine, `cargo test --release --test limits four_writers -- --nocapture`.
fn four_writers() {
    for len in [100, 1_024] {
        let (_root, dir) = store();
        let kind = Churn { limit: 32 << 20, low: len, high: len, keys: 0, is_sealed: false };
        let churned = churn(&dir, kind, 4, 6);
        assert_taken(&churned, kind);
        assert!(churned.inserts > by_form(1_000, 20_000), "only {} writes", churned.inserts);
    }
}

/// Without a limit nothing is evicted, and the map that the store was opened with is full in the end.
fn full_map() {
    let (_root, dir) = store();
    let map = 8 << 20;
    let open = || ByteCache::builder(&dir).map_size(map).open().unwrap();
    let mut cache = open();
    let there = |cache: &ByteCache, n: usize| {
        cache.get(&key(0, n)).unwrap().is_some_and(|found| found.payload == value(0, n, 100, 20_000))
    };
    let (mut first, mut next) = (0, 0);
    for round in 0..by_form(4, 20) {
        let error = loop {
            match cache.insert(&key(0, next), &value(0, next, 100, 20_000), 0, None) {
                Ok(()) => next += 1,
                Err(error) => break error,
            }
            assert!(next < 100_000, "the map is never full");
        };
        assert!(error.is_store_full() && error.to_string().contains("map_size"), "{error:?}");
        assert!((first..next).all(|n| there(&cache, n)));
        if round % 2 == 1 {
            cache.close().unwrap();
            cache = open();
            assert!((first..next).all(|n| there(&cache, n)));
        }
        // Whatever removes goes on, and makes room.
        let half = first + (next - first) / 2;
        for n in first..half {
            assert!(cache.remove(&key(0, n)).unwrap());
        }
        first = half;
        for _ in 0..20 {
            cache.insert(&key(0, next), &value(0, next, 100, 20_000), 0, None).unwrap();
            next += 1;
        }
        assert!((first..next).all(|n| there(&cache, n)));
        assert!(cache.verify().unwrap().is_clean());
    }
    let bytes = size_of(&dir);
    assert!(bytes <= map as u64 * 3 / 2, "{bytes} bytes taken, with a map of {map}");
}
