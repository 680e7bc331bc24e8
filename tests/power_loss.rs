//! Power losses, played on real stores written by several processes.
//!
//! What a disk holds after a power loss is, page by page, what was synced or something newer. So the data file is copied
//! at two moments between which no checkpoint was recorded, a file is mixed of both at random, and opened under another
//! boot id by a process of its own. It must hold exactly the recorded checkpoint, be sound, and take new writes.
//!
//! The first copy is taken after the sync, not at it. That is on the safe side: what the crate must not overwrite is the
//! pages of the checkpoint, and if it did, the mixture would show it whichever copy the page came from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod damage_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachemere::{ByteCache, Durability, Maintenance, ScanPosition};
use damage_support::{Dice, Peer, Place, by_form, copy_files, main_with, orders, quick_dir, say, seed, tell};
use twox_hash::XxHash3_64;

fn main() {
    main_with(
        |role, arguments| match role {
            "writer" => writer(arguments),
            "reader" => reader(arguments),
            _ => panic!("no such role: {role}"),
        },
        vec![
            ("a_power_loss_gives_back_exactly_the_checkpoint", exactly_the_checkpoint),
            ("a_power_loss_loses_no_write_that_returned_under_sync", nothing_lost_under_sync),
            ("a_store_closed_by_all_loses_nothing_to_a_power_loss", nothing_lost_after_close),
            ("a_power_loss_while_the_store_is_made_leaves_a_usable_store", lost_while_made),
            ("recovery_can_be_interrupted_by_another_power_loss", interrupted_recovery),
        ],
    );
}

// ---- What a writer writes: step after step, all derived from its number.

const SMALL_KEYS: usize = 60;

enum Step {
    /// Values for keys, together with the number of the step: one commit.
    Put(Vec<(String, Vec<u8>)>),
    /// A removal and then the number of the step: two commits.
    Remove(String),
}

fn step(writer: usize, number: u64) -> Step {
    let mut dice = Dice::new((writer as u64) << 32 | number);
    let key = |dice: &mut Dice| format!("{writer}/{}", dice.below(SMALL_KEYS));
    if dice.chance(20) {
        return Step::Remove(key(&mut dice));
    }
    let mut puts = BTreeMap::new();
    for _ in 0..dice.between(1, 6) {
        let key = key(&mut dice);
        let len = match dice.below(20) {
            0 => dice.between(10_000, 60_000),
            1..=9 => dice.between(0, 300),
            _ => dice.between(300, 6_000),
        };
        puts.insert(key, dice.bytes(len));
    }
    Step::Put(puts.into_iter().collect())
}

fn counter_key(writer: usize) -> String {
    format!("{writer}#")
}

fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

fn take_step(cache: &ByteCache, writer: usize, number: u64) -> cachemere::Result<()> {
    let (counter, count) = (counter_key(writer), number.to_le_bytes());
    let mut items = vec![(counter.as_bytes(), count.to_vec(), 0)];
    let step = step(writer, number);
    match &step {
        Step::Put(puts) => {
            items.extend(puts.iter().map(|(key, value)| (key.as_bytes(), value.to_vec(), 0)));
            cache.insert_many(items, None)
        }
        Step::Remove(key) => {
            cache.remove(key.as_bytes())?;
            cache.insert_many(items, None)
        }
    }
}

/// Arguments: directory, number, milliseconds between checkpoints or 0 for none but explicit ones, `sync` or
/// `checkpoint`, log of finished steps.
fn writer(arguments: &[String]) {
    let [dir, number, interval, durability, log] = arguments else { panic!("five arguments") };
    let number: usize = number.parse().unwrap();
    let mut builder = ByteCache::builder(dir);
    builder = match interval.parse().unwrap() {
        0 => builder.maintenance(Maintenance::Manual),
        ms => builder.checkpoint_interval(Duration::from_millis(ms)),
    };
    if durability == "sync" {
        builder = builder.durability(Durability::Sync);
    }
    let cache = builder.open().unwrap();
    let mut done = 0;
    tell("open");
    for order in orders() {
        let (order, count) = order.split_once(' ').unwrap_or((&order, "0"));
        match order {
            "steps" => {
                for _ in 0..count.parse::<u64>().unwrap() {
                    take_step(&cache, number, done + 1).unwrap();
                    done += 1;
                }
                tell(&format!("done {done}"));
            }
            "run" => loop {
                take_step(&cache, number, done + 1).unwrap();
                done += 1;
                // One small write, so that it is there or not however this process is stopped.
                std::fs::write(log, done.to_le_bytes()).unwrap();
            },
            "checkpoint" => {
                cache.checkpoint().unwrap();
                tell("recorded");
            }
            "close" => {
                drop(cache);
                tell("closed");
                return;
            }
            _ => panic!("no such order: {order}"),
        }
    }
}

/// Opens the store of its argument after a power loss, tells its content, and goes on using it.
///
/// The second argument says how it ends: `close`, or `die` without closing.
fn reader(arguments: &[String]) {
    let [dir, end] = arguments else { panic!("two arguments") };
    let cache = ByteCache::builder(dir).maintenance(Maintenance::Manual).open().unwrap();
    let mut position = ScanPosition::default();
    let mut all = Vec::new();
    loop {
        let chunk = cache.scan(&mut position).unwrap();
        if chunk.is_empty() {
            break;
        }
        all.extend(chunk.into_iter().map(|entry| entry.unwrap()));
    }
    assert_eq!(all.len() as u64, cache.len().unwrap());
    for entry in &all {
        assert_eq!(cache.get(&entry.key).unwrap().unwrap().payload, entry.payload);
        let key = String::from_utf8(entry.key.clone()).unwrap();
        match key.ends_with('#') {
            true => {
                tell(&format!("entry {key} {}", u64::from_le_bytes(entry.payload[..].try_into().unwrap())))
            }
            false => tell(&format!("entry {key} {}", hash(&entry.payload))),
        }
    }
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "after recovery: {report:?}");
    // What is there can be written to, over and over, and stays sound.
    let mut dice = Dice::new(all.len() as u64);
    for round in 0..4 {
        for n in 0..25 {
            let value = dice.bytes(300 * n);
            cache.insert(format!("new {n}").as_bytes(), &value, 0, None).unwrap();
            if n % 5 == 0 {
                cache.remove(format!("new {}", dice.below(25)).as_bytes()).unwrap();
            }
        }
        if round == 1 {
            cache.checkpoint().unwrap();
        }
    }
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "after writing: {report:?}");
    match end.as_str() {
        "close" => {
            cache.insert(b"new", b"last", 0, None).unwrap();
            drop(cache);
        }
        _ => {
            tell("end");
            std::process::abort();
        }
    }
    tell("end");
}

/// What a reader told: the count of each writer, and the hash of each value.
#[derive(PartialEq, Eq, Debug, Default, Clone)]
struct Content {
    counts: BTreeMap<usize, u64>,
    values: BTreeMap<String, u64>,
}

fn recover(dir: &Path, boot: &Path, end: &str) -> Content {
    let mut peer = Peer::start_in(
        Place { boot_id: Some(boot), ..Place::default() },
        "reader",
        &[dir.to_str().unwrap(), end],
    );
    let mut content = Content::default();
    loop {
        let line = match peer.hear() {
            Some(line) => line,
            None => peer.expect("end"),
        };
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("end"), ..) => break,
            (Some("entry"), Some("new"), _) => {}
            (Some("entry"), Some(key), Some(number)) => {
                let number = number.parse().unwrap();
                match key.strip_suffix('#') {
                    Some(writer) => drop(content.counts.insert(writer.parse().unwrap(), number)),
                    None => drop(content.values.insert(key.to_owned(), number)),
                }
            }
            _ => panic!("{line}"),
        }
    }
    let status = peer.finish();
    assert!(end == "die" || status.success(), "{status}");
    content
}

/// The key a step removes, and the hashes of the values it puts.
type Effect = (Option<String>, Vec<(String, u64)>);

/// Remembers what each step writes, to play histories again and again.
#[derive(Default)]
struct Model {
    steps: BTreeMap<(usize, u64), Effect>,
}

impl Model {
    fn step(&mut self, writer: usize, number: u64) -> &Effect {
        self.steps.entry((writer, number)).or_insert_with(|| match step(writer, number) {
            Step::Remove(key) => (Some(key), vec![]),
            Step::Put(puts) => {
                (None, puts.iter().map(|(key, value)| (key.clone(), hash(value))).collect::<Vec<_>>())
            }
        })
    }

    /// Panics unless the content is what the writers' steps up to their counts make, all of it and nothing else.
    fn check(&mut self, content: &Content, what: &str) {
        let mut expected = BTreeMap::new();
        let mut perhaps = BTreeSet::new();
        for (&writer, &count) in &content.counts {
            for number in 1..=count {
                let (removed, puts) = self.step(writer, number);
                if let Some(key) = removed {
                    expected.remove(key);
                }
                expected.extend(puts.iter().cloned());
            }
            // A removal is a commit of its own, just before its number.
            perhaps.extend(self.step(writer, count + 1).0.clone());
        }
        // Before its first number a writer can have removed nothing: there was nothing.
        for (key, value) in &content.values {
            assert_eq!(expected.remove(key), Some(*value), "{what}: the value of {key}");
        }
        expected.retain(|key, _| !perhaps.contains(key));
        assert!(expected.is_empty(), "{what}: missing {:?}", expected.keys());
    }
}

// ---- Images of the disk.

const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[derive(Clone, PartialEq, Eq)]
struct Image {
    data: Vec<u8>,
    record: Vec<u8>,
}

impl Image {
    fn of(dir: &Path) -> Image {
        Image {
            data: std::fs::read(dir.join("data.mdb")).unwrap_or_default(),
            record: std::fs::read(dir.join("checkpoint")).unwrap_or_default(),
        }
    }

    /// Puts the image into a directory of its own, as a machine finds it when it starts again.
    fn place(&self, dir: &Path) {
        drop(std::fs::remove_dir_all(dir));
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("data.mdb"), &self.data).unwrap();
        std::fs::write(dir.join("checkpoint"), &self.record).unwrap();
    }

    /// Of each page, the older or the newer version, sometimes torn; of the pages behind the older end also none.
    fn mix(&self, newer: &Image, dice: &mut Dice) -> Vec<u8> {
        let unit = if dice.chance(30) { SECTOR } else { PAGE };
        let percent_old = [10, 50, 90][dice.below(3)];
        // The length is metadata of its own.
        let (shortest, longest) =
            (self.data.len().min(newer.data.len()), newer.data.len().max(self.data.len()));
        let len = match dice.below(3) {
            0 => longest,
            1 => shortest.max(self.data.len()),
            _ => self.data.len().max(shortest + dice.below((longest - shortest) / PAGE + 1) * PAGE),
        };
        let mut mixed = Vec::with_capacity(len);
        while mixed.len() < len {
            let at = mixed.len();
            let end = (at + unit).min(len);
            let source = if dice.chance(percent_old) { &self.data } else { &newer.data };
            mixed.extend_from_slice(source.get(at..end.min(source.len())).unwrap_or_default());
            mixed.resize(end, 0);
        }
        mixed
    }
}

/// The slot of the newest record and its state; `None` when there is none.
fn newest_slot(record: &[u8]) -> Option<(usize, u32)> {
    let number = |slot: usize| {
        let bytes = record.get(slot * PAGE + 16..slot * PAGE + 24)?;
        Some(u64::from_le_bytes(bytes.try_into().unwrap()))
    };
    let slot = usize::from(number(1)? > number(0)?);
    let state = u32::from_le_bytes(record[slot * PAGE + 12..slot * PAGE + 16].try_into().unwrap());
    (number(slot)? > 0).then_some((slot, state))
}

/// The record file while its newest record was being written: some sectors of it are there, some are not.
fn torn(before: &[u8], after: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (slot, _) = newest_slot(after).unwrap();
    let mut torn = before.to_vec();
    // The first and the last sector have content; without both the record is not valid.
    let missing = if dice.chance(50) { 0 } else { PAGE / SECTOR - 1 };
    for sector in (0..PAGE / SECTOR).filter(|sector| *sector != missing) {
        if dice.chance(70) {
            let at = slot * PAGE + sector * SECTOR;
            torn[at..at + SECTOR].copy_from_slice(&after[at..at + SECTOR]);
        }
    }
    torn
}

// ---- Histories.

struct Writing {
    peer: Peer,
    number: usize,
    /// Steps known to be done.
    done: u64,
    manual: bool,
}

/// Each writer's least count that must be there, and the most there can be.
type Bounds = BTreeMap<usize, (u64, u64)>;

struct History {
    root: tempfile::TempDir,
    dir: PathBuf,
    boot: PathBuf,
    boots: usize,
    dice: Dice,
    writers: Vec<Writing>,
    next_number: usize,
    /// What writers that are gone are known to have done: at least, and at most.
    gone: Bounds,
    /// The first image in which the present record was seen, and what that record holds.
    first: Image,
    bounds: Bounds,
    /// What the record alone brings back, without any page of a later time.
    exact: Option<Content>,
    model: Model,
    trials: usize,
    torn: usize,
}

impl History {
    fn new(seed: u64) -> History {
        History::in_dir(quick_dir(), seed)
    }

    fn in_dir(root: tempfile::TempDir, seed: u64) -> History {
        let dir = root.path().join("store");
        let boot = root.path().join("boot 0");
        std::fs::write(&boot, format!("boot {seed}.0")).unwrap();
        History {
            root,
            dir,
            boot,
            boots: 0,
            dice: Dice::new(seed),
            writers: Vec::new(),
            next_number: 0,
            gone: Bounds::new(),
            first: Image { data: vec![], record: vec![] },
            bounds: Bounds::new(),
            exact: None,
            model: Model::default(),
            trials: 0,
            torn: 0,
        }
    }

    fn next_boot(&mut self) -> PathBuf {
        self.boots += 1;
        let file = self.root.path().join(format!("boot {}", self.boots));
        std::fs::write(&file, format!("boot of the other kind, number {}", self.boots)).unwrap();
        file
    }

    fn start_writer(&mut self, interval: u64, durability: &str) {
        let number = self.next_number;
        self.next_number += 1;
        let (number_text, interval_text) = (number.to_string(), interval.to_string());
        let log = self.log(number);
        let arguments =
            [self.dir.to_str().unwrap(), &number_text, &interval_text, durability, log.to_str().unwrap()];
        let place = Place { boot_id: Some(&self.boot), ..Place::default() };
        let mut peer = Peer::start_in(place, "writer", &arguments);
        peer.expect("open");
        self.writers.push(Writing { peer, number, done: 0, manual: interval == 0 });
    }

    fn log(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("log {number}"))
    }

    /// What is known of all writers now: at least so many steps, and at most.
    fn known(&self) -> Bounds {
        let mut known = self.gone.clone();
        known.extend(self.writers.iter().map(|writer| (writer.number, (writer.done, writer.done))));
        known
    }

    fn stop_all(&self) {
        self.writers.iter().for_each(|writer| writer.peer.stop());
    }

    fn resume_all(&self) {
        self.writers.iter().for_each(|writer| writer.peer.resume());
    }

    /// A copy of the files, in which nobody writes at the moment.
    fn image(&self) -> Image {
        self.stop_all();
        let image = Image::of(&self.dir);
        self.resume_all();
        image
    }

    /// Something happens to the store: writing, checkpoints, comings and goings. Whether it was nothing but one
    /// explicit checkpoint while nobody else did anything.
    fn event(&mut self, interval: u64) -> bool {
        let at = self.dice.below(self.writers.len());
        match self.dice.below(100) {
            0..=49 => {
                // Some or all at the same time.
                let all = self.dice.chance(50);
                let mut told = Vec::new();
                for place in 0..self.writers.len() {
                    if all || place == at {
                        let steps = self.dice.between(1, 12);
                        self.writers[place].peer.say(&format!("steps {steps}"));
                        told.push(place);
                    }
                }
                for place in told {
                    let writer = &mut self.writers[place];
                    writer.done = writer.peer.expect("done").parse().unwrap();
                }
                false
            }
            50..=69 => {
                self.writers[at].peer.ask("checkpoint", "recorded");
                self.writers.iter().all(|writer| writer.manual)
            }
            70..=83 if self.writers.len() < 4 => {
                self.start_writer(interval, "checkpoint");
                false
            }
            84..=94 if self.writers.len() > 1 => {
                // Killed, idle or in the midst of writing.
                let mut writer = self.writers.swap_remove(at);
                let mut most = writer.done;
                if self.dice.chance(60) {
                    writer.peer.say("steps 40");
                    std::thread::sleep(Duration::from_micros(self.dice.below(8000) as u64));
                    most += 40;
                }
                writer.peer.kill();
                self.gone.insert(writer.number, (writer.done, most));
                false
            }
            _ if self.writers.len() > 1 => {
                let mut writer = self.writers.swap_remove(at);
                writer.peer.ask("close", "closed");
                writer.peer.finish();
                self.gone.insert(writer.number, (writer.done, writer.done));
                false
            }
            _ => false,
        }
    }

    /// Looks at the files after an event, and takes note if another checkpoint was recorded during it.
    fn observe(&mut self, before: &Bounds) -> Image {
        let now = self.image();
        if now.record != self.first.record {
            // Everything committed before the event is in a checkpoint made during it, and nothing after it is. One made
            // by the clock may have begun long before; all that can be said is that checkpoints never go back.
            let by_clock = self.writers.iter().any(|writer| !writer.manual);
            let least = if by_clock { &self.bounds } else { before };
            let known = self.known();
            self.bounds = known
                .iter()
                .map(|(writer, (_, most))| (*writer, (least.get(writer).map_or(0, |known| known.0), *most)))
                .collect();
            self.first = now.clone();
            self.exact = None;
        }
        now
    }

    fn place(&self) -> PathBuf {
        self.root.path().join("lost")
    }

    /// Opens an image after a power loss; checks that what it holds is whole, and within bounds.
    fn look_at(&mut self, image: &Image, end: &str, what: &str) -> Content {
        let lost = self.place();
        image.place(&lost);
        let boot = self.next_boot();
        let content = recover(&lost, &boot, end);
        self.model.check(&content, what);
        content
    }

    /// Mixes the first image with the present record and a later one.
    fn trial(&mut self, now: &Image, end: &str) -> Content {
        assert!(self.first.record == now.record);
        self.trials += 1;
        let (first, bounds) = (self.first.clone(), self.bounds.clone());
        let exact = match self.exact.take() {
            Some(exact) => exact,
            None => self.look_at(&first, "close", "the synced image alone"),
        };
        for (writer, (least, most)) in &bounds {
            let count = exact.counts.get(writer).copied().unwrap_or(0);
            assert!(
                (*least..=*most).contains(&count),
                "the checkpoint has {count} steps of writer {writer}, not {least} to {most} (by the clock: {})",
                self.writers.iter().any(|writer| !writer.manual)
            );
        }
        let mixed = Image { data: first.mix(now, &mut self.dice), record: first.record.clone() };
        let content = self.look_at(&mixed, end, "a mixture");
        assert_eq!(content, exact, "a mixture is not exactly the checkpoint");
        self.exact = Some(exact);
        content
    }

    /// As [`trial`](Self::trial), at the moment when the next record is being written: `before` is from when the old
    /// record was known to be on the disk, `now` from just after the new one was written.
    fn torn_trial(&mut self, before: &Image, exact: &Content, now: &Image) {
        self.torn += 1;
        let record = torn(&before.record, &now.record, &mut self.dice);
        let mixed = Image { data: before.mix(now, &mut self.dice), record };
        let content = self.look_at(&mixed, "close", "a mixture with a torn record");
        assert_eq!(content, *exact, "with a torn record it is not exactly the checkpoint before");
    }
}

fn exactly_the_checkpoint() {
    let wanted = by_form(24, 400);
    let mut dice = Dice::new(seed());
    let (mut trials, mut torn, mut histories, mut boots) = (0, 0, 0, 0);
    while trials + torn < wanted || torn < wanted / 8 {
        let mut history = History::new(dice.roll());
        histories += 1;
        // Explicit checkpoints only, or by the clock and at any moment.
        let interval = if histories % 3 == 0 { 15 } else { 0 };
        for _round in 0..2 {
            boots += 1;
            for _ in 0..history.dice.between(1, 3) {
                history.start_writer(interval, "checkpoint");
            }
            let writer = &mut history.writers[0];
            writer.done = writer.peer.ask("steps 30", "done").parse().unwrap();
            history.writers[0].peer.ask("checkpoint", "recorded");
            history.first.record.clear();
            let mut now = history.observe(&Bounds::new());
            for _ in 0..history.dice.between(10, 25) {
                let before = history.known();
                let (old, old_exact) = (history.first.clone(), history.exact.clone());
                let only_checkpoint = history.event(interval);
                now = history.observe(&before);
                let same = now.record == old.record;
                if same && now.data != old.data && history.dice.chance(25) {
                    history.trial(&now, "close");
                } else if !same && only_checkpoint && history.dice.chance(60) {
                    let exact = match old_exact {
                        Some(exact) => exact,
                        None => history.look_at(&old, "close", "the synced image before"),
                    };
                    history.torn_trial(&old, &exact, &now);
                }
            }
            // The machine stops, and the next round goes on with what it left.
            history.stop_all();
            let last = Image::of(&history.dir);
            history.writers.clear();
            if last.record != history.first.record {
                // Recorded after the last look.
                history.first = last.clone();
                history.bounds.clear();
                history.exact = None;
            } else if newest_slot(&last.record).is_some_and(|(_, state)| state == 3) {
                assert!(last.data == now.data, "written to while marked clean");
            }
            let content = history.trial(&last, "die");
            history.gone = content.counts.iter().map(|(writer, count)| (*writer, (*count, *count))).collect();
            let lost = history.place();
            history.dir = history.root.path().join(format!("store {}", history.boots));
            copy_files(&lost, &history.dir);
            history.boot = history.root.path().join(format!("boot {}", history.boots));
        }
        trials += history.trials;
        torn += history.torn;
    }
    say(&format!(
        "{trials} mixtures and {torn} with a torn record, in {histories} histories over {boots} boots: all exactly \
         the checkpoint"
    ));
}

fn nothing_lost_under_sync() {
    let wanted = by_form(12, 150);
    let mut dice = Dice::new(seed());
    let (mut trials, mut ahead) = (0, 0);
    while trials < wanted {
        // On a disk, where a sync takes its time and there is something between a commit and its record.
        let mut history = History::in_dir(tempfile::tempdir().unwrap(), dice.roll());
        for _ in 0..3 {
            history.start_writer(0, "sync");
        }
        history.writers.iter_mut().for_each(|writer| writer.peer.say("run"));
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(history.dice.between(5, 40) as u64));
            history.stop_all();
            let then = Image::of(&history.dir);
            // Whatever insert has returned by now is to be there, come what may.
            let returned: Vec<(usize, u64)> = history
                .writers
                .iter()
                .map(|writer| {
                    let log = std::fs::read(history.log(writer.number)).unwrap_or_default();
                    (writer.number, log.try_into().map_or(0, u64::from_le_bytes))
                })
                .collect();
            // On until the next record, or a bit less.
            history.resume_all();
            std::thread::sleep(Duration::from_micros(history.dice.below(1500) as u64));
            history.stop_all();
            let later = Image::of(&history.dir);
            let same = then.record == later.record;
            ahead += usize::from(same && then.data != later.data);
            let image = match same {
                true => Image { data: then.mix(&later, &mut history.dice), record: then.record.clone() },
                false => then,
            };
            let content = history.look_at(&image, "close", "under sync");
            for (writer, count) in returned {
                let found = content.counts.get(&writer).copied().unwrap_or(0);
                assert!(
                    found >= count,
                    "writer {writer}: step {count} had returned, but {found} is the last"
                );
            }
            trials += 1;
            history.resume_all();
        }
        for mut writer in history.writers.drain(..) {
            writer.peer.kill();
        }
    }
    say(&format!(
        "{trials} power losses under sync, {ahead} of them with commits on their way: no returned write lost"
    ));
}

fn nothing_lost_after_close() {
    let mut dice = Dice::new(seed());
    for _ in 0..by_form(3, 30) {
        let mut history = History::new(dice.roll());
        for _ in 0..history.dice.between(1, 3) {
            history.start_writer(0, "checkpoint");
        }
        for writer in &mut history.writers {
            writer.done = writer.peer.ask("steps 20", "done").parse().unwrap();
        }
        let known = history.known();
        while let Some(mut writer) = history.writers.pop() {
            writer.peer.ask("close", "closed");
            assert!(writer.peer.finish().success());
        }
        let image = Image::of(&history.dir);
        assert_eq!(newest_slot(&image.record).unwrap().1, 3, "the last to close marks the store clean");
        let content = history.look_at(&image, "close", "closed cleanly");
        let counts: Bounds = content.counts.iter().map(|(writer, n)| (*writer, (*n, *n))).collect();
        assert_eq!(counts, known);
    }
}

/// Until the first checkpoint nothing of the user's is in the store, so a power loss may leave an empty one, but not one
/// that cannot be opened.
fn lost_while_made() {
    let mut dice = Dice::new(seed());
    let (mut empty, mut full) = (0, 0);
    for round in 0..by_form(12, 80) {
        let mut history = History::new(dice.roll());
        // Killed at any moment of its making: what was written until then is the newer image, nothing is the older.
        let (log, dir) = (history.log(0), history.dir.clone());
        let arguments = [dir.to_str().unwrap(), "0", "0", "checkpoint", log.to_str().unwrap()];
        let place = Place { boot_id: Some(&history.boot), ..Place::default() };
        let mut peer = Peer::start_in(place, "writer", &arguments);
        if round % 2 == 0 {
            let since = std::time::Instant::now();
            while !dir.join("checkpoint").exists() && since.elapsed() < damage_support::HANG {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_micros(history.dice.below(3000) as u64));
        } else {
            peer.expect("open");
        }
        peer.kill();
        let newer = Image::of(&dir);
        let image = match newest_slot(&newer.record) {
            // Recorded: then the data was synced before.
            Some((_, 2 | 3)) => newer,
            // Being made: any part of the data file can be on the disk.
            _ => {
                let nothing = Image { data: vec![], record: newer.record.clone() };
                Image { data: nothing.mix(&newer, &mut history.dice), record: newer.record.clone() }
            }
        };
        if image.record.is_empty() {
            continue;
        }
        let lost = history.place();
        image.place(&lost);
        if image.data.is_empty() && history.dice.chance(50) {
            std::fs::remove_file(lost.join("data.mdb")).unwrap();
        }
        let boot = history.next_boot();
        let content = recover(&lost, &boot, "close");
        assert_eq!(content, Content::default());
        match newest_slot(&image.record) {
            Some((_, 2 | 3)) => full += 1,
            _ => empty += 1,
        }
    }
    say(&format!("{empty} stores lost while being made, {full} just after: all usable"));
    assert!(full > 0);
}

fn interrupted_recovery() {
    let mut dice = Dice::new(seed());
    for _ in 0..by_form(4, 40) {
        let mut history = History::new(dice.roll());
        history.start_writer(0, "checkpoint");
        let writer = &mut history.writers[0];
        writer.done = writer.peer.ask("steps 30", "done").parse().unwrap();
        writer.peer.ask("checkpoint", "recorded");
        history.first.record.clear();
        history.observe(&Bounds::new());
        let writer = &mut history.writers[0];
        writer.done = writer.peer.ask("steps 30", "done").parse().unwrap();
        history.writers[0].peer.kill();
        let later = Image::of(&history.dir);
        let exact = history.trial(&later, "close");
        // The recovery writes both meta pages and then the record. Of these, any can be on the disk.
        let mixed =
            Image { data: history.first.mix(&later, &mut history.dice), record: later.record.clone() };
        let half = history.root.path().join("half");
        mixed.place(&half);
        let boot = history.next_boot();
        recover(&half, &boot, "close");
        let recovered = Image::of(&half);
        let mut again = mixed.clone();
        for page in 0..2 {
            if history.dice.chance(50) {
                let at = page * PAGE..(page + 1) * PAGE;
                // As far as the recovery wrote it: header and body of the recorded meta page.
                let (slot, _) = newest_slot(&later.record).unwrap();
                let body = &later.record[slot * PAGE + 108..slot * PAGE + 244];
                again.data[at.clone()].fill(0);
                again.data[at.start..at.start + 8].copy_from_slice(&(page as u64).to_ne_bytes());
                again.data[at.start + 10] = 8;
                again.data[at.start + 16..at.start + 152].copy_from_slice(body);
                if history.dice.chance(50) {
                    again.data[at.start..at.start + SECTOR].fill(0xA5);
                }
            }
        }
        let content = history.look_at(&again, "close", "recovered twice");
        assert_eq!(content, exact);
        // And a recovered, closed store is clean for good.
        assert_eq!(newest_slot(&recovered.record).unwrap().1, 3);
    }
}
