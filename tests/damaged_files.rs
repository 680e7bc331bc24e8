//! Damaged files, in thousands of variants: whatever is read from them is right or an error.
//!
//! Each variant is a copy of a sound store with one kind of damage. A child process opens it, gets every key, goes
//! through all entries and verifies; it does so for variant after variant until one kills it, and then another child goes
//! on behind that. Nothing that is checked before LMDB maps the file may kill a process: damage of lengths, of meta
//! pages, of the log, of the other files, of entries and other records. For damage of LMDB's inner pages it is counted
//! only, see `docs/SECURITY.md`.
//!
//! What became of a damaged log is known exactly: it ends where the damage is, or is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;
#[path = "damaged_files/in_use.rs"]
mod in_use;
#[path = "damaged_files/log.rs"]
mod log;
#[path = "damaged_files/salvaged.rs"]
mod salvaged;
#[path = "damaged_files/strange.rs"]
mod strange;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use cachemere::{ByteBuilder, ByteCache, Error, Maintenance, ScanPosition, Secret, Zstd};
use damage_support::lmdb::{Kind, META_BYTES, PAGE, Snapshot};
use damage_support::{Dice, HANG, Peer, by_form, copy_files, main_with, quick_dir, say, seed, tell};
use log::{Expected, Log};

fn main() {
    main_with(
        |role, arguments| match role {
            "maker" => maker(arguments),
            "victim" => victim(arguments),
            "holder" => in_use::holder(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("a_cut_or_grown_data_file_is_an_error_or_right", cut_or_grown),
            ("damaged_meta_pages_are_an_error_or_harmless", damaged_metas),
            ("every_damaged_payload_is_noticed_and_harms_no_other", damaged_payloads),
            ("damaged_headers_and_keys_of_entries_never_give_a_wrong_value", damaged_headers),
            ("damaged_records_of_the_store_never_give_a_wrong_value", damaged_records),
            ("a_damaged_log_ends_there_or_is_refused_and_nothing_else_is_lost", damaged_log),
            ("damaged_control_and_lock_files_do_no_harm", damaged_locks),
            ("what_is_no_file_of_ours_is_refused_and_harms_nothing", strange::refused),
            ("a_control_file_that_is_exchanged_in_use_lets_nobody_else_in", in_use::control_exchanged),
            (
                "a_control_file_from_before_is_not_joined_because_of_a_reader",
                in_use::reader_beside_old_control,
            ),
            ("segments_that_are_exchanged_in_use_are_an_error_and_no_loss", in_use::segments_exchanged),
            ("random_files_are_refused", random_files),
            ("damaged_inner_pages_never_give_a_wrong_value", damaged_pages),
            ("what_can_be_read_of_a_damaged_store_is_salvaged_and_the_rest_is_counted", salvaged::every_kind),
            ("an_entry_that_is_damaged_is_lost_alone_and_named", salvaged::payloads),
            ("a_store_whose_roots_are_lost_is_salvaged_whole", salvaged::roots),
            ("a_store_that_lacks_files_is_salvaged_as_far_as_it_is_there", salvaged::lacking),
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

/// Makes a part of a sound store, in a process of its own for each. The data file has free pages and earlier versions in
/// it. The last of it is in the log alone, as processes leave it that are killed.
///
/// LMDB's meta pages have no checksum: a bit that is flipped in the number of the newest transaction can make the one
/// before the newest. So the last transactions of the data file do not change the content.
fn maker(arguments: &[String]) {
    let [dir, kind, part] = arguments else { panic!("three arguments") };
    let dir = Path::new(dir);
    // Closing brings into LMDB what was written.
    let folded = |work: &dyn Fn(&ByteCache)| {
        let cache = builder(kind, dir).open().unwrap();
        work(&cache);
        cache.close().unwrap();
    };
    match part.parse::<usize>() {
        Ok(part) => {
            let cache = builder(kind, dir).open().unwrap();
            log::write(&cache, log::PARTS[part].clone());
            assert!(cache.verify().unwrap().is_clean());
            std::process::abort();
        }
        Err(_) => {
            folded(&|cache| {
                for n in 0..KEYS {
                    cache.insert(&key(n), &early_value(n), 0, None).unwrap();
                }
            });
            let mut dice = Dice::new(7);
            let filler: Vec<_> = (KEYS..KEYS + 30).map(|n| (key(n), dice.bytes(4_000))).collect();
            folded(&|cache| {
                cache.insert_many(filler.iter().map(|(k, v)| (&k[..], v.clone(), 0)), None).unwrap();
            });
            folded(&|cache| (KEYS..KEYS + 30).for_each(|n| assert!(cache.remove(&key(n)).unwrap())));
            if part == "logged" {
                folded(&|cache| log::write(cache, log::PARTS[0].clone()));
            }
            // Both meta pages have the same content, and the same has been written over older pages.
            for round in 0..4 {
                folded(&|cache| {
                    for first in (0..KEYS).step_by(20) {
                        let some: Vec<_> = (first..first + 20).map(|n| (key(n), value(n))).collect();
                        cache.insert_many(some.iter().map(|(k, v)| (&k[..], v.clone(), 0)), None).unwrap();
                    }
                    assert!(round < 3 || cache.verify().unwrap().is_clean());
                });
            }
        }
    }
}

/// Whether a sound store was closed, or has its last part in a log.
const ENDS: [&str; 2] = ["closed", "logged"];

/// The sound stores, made once: by kind, and how they ended.
static SOUND: LazyLock<(tempfile::TempDir, u64)> = LazyLock::new(|| {
    let root = quick_dir();
    for kind in STORES {
        for end in ENDS {
            let dir = root.path().join(format!("{kind}-{end}"));
            let dir = dir.to_str().unwrap();
            assert!(Peer::start("maker", &[dir, kind, end]).wait().success());
            for part in (1..log::PARTS.len()).filter(|_| end == "logged") {
                let status = Peer::start("maker", &[dir, kind, &part.to_string()]).wait();
                assert_eq!(status.signal(), Some(6), "it is killed");
            }
        }
    }
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
    Log,
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
    Class::Log,
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

/// Damages the data file of a copy of a sound store, or its lock files; says what was done.
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
        Class::Log => panic!("its damage is not of the data file"),
        Class::Locks => {
            let names = [
                "control",
                // Of version 1; they mean nothing.
                "open.lock",
                "users.lock",
                "lock.mdb",
                "checkpoint.lock",
            ];
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
                1 => dice.bytes(1 + dice.clone().below(3 * PAGE)),
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
    let [sound, kind, work, class, seed, from, to] = arguments else { panic!("seven arguments") };
    let (sound, work) = (Path::new(sound), Path::new(work));
    let class = CLASSES.into_iter().find(|c| format!("{c:?}") == *class).unwrap();
    let (seed, from, to): (u64, usize, usize) =
        (seed.parse().unwrap(), from.parse().unwrap(), to.parse().unwrap());
    let data = std::fs::read(sound.join("data.mdb")).unwrap();
    let snapshot = Snapshot::of(&data);
    let values: Vec<Vec<u8>> = (0..KEYS).map(value).collect();
    for variant in from..to {
        let dir = work.join(format!("{variant}"));
        copy_files(sound, &dir);
        let mut dice = Dice::new(seed.wrapping_add(variant as u64 * 977));
        if class == Class::Log {
            let (told, expected) = log::damage(&Log::of(&dir, &snapshot, &data), &mut dice);
            let expected = match expected {
                Expected::Ops(ops) => format!("ops {ops}"),
                Expected::Refused(kind) => format!("refused {kind}"),
            };
            tell(&format!("begin {variant} {told}, expected: {expected}"));
        } else {
            tell(&format!("begin {variant} {}", damage(class, &dir, &snapshot, &mut dice)));
        }
        let mut outcome = suffer(kind, &dir, class, &values);
        if class == Class::Log && outcome.starts_with("refused=") {
            let restored = if is_unharmed(sound, kind, &dir, &values) { "yes" } else { "no" };
            outcome = format!("{outcome} restored={restored}");
        }
        tell(&format!("end {outcome}"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
    tell("over");
}

/// Whether a store that was refused is all there once its log is what it was.
fn is_unharmed(sound: &Path, kind: &str, dir: &Path, values: &[Vec<u8>]) -> bool {
    let data = |dir: &Path| std::fs::read(dir.join("data.mdb")).unwrap();
    if data(dir) != data(sound) {
        return false;
    }
    for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("log-") {
            std::fs::remove_file(file).unwrap();
        }
    }
    copy_files(sound, dir);
    match builder(kind, dir).open() {
        Ok(cache) => matches!(log::ops_in(&cache), Ok(Some(log::OPS))) && go_on(cache, kind, dir, values),
        Err(_) => false,
    }
}

/// What came of one variant, in words that [`Outcome`] reads.
fn suffer(kind: &str, dir: &Path, class: Class, values: &[Vec<u8>]) -> String {
    let cache = match builder(kind, dir).open() {
        Ok(cache) => cache,
        Err(error) => return format!("refused={}", kind_of(&error)),
    };
    let ops = match log::ops_in(&cache) {
        Ok(Some(ops)) => ops.to_string(),
        Ok(None) => "never".into(),
        Err(_) => "error".into(),
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
                        // Looked at above.
                        Ok(entry) if entry.key.starts_with(b"log ") => {}
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
             scan_failed={scan_failed} verified={verified} ops={ops}",
            failed.join("+")
        );
    }
    let mut used = "untried";
    if matches!(class, Class::Locks | Class::Log) {
        // The data file is as it was, so the store must be of full use.
        used = match go_on(cache, kind, dir, values) {
            true => "yes",
            false => "no",
        };
    }
    format!(
        "right={right} missing={missing} early={early} wrong={wrong} failed={} scanned={scanned} \
         scan_failed={scan_failed} verified={verified} ops={ops} used={used}",
        failed.join("+")
    )
}

fn go_on(cache: ByteCache, kind: &str, dir: &Path, values: &[Vec<u8>]) -> bool {
    let ops = log::ops_in(&cache).ok().flatten();
    let written = cache.insert(b"another", b"one", 0, None).is_ok() && cache.checkpoint().is_ok();
    drop(cache);
    let Ok(cache) = builder(kind, dir).open() else { return false };
    let all_there = values.iter().enumerate().all(|(n, value)| {
        cache.get(&key(n)).is_ok_and(|found| found.is_some_and(|found| found.payload == *value))
    });
    written
        && all_there
        && ops.is_some()
        && log::ops_in(&cache).ok().flatten() == ops
        && cache.get(b"another").is_ok_and(|found| found.is_some())
        && cache.verify().is_ok_and(|report| report.is_clean())
}

// ---- The judge.

#[derive(Default, Debug)]
struct Outcome {
    told: String,
    words: BTreeMap<String, String>,
    crash: Option<i32>,
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
        self.words.contains_key("right")
            && (self.number("right") < KEYS || self.is_log_shorter())
            && self.word("verified") == "clean"
    }

    /// Whether less of the log is there than was written.
    fn is_log_shorter(&self) -> bool {
        self.end == "logged" && self.number("ops") < log::OPS
    }
}

/// Runs the variants of a class on all sound stores, and returns what came of each.
fn run(class: Class, variants: usize) -> Vec<Outcome> {
    let (root, seed) = &*SOUND;
    let mut jobs = Vec::new();
    let settings: Vec<(&'static str, &'static str)> = STORES
        .into_iter()
        .flat_map(|kind| ENDS.map(|end| (kind, end)))
        // Where an entry is in the log, too, damage of the other is none.
        .filter(|(_, end)| match class {
            Class::Payload | Class::EntryHeader => *end == "closed",
            Class::Log => *end == "logged",
            _ => true,
        })
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
                    let Some(((kind, end), seed, share)) = jobs.lock().unwrap().pop() else {
                        break;
                    };
                    let done = run_share(root.path(), class, (kind, end), seed, share);
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
        assert!(
            outcome.word("ops") != "never" || class == Class::Inner,
            "a state that never was: {outcome:?}"
        );
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
    (kind, end): (&'static str, &'static str),
    seed: u64,
    share: usize,
) -> Vec<Outcome> {
    static WORK: AtomicUsize = AtomicUsize::new(0);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let sound = root.join(format!("{kind}-{end}"));
    while outcomes.len() < share {
        // What a child leaves open is bounded.
        let share = share.min(outcomes.len() + 60);
        let work = root.join(format!("work {}", WORK.fetch_add(1, Ordering::Relaxed)));
        let (class_name, seed) = (format!("{class:?}"), seed.to_string());
        let (from, to) = (outcomes.len().to_string(), share.to_string());
        let arguments: [&str; 7] =
            [sound.to_str().unwrap(), kind, work.to_str().unwrap(), &class_name, &seed, &from, &to];
        let mut peer = Peer::start("victim", &arguments);
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
                        "{class:?} of {kind}: the child ended with {status} at {:?}",
                        outcomes.last()
                    );
                    outcomes.last_mut().unwrap().crash = signal;
                    break;
                }
            };
            if let Some(told) = line.strip_prefix("begin ") {
                outcomes.push(Outcome { told: told.to_owned(), kind, end, ..Outcome::default() });
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
            (_, "") if outcome.is_log_shorter() && class == Class::Log => "right up to the damage".into(),
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
    let mut outcomes = run(Class::Length, by_form(270, 900));
    no_crash(&outcomes);
    // An empty data file is a store that is not made yet, unless it has a log.
    let is_empty = |outcome: &Outcome| outcome.told.contains("length 0 of");
    for outcome in outcomes.extract_if(.., |outcome| is_empty(outcome)) {
        match outcome.end {
            "logged" => assert_eq!(outcome.word("refused"), "damaged", "{outcome:?}"),
            _ => assert_eq!(outcome.number("missing"), KEYS, "{outcome:?}"),
        }
    }
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

fn damaged_log() {
    let outcomes = run(Class::Log, by_form(360, 2400));
    no_crash(&outcomes);
    for outcome in &outcomes {
        let (_, expected) = outcome.told.split_once("expected: ").unwrap();
        match expected.split_once(' ').unwrap() {
            ("refused", kind) => {
                assert_eq!(outcome.word("refused"), kind, "{outcome:?}");
                assert_eq!(outcome.word("restored"), "yes", "{outcome:?}");
            }
            (_, ops) => {
                assert_eq!(outcome.word("ops"), ops, "{outcome:?}");
                assert_eq!(outcome.number("right"), KEYS, "what is in the data file: {outcome:?}");
                assert_eq!(outcome.word("verified"), "clean", "{outcome:?}");
                assert_eq!(outcome.word("used"), "yes", "{outcome:?}");
            }
        }
    }
}

fn damaged_locks() {
    let outcomes = run(Class::Locks, by_form(90, 270));
    no_crash(&outcomes);
    for outcome in &outcomes {
        assert_eq!(outcome.number("right"), KEYS, "{outcome:?}");
        assert!(!outcome.is_log_shorter(), "{outcome:?}");
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
