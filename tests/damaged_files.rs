//! Damaged files, in thousands of variants: whatever is read from them is right or an error.
//!
//! Each variant is a copy of a sound store with one kind of damage. A child process opens it, gets every key, goes
//! through all entries and verifies; it does so for variant after variant until one kills it, and then another child goes
//! on behind that. Nothing that is checked before LMDB maps the file may kill a process: damage of lengths, of meta
//! pages, of side files, of entries and other records. For damage of LMDB's inner pages it is counted only, see
//! `docs/SECURITY.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use cachemere::{ByteBuilder, ByteCache, Error, Maintenance, ScanPosition, Secret, Zstd};
use damage_support::lmdb::{Kind, META_BYTES, PAGE, Snapshot};
use damage_support::{Dice, HANG, Peer, Place, by_form, copy_files, main_with, quick_dir, say, seed, tell};

fn main() {
    main_with(
        |role, arguments| match role {
            "maker" => maker(arguments),
            "victim" => victim(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("a_cut_or_grown_data_file_is_an_error_or_right", cut_or_grown),
            ("damaged_meta_pages_are_an_error_or_harmless", damaged_metas),
            ("every_damaged_payload_is_noticed_and_harms_no_other", damaged_payloads),
            ("damaged_headers_and_keys_of_entries_never_give_a_wrong_value", damaged_headers),
            ("damaged_records_of_the_store_never_give_a_wrong_value", damaged_records),
            ("a_damaged_checkpoint_file_never_gives_a_wrong_value", damaged_checkpoint),
            ("damaged_lock_files_do_no_harm", damaged_locks),
            ("random_files_are_refused", random_files),
            ("damaged_inner_pages_never_give_a_wrong_value", damaged_pages),
        ],
    );
}

// ---- The sound stores.

const KEYS: usize = 100;
/// Of what a sound store can be: its content is the same in all.
const STORES: [&str; 3] = ["plain", "sealed", "listed"];

fn key(n: usize) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

fn value(n: usize) -> Vec<u8> {
    let mut dice = Dice::new(n as u64 + 1);
    let len = match n % 8 {
        0 => dice.between(4_000, 12_000),
        1..=4 => dice.between(20, 150),
        _ => dice.between(150, 900),
    };
    dice.bytes(len)
}

/// What a key had before; parts of it are still in the file.
fn early_value(n: usize) -> Vec<u8> {
    let mut dice = Dice::new((n as u64 + 1) << 20);
    let len = dice.between(10, 3_000);
    dice.bytes(len)
}

fn builder(kind: &str, dir: &Path) -> ByteBuilder {
    let builder = ByteCache::builder(dir).maintenance(Maintenance::Manual).map_size(64 << 20);
    match kind {
        "plain" => builder,
        "sealed" => builder.encryption(Secret::key([5; 32])).compression(Zstd::default()),
        "listed" => builder.max_bytes(32 << 20).time_to_idle(Duration::from_secs(86_400)),
        _ => panic!("no such store: {kind}"),
    }
}

/// Makes a sound store with free pages and earlier versions in its file. It is closed, or left open by a kill.
///
/// LMDB's meta pages have no checksum: a bit that is flipped in the number of the newest transaction can make the one
/// before the newest. So the last transactions here do not change the content.
fn maker(arguments: &[String]) {
    let [dir, kind, end] = arguments else { panic!("three arguments") };
    let cache = builder(kind, Path::new(dir)).open().unwrap();
    for n in 0..KEYS {
        cache.insert(&key(n), &early_value(n), 0, None).unwrap();
    }
    let mut dice = Dice::new(7);
    let filler: Vec<(Vec<u8>, Vec<u8>)> = (KEYS..KEYS + 30).map(|n| (key(n), dice.bytes(4_000))).collect();
    cache.insert_many(filler.iter().map(|(k, v)| (&k[..], v.to_vec(), 0)), None).unwrap();
    for n in KEYS..KEYS + 30 {
        cache.remove(&key(n)).unwrap();
    }
    // Both recorded checkpoints have the same content, and the same has been written over the pages of the older since.
    let rewrite = || {
        for first in (0..KEYS).step_by(20) {
            let some: Vec<(Vec<u8>, Vec<u8>)> = (first..first + 20).map(|n| (key(n), value(n))).collect();
            cache.insert_many(some.iter().map(|(k, v)| (&k[..], v.to_vec(), 0)), None).unwrap();
        }
    };
    rewrite();
    cache.checkpoint().unwrap();
    rewrite();
    cache.checkpoint().unwrap();
    rewrite();
    rewrite();
    assert!(cache.verify().unwrap().is_clean());
    if end == "closed" {
        drop(cache);
    } else {
        std::process::abort();
    }
}

/// The sound stores, made once: by kind, and whether they were closed.
static SOUND: LazyLock<(tempfile::TempDir, u64)> = LazyLock::new(|| {
    let root = quick_dir();
    for kind in STORES {
        for end in ["closed", "killed"] {
            let dir = root.path().join(format!("{kind}-{end}"));
            let mut peer = Peer::start("maker", &[dir.to_str().unwrap(), kind, end]);
            assert_eq!(peer.wait().success(), end == "closed");
        }
    }
    std::fs::write(root.path().join("boot"), "another boot").unwrap();
    (root, seed())
});

// ---- Damage.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Length,
    Meta,
    Payload,
    EntryHeader,
    Record,
    Checkpoint,
    Locks,
    Random,
    Inner,
}

const CLASSES: [Class; 9] = [
    Class::Length,
    Class::Meta,
    Class::Payload,
    Class::EntryHeader,
    Class::Record,
    Class::Checkpoint,
    Class::Locks,
    Class::Random,
    Class::Inner,
];

fn flip(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    bytes[at] ^= 1 << dice.below(8);
}

/// One to three bits, or a byte, or a run of bytes, somewhere in the range.
fn disturb(bytes: &mut [u8], range: std::ops::Range<usize>, dice: &mut Dice) {
    let at = range.start + dice.below(range.len());
    match dice.below(10) {
        0..=5 => flip(bytes, at, dice),
        6 => (0..3).for_each(|_| {
            let at = range.start + dice.below(range.len());
            flip(bytes, at, dice);
        }),
        7 => bytes[at] = bytes[at].wrapping_add(1 + dice.below(255) as u8),
        8 => {
            let end = range.end.min(at + 1 + dice.below(64));
            let noise = dice.bytes(end - at);
            // Never what was there.
            let same = bytes[at..end] == noise[..];
            bytes[at..end].copy_from_slice(&noise);
            bytes[at] ^= u8::from(same);
        }
        _ => {
            let end = range.end.min(at + 1 + dice.below(64));
            let zeros = bytes[at..end].iter().all(|&byte| byte == 0);
            bytes[at..end].fill(if zeros { 0xFF } else { 0 });
        }
    }
}

/// Damages a copy of a sound store; says what was done.
fn damage(class: Class, dir: &Path, snapshot: &Snapshot, dice: &mut Dice) -> String {
    let path = dir.join("data.mdb");
    let mut data = std::fs::read(&path).unwrap();
    let len = data.len();
    let told = match class {
        Class::Length => {
            let new = match dice.below(8) {
                0 => dice.below(2 * PAGE + 1),
                1 => dice.below(len / PAGE) * PAGE,
                2 => len - 1 - dice.below(PAGE),
                3 => len + dice.below(3 * PAGE),
                4 => 0,
                _ => dice.below(len),
            };
            let noise = dice.chance(50);
            data.truncate(new);
            while data.len() < new {
                data.push(if noise { dice.roll() as u8 } else { 0 });
            }
            format!("length {new} of {len}")
        }
        Class::Meta => {
            let page = dice.below(2);
            let at = page * PAGE..page * PAGE + META_BYTES;
            match dice.below(12) {
                0 => data[at].fill(0),
                1 => data[page * PAGE..(page + 1) * PAGE].copy_from_slice(&dice.bytes(PAGE)),
                2 => data.copy_within(at, (1 - page) * PAGE),
                3 => data[..2 * PAGE].fill(0),
                4..=7 => {
                    // The fields that say where the trees are and which snapshot counts.
                    let field = [64, 112, 128, 136, 144, 40, 46, 88, 94][dice.below(9)];
                    disturb(&mut data, page * PAGE + field..page * PAGE + field + 8, dice);
                }
                _ => disturb(&mut data, at, dice),
            }
            format!("meta page {page}, {} is the newest", snapshot.newest_meta)
        }
        Class::Payload | Class::EntryHeader => {
            let entries: Vec<_> = snapshot.entries().into_values().collect();
            let entry = entries[dice.below(entries.len())].clone();
            let key_len = u32::from_le_bytes(data[entry.start + 12..entry.start + 16].try_into().unwrap());
            let payload = entry.start + 80 + key_len as usize..entry.end;
            let range = if class == Class::Payload { payload } else { entry.start..payload.start };
            disturb(&mut data, range.clone(), dice);
            format!("bytes of {range:?} in the entry at {}", entry.start)
        }
        Class::Record => {
            let records: Vec<_> =
                snapshot.records.iter().filter(|r| r.key[0] != b'e' && !r.value.is_empty()).collect();
            // The few records that are not of entries come as often as all others.
            let rare: Vec<_> = records.iter().filter(|r| !b"or".contains(&r.key[0])).copied().collect();
            let from = if dice.chance(70) { &rare } else { &records };
            let record = from[dice.below(from.len())];
            disturb(&mut data, record.value.clone(), dice);
            format!("record {}", record.key.escape_ascii())
        }
        Class::Checkpoint => {
            let path = dir.join("checkpoint");
            let mut record = std::fs::read(&path).unwrap();
            let told = match dice.below(8) {
                0 => {
                    std::fs::remove_file(&path).unwrap();
                    return "no checkpoint file".into();
                }
                1 => {
                    record.truncate(dice.below(record.len() + 1));
                    format!("checkpoint of {} bytes", record.len())
                }
                2 => {
                    record = dice.bytes(dice.clone().below(3 * PAGE));
                    "random checkpoint".into()
                }
                3 => {
                    record.fill(0);
                    "zeroed checkpoint".into()
                }
                4 => {
                    (0..2).for_each(|slot| disturb(&mut record, slot * PAGE..slot * PAGE + 240, dice));
                    "both slots damaged".into()
                }
                5 => {
                    record.resize(record.len() + dice.below(9000), 0x55);
                    "longer checkpoint".into()
                }
                _ => {
                    let slot = dice.below(2);
                    disturb(&mut record, slot * PAGE..slot * PAGE + 260, dice);
                    format!("slot {slot} damaged")
                }
            };
            std::fs::write(path, record).unwrap();
            return told;
        }
        Class::Locks => {
            let names =
                ["lock.mdb", "open.lock", "users.lock", "checkpoint.lock", "sweeper.lock", "flight.lock"];
            let mut told = Vec::new();
            for name in names {
                match dice.below(4) {
                    0 => drop(std::fs::remove_file(dir.join(name))),
                    1 => std::fs::write(dir.join(name), dice.bytes(dice.clone().below(90_000))).unwrap(),
                    2 => std::fs::write(dir.join(name), vec![0xFF; dice.below(20_000)]).unwrap(),
                    _ => continue,
                }
                told.push(name);
            }
            return format!("lock files {told:?}");
        }
        Class::Random => {
            data = match dice.below(4) {
                0 => dice.bytes(len),
                1 => dice.bytes(dice.clone().below(3 * PAGE)),
                2 => vec![dice.roll() as u8; len],
                _ => {
                    // Random but for the magic numbers.
                    let mut noise = dice.bytes(len);
                    for page in 0..2 {
                        noise[page * PAGE..page * PAGE + 24]
                            .copy_from_slice(&data[page * PAGE..page * PAGE + 24]);
                    }
                    noise
                }
            };
            "random file".into()
        }
        Class::Inner => match dice.below(10) {
            0 => {
                let first = dice.between(2, len / PAGE - 1);
                let end = (first + 1 + dice.below(8)).min(len / PAGE);
                data[first * PAGE..end * PAGE].fill(0);
                format!("zeroed pages {first} to {}", end - 1)
            }
            1 => {
                let first = dice.between(2, len / PAGE - 1);
                let end = (first + 1 + dice.below(4)).min(len / PAGE);
                let noise = dice.bytes((end - first) * PAGE);
                data[first * PAGE..end * PAGE].copy_from_slice(&noise);
                format!("random pages {first} to {}", end - 1)
            }
            2 => {
                let used: Vec<usize> =
                    (2..len / PAGE).filter(|p| snapshot.kinds[*p] != Kind::Unused).collect();
                let (from, to) = (used[dice.below(used.len())], used[dice.below(used.len())]);
                data.copy_within(from * PAGE..(from + 1) * PAGE, to * PAGE);
                format!("page {from} written over page {to}")
            }
            _ => {
                let kind =
                    [Kind::Branch, Kind::Leaf, Kind::Leaf, Kind::Overflow, Kind::FreeTree][dice.below(5)];
                let pages = snapshot.pages_of(kind);
                let page = pages[dice.below(pages.len())] * PAGE;
                let lower = u16::from_ne_bytes(data[page + 12..page + 14].try_into().unwrap()) as usize;
                let range = match (kind, dice.below(4)) {
                    (Kind::Overflow, _) | (_, 0) => 0..16,
                    (_, 1) => 16..lower.clamp(18, PAGE),
                    _ => {
                        // A node's header and key.
                        let slot = 16 + dice.below((lower - 16) / 2) * 2;
                        let node = u16::from_ne_bytes(data[page + slot..page + slot + 2].try_into().unwrap())
                            as usize;
                        node..(node + 26).min(PAGE)
                    }
                };
                disturb(&mut data, page + range.start..page + range.end, dice);
                format!("{kind:?} page {}", page / PAGE)
            }
        },
    };
    std::fs::write(path, data).unwrap();
    told
}

// ---- The victim.

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Damaged { .. } => "damaged",
        Error::Tampered { .. } => "tampered",
        Error::Foreign { .. } => "foreign",
        Error::NewerFormat { .. } => "newer",
        Error::Incompatible { .. } => "incompatible",
        Error::UnknownStage { .. } => "unknown-stage",
        Error::WrongSecret { .. } | Error::MissingSecret { .. } | Error::NotEncrypted { .. } => "secret",
        Error::StoreFull { .. } => "full",
        Error::Io { .. } => "io",
        _ => "other",
    }
}

/// Arguments: the sound store, its kind, a directory to work in, class, seed, first variant, one behind the last.
fn victim(arguments: &[String]) {
    let [sound, kind, work, class, seed, from, to, rebooted] = arguments else { panic!("eight arguments") };
    let (sound, work) = (Path::new(sound), Path::new(work));
    let class = CLASSES.into_iter().find(|c| format!("{c:?}") == *class).unwrap();
    let (seed, from, to): (u64, usize, usize) =
        (seed.parse().unwrap(), from.parse().unwrap(), to.parse().unwrap());
    let data = std::fs::read(sound.join("data.mdb")).unwrap();
    let snapshot = match rebooted.as_str() {
        // Then it is the recorded snapshot that counts.
        "true" => Snapshot::at(&data, &recorded_meta(&std::fs::read(sound.join("checkpoint")).unwrap())),
        _ => Snapshot::of(&data),
    };
    let values: Vec<Vec<u8>> = (0..KEYS).map(value).collect();
    for variant in from..to {
        let dir = work.join(format!("{variant}"));
        copy_files(sound, &dir);
        let mut dice = Dice::new(seed.wrapping_add(variant as u64 * 977));
        let told = damage(class, &dir, &snapshot, &mut dice);
        tell(&format!("begin {variant} {told}"));
        let outcome = suffer(kind, &dir, class, &values);
        tell(&format!("end {outcome}"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
    tell("over");
}

/// The body of the meta page in the newest checkpoint record.
fn recorded_meta(record: &[u8]) -> Vec<u8> {
    let number =
        |slot: usize| u64::from_le_bytes(record[slot * PAGE + 16..slot * PAGE + 24].try_into().unwrap());
    let slot = usize::from(number(1) > number(0));
    record[slot * PAGE + 108..slot * PAGE + 244].to_vec()
}

/// What came of one variant, in words that [`Outcome`] reads.
fn suffer(kind: &str, dir: &Path, class: Class, values: &[Vec<u8>]) -> String {
    let cache = match builder(kind, dir).open() {
        Ok(cache) => cache,
        Err(error) => return format!("refused={}", kind_of(&error)),
    };
    let (mut right, mut missing, mut early, mut wrong, mut failed) = (0, 0, 0, 0, Vec::new());
    for (n, value) in values.iter().enumerate() {
        match cache.get(&key(n)) {
            Ok(Some(found)) if found.payload == *value => right += 1,
            Ok(Some(found)) if found.payload == early_value(n) => early += 1,
            Ok(Some(_)) => wrong += 1,
            Ok(None) => missing += 1,
            Err(error) => failed.push(kind_of(&error)),
        }
    }
    let (mut scanned, mut scan_failed) = (0, 0);
    let mut position = ScanPosition::default();
    // A damaged order can lead to an entry more than once, but a scan ends.
    for _ in 0..1000 {
        match cache.scan(&mut position) {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => {
                for entry in chunk {
                    match entry {
                        Ok(entry) if (0..KEYS).any(|n| entry.key == key(n) && entry.payload == values[n]) => {
                            scanned += 1;
                        }
                        Ok(entry)
                            if (0..KEYS).any(|n| entry.key == key(n) && entry.payload == early_value(n)) =>
                        {
                            early += 1;
                        }
                        Ok(_) => wrong += 1,
                        Err(_) => scan_failed += 1,
                    }
                }
            }
            Err(_) => {
                scan_failed += 1;
                break;
            }
        }
    }
    let verified = match cache.verify() {
        Ok(report) if report.is_clean() => "clean",
        Ok(_) => "unclean",
        Err(_) => "error",
    };
    failed.sort_unstable();
    failed.dedup();
    if class == Class::Inner {
        // Closing would write access times into the damaged tree.
        std::mem::forget(cache);
        return format!(
            "right={right} missing={missing} early={early} wrong={wrong} failed={} scanned={scanned} \
             scan_failed={scan_failed} verified={verified}",
            failed.join("+")
        );
    }
    let mut used = "untried";
    if matches!(class, Class::Locks | Class::Checkpoint) {
        // The data is as it was, so the store must be of full use.
        used = match go_on(cache, kind, dir, values) {
            true => "yes",
            false => "no",
        };
    }
    format!(
        "right={right} missing={missing} early={early} wrong={wrong} failed={} scanned={scanned} \
         scan_failed={scan_failed} verified={verified} used={used}",
        failed.join("+")
    )
}

fn go_on(cache: ByteCache, kind: &str, dir: &Path, values: &[Vec<u8>]) -> bool {
    let written = cache.insert(b"another", b"one", 0, None).is_ok() && cache.checkpoint().is_ok();
    drop(cache);
    let Ok(cache) = builder(kind, dir).open() else { return false };
    let all_there = values.iter().enumerate().all(|(n, value)| {
        cache.get(&key(n)).is_ok_and(|found| found.is_some_and(|found| found.payload == *value))
    });
    written
        && all_there
        && cache.get(b"another").is_ok_and(|found| found.is_some())
        && cache.verify().is_ok_and(|report| report.is_clean())
}

// ---- The judge.

#[derive(Default, Debug)]
#[expect(dead_code, reason = "some of it is only printed")]
struct Outcome {
    told: String,
    words: BTreeMap<String, String>,
    crash: Option<i32>,
    /// The machine has been started again since the store was used.
    rebooted: bool,
    kind: &'static str,
    end: &'static str,
}

impl Outcome {
    fn word(&self, name: &str) -> &str {
        self.words.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> usize {
        self.word(name).parse().unwrap_or(0)
    }

    /// Something is missing or was an error, but nothing says so.
    fn is_silent_loss(&self) -> bool {
        self.words.contains_key("right") && self.number("right") < KEYS && self.word("verified") == "clean"
    }
}

/// Runs the variants of a class on all sound stores, and returns what came of each.
fn run(class: Class, variants: usize) -> Vec<Outcome> {
    let (root, seed) = &*SOUND;
    let mut jobs = Vec::new();
    let settings: Vec<(&'static str, &'static str, bool)> = STORES
        .into_iter()
        .flat_map(|kind| [(kind, "closed", false), (kind, "killed", false), (kind, "killed", true)])
        .collect();
    for (place, setting) in settings.iter().enumerate() {
        let share = (variants + settings.len() - 1 - place) / settings.len();
        jobs.push((*setting, seed.wrapping_add((place as u64) << 40), share));
    }
    let (jobs, outcomes) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(((kind, end, rebooted), seed, share)) = jobs.lock().unwrap().pop() else {
                        break;
                    };
                    let done = run_share(root.path(), class, kind, end, rebooted, seed, share);
                    outcomes.lock().unwrap().extend(done);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), variants);
    report(class, &outcomes);
    for outcome in &outcomes {
        assert_eq!(outcome.number("wrong"), 0, "a wrong value: {outcome:?}");
        // LMDB's pages have no checksum. One that leads to an earlier page of the file brings back what was there, which
        // only `verify` can tell, because the two disagree about which pages are free.
        if outcome.number("early") > 0 {
            assert!(matches!(class, Class::Meta | Class::Inner), "an earlier value: {outcome:?}");
            assert_ne!(outcome.words["verified"], "clean", "an earlier value: {outcome:?}");
        }
    }
    outcomes
}

fn run_share(
    root: &Path,
    class: Class,
    kind: &'static str,
    end: &'static str,
    rebooted: bool,
    seed: u64,
    share: usize,
) -> Vec<Outcome> {
    static WORK: AtomicUsize = AtomicUsize::new(0);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let sound = root.join(format!("{kind}-{end}"));
    let boot = root.join("boot");
    while outcomes.len() < share {
        // What a child leaves open is bounded.
        let share = share.min(outcomes.len() + 60);
        let work = root.join(format!("work {}", WORK.fetch_add(1, Ordering::Relaxed)));
        let place = Place { boot_id: rebooted.then_some(&boot), ..Place::default() };
        let (class_name, seed) = (format!("{class:?}"), seed.to_string());
        let (from, to) = (outcomes.len().to_string(), share.to_string());
        let rebooted_text = rebooted.to_string();
        let arguments: [&str; 8] = [
            sound.to_str().unwrap(),
            kind,
            work.to_str().unwrap(),
            &class_name,
            &seed,
            &from,
            &to,
            &rebooted_text,
        ];
        let mut peer = Peer::start_in(place, "victim", &arguments);
        let first = outcomes.len();
        loop {
            let line = match peer.hear_within(HANG) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    peer.kill();
                    panic!("{class:?}: hangs: {:?}", outcomes.last());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = peer.wait();
                    let signal = status.signal();
                    assert!(
                        signal.is_some() && outcomes.len() > first,
                        "{class:?} of {kind}: the child ended with {status} at {:?} (mounting needs root or \
                         unprivileged user namespaces)",
                        outcomes.last()
                    );
                    outcomes.last_mut().unwrap().crash = signal;
                    break;
                }
            };
            if let Some(told) = line.strip_prefix("begin ") {
                outcomes.push(Outcome { told: told.to_owned(), rebooted, kind, end, ..Outcome::default() });
            } else if let Some(words) = line.strip_prefix("end ") {
                let words = words.split(' ').filter_map(|word| word.split_once('='));
                outcomes.last_mut().unwrap().words =
                    words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            } else {
                assert_eq!(line, "over");
                break;
            }
        }
        drop(peer);
        drop(std::fs::remove_dir_all(work));
    }
    outcomes
}

fn report(class: Class, outcomes: &[Outcome]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        let what = match (outcome.crash, outcome.word("refused")) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (_, "") if outcome.number("right") == KEYS && outcome.word("verified") == "clean" => {
                "all right".into()
            }
            (_, "") if outcome.number("right") == KEYS => "all right, and verify notices".into(),
            (_, "") if outcome.is_silent_loss() => "entries missing without a word".into(),
            (_, "") => "some errors, the others right".into(),
            (_, kind) => format!("refused as {kind}"),
        };
        *counts.entry(what).or_default() += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(what, n)| format!("{n} {what}")).collect();
    say(&format!("{class:?}: {} variants: {}", outcomes.len(), counts.join(", ")));
}

fn no_crash(outcomes: &[Outcome]) {
    let crashes: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.crash.is_some()).collect();
    assert!(crashes.is_empty(), "{} crashes, the first: {:?}", crashes.len(), crashes[0]);
}

fn no_silent_loss(outcomes: &[Outcome]) {
    let silent: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.is_silent_loss()).collect();
    assert!(silent.is_empty(), "{} silent losses, the first: {:?}", silent.len(), silent[0]);
}

fn cut_or_grown() {
    let outcomes = run(Class::Length, by_form(270, 900));
    no_crash(&outcomes);
    no_silent_loss(&outcomes);
}

fn damaged_metas() {
    let outcomes = run(Class::Meta, by_form(360, 1800));
    no_crash(&outcomes);
    no_silent_loss(&outcomes);
}

fn damaged_payloads() {
    let outcomes = run(Class::Payload, by_form(450, 900));
    no_crash(&outcomes);
    for outcome in &outcomes {
        let kind = if outcome.kind == "sealed" { "tampered" } else { "damaged" };
        assert_eq!(outcome.word("failed"), kind, "{outcome:?}");
        assert_eq!(outcome.number("right"), KEYS - 1, "{outcome:?}");
        assert_eq!((outcome.number("scanned"), outcome.number("scan_failed")), (KEYS - 1, 1), "{outcome:?}");
        assert_eq!(outcome.word("verified"), "unclean", "{outcome:?}");
    }
}

fn damaged_headers() {
    let outcomes = run(Class::EntryHeader, by_form(180, 450));
    no_crash(&outcomes);
    no_silent_loss(&outcomes);
    for outcome in &outcomes {
        assert!(outcome.number("right") >= KEYS - 1, "{outcome:?}");
    }
}

fn damaged_records() {
    let outcomes = run(Class::Record, by_form(180, 450));
    no_crash(&outcomes);
    no_silent_loss(&outcomes);
}

fn damaged_checkpoint() {
    let outcomes = run(Class::Checkpoint, by_form(180, 450));
    no_crash(&outcomes);
    no_silent_loss(&outcomes);
    for outcome in &outcomes {
        match outcome.word("refused") {
            // The content of these stores is all on the disk, so whoever may open them finds all of it.
            "" => {
                assert_eq!(outcome.number("right"), KEYS, "{outcome:?}");
                assert_eq!(outcome.word("verified"), "clean", "{outcome:?}");
                assert_eq!(outcome.word("used"), "yes", "{outcome:?}");
            }
            // With both slots damaged nobody can say whether there was a power loss, so nobody may guess.
            "damaged" | "newer" => assert!(
                ["both", "random", "checkpoint of"].iter().any(|part| outcome.told.contains(part)),
                "{outcome:?}"
            ),
            _ => panic!("{outcome:?}"),
        }
    }
}

fn damaged_locks() {
    let outcomes = run(Class::Locks, by_form(90, 270));
    no_crash(&outcomes);
    for outcome in &outcomes {
        assert_eq!(outcome.number("right"), KEYS, "{outcome:?}");
        assert_eq!(outcome.word("used"), "yes", "{outcome:?}");
    }
}

fn random_files() {
    let outcomes = run(Class::Random, by_form(90, 180));
    no_crash(&outcomes);
    for outcome in &outcomes {
        assert!(!outcome.word("refused").is_empty(), "{outcome:?}");
    }
}

fn damaged_pages() {
    let outcomes = run(Class::Inner, by_form(450, 1800));
    let crashes = outcomes.iter().filter(|outcome| outcome.crash.is_some()).count();
    say(&format!(
        "Inner: {crashes} of {} variants killed the process inside LMDB (tolerated)",
        outcomes.len()
    ));
    // Most such damage is found, or meets nothing that is read.
    assert!(crashes * 4 < outcomes.len(), "{crashes} crashes");
}
