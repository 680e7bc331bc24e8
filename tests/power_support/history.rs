//! Lives of one store, each of which begins with what the one before left: on the disk after a power loss, or in the page
//! cache after a kill.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::disk::{Choice, Disk};
use super::recorder::{Checker, Process, Recorder};
use super::setting::Setting;
use super::steps::{Content, Counts, Model, WRITERS};
use super::wire::{Kind, Request};
use crate::damage_support::{Dice, copy_files, is_long, quick_dir};

/// What happened, over all histories.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) losses: u64,
    in_recovery: u64,
    kills: u64,
    images: u64,
    events: u64,
    steps: u64,
    loads: u64,
    checkpoints: u64,
    cut_off: u64,
    pub(crate) holes: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} power losses ({} in recovery), {} images, {} kills, {} events, {} steps ({} past the log), {} \
             checkpoints, {} steps cut off, {} holes",
            self.losses,
            self.in_recovery,
            self.images,
            self.kills,
            self.events,
            self.steps,
            self.loads,
            self.checkpoints,
            self.cut_off,
            self.holes
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// It is opening the store, as the first or not.
    Open {
        first: bool,
    },
    Step,
    /// With what had returned before it was given.
    Checkpoint(Counts),
    Other,
    Close,
    /// It has closed the store, and has nothing more to do.
    Leave,
}

struct Writing {
    process: Process,
    writer: usize,
    order: Order,
    has_written: bool,
    /// Under `Durability::Sync`.
    is_durable: bool,
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    PowerLoss,
    /// All are killed, or closed: the next to open the store finds what they wrote in the page cache.
    AllGone,
}

struct History<'t> {
    root: tempfile::TempDir,
    dir: PathBuf,
    dice: Dice,
    disk: Disk,
    model: Model,
    recorder: Recorder,
    checker: Checker,
    writers: HashMap<u64, Writing>,
    setting: Setting,
    era: u64,
    /// Whether the store was left without a power loss, so that nothing may be missing.
    was_left: bool,
    /// Whether the first has opened it in this life.
    is_open: bool,
    orders: usize,
    events: u64,
    lose_at: u64,
    kill_at: u64,
    /// Whether a life is short and full of checkpoints.
    is_hasty: bool,
    /// Whether somebody is killed who has committed to LMDB and not synced it.
    kills_at_commit: bool,
    /// What happened, for whoever looks into a failure.
    trace: Vec<String>,
    tally: &'t mut Tally,
}

/// Plays a history of some lives.
///
/// # Errors
///
/// What was found that must not be.
pub(crate) fn play(
    seed: u64,
    lives: usize,
    broken: Option<&'static str>,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let root = quick_dir();
    let dir = root.path().join("0");
    std::fs::create_dir(&dir).unwrap();
    // Segments of 64 KiB, of 128 KiB, or of 256 KiB and more.
    let limit = [6 << 20, 10 << 20, 0][dice.below(3)];
    let setting = Setting { limit, is_encrypted: dice.chance(40) };
    let mut history = History {
        disk: Disk::of(&dir, None),
        root,
        dir,
        dice,
        model: Model::default(),
        recorder: Recorder::new(broken),
        checker: Checker::new(setting, broken),
        writers: HashMap::new(),
        setting,
        era: 0,
        was_left: false,
        is_open: false,
        orders: 0,
        events: 0,
        lose_at: 0,
        kill_at: 0,
        is_hasty: false,
        kills_at_commit: false,
        trace: Vec::new(),
        tally,
    };
    for life in 0..lives {
        history.trace.push(format!("life {life} in {}", history.dir.display()));
        let ended = history.live().and_then(|end| match end {
            End::PowerLoss => history.lose_power(),
            End::AllGone => {
                // If it was never opened, all is as it was.
                history.was_left |= history.is_open;
                Ok(())
            }
        });
        if let Err(why) = ended {
            if let Some(place) = std::env::var_os("CACHEMERE_KEEP") {
                history.keep(Path::new(&place));
            }
            return Err(format!("{why}, in life {life} of seed {seed}"));
        }
    }
    Ok(())
}

impl History<'_> {
    fn live(&mut self) -> Result<End, String> {
        // Alike what was lost, or otherwise.
        if self.dice.chance(50) {
            self.era += 1;
        }
        self.is_open = false;
        self.orders = [3, 15, 60, 150][self.dice.below(4)];
        // What a kill left is synced, or said to be, and soon lost.
        self.is_hasty = self.was_left && self.dice.chance(60);
        let most = match (self.is_hasty, self.dice.chance(35)) {
            (true, _) => 120,
            // While it is opened.
            (false, true) => 24,
            (false, false) => [40, 200, 1000][self.dice.below(3)],
        };
        self.lose_at = self.events + 1 + self.dice.below(most) as u64;
        self.kill_at = match self.dice.chance(30) && !self.is_hasty {
            true => self.events + 1 + self.dice.below(most) as u64,
            false => u64::MAX,
        };
        self.kills_at_commit = self.dice.chance(30) && !self.is_hasty;
        let writer = self.dice.below(WRITERS);
        self.start(writer, true);
        while !self.writers.is_empty() {
            let (id, request) = self.recorder.next()?;
            if !self.writers.contains_key(&id) {
                // Killed.
                continue;
            }
            match request {
                None => self.ended(id)?,
                Some(request) => {
                    self.note(id, &request);
                    if request.kind == Kind::Next {
                        self.reported(id, &request.text)?;
                    }
                    if self.events >= self.lose_at {
                        return Ok(End::PowerLoss);
                    }
                    let has_committed = self.kills_at_commit && is_commit(&request) && self.dice.chance(50);
                    if self.events >= self.kill_at || has_committed {
                        self.kill(id);
                    } else if request.kind == Kind::Next {
                        self.give_order(id);
                    } else {
                        self.writers[&id].process.answer("");
                    }
                }
            }
        }
        Ok(End::AllGone)
    }

    fn start(&mut self, writer: usize, first: bool) {
        let interval = [5, 20, 1000][self.dice.below(3)].to_string();
        let is_durable = self.dice.chance(15);
        let arguments = [
            self.dir.to_str().unwrap(),
            &writer.to_string(),
            &self.setting.told(),
            &interval,
            if is_durable { "sync" } else { "checkpoint" },
            if first { "first" } else { "join" },
        ];
        let process = self.recorder.start("writer", &arguments);
        let order = Order::Open { first };
        self.writers.insert(process.id, Writing { process, writer, order, has_written: false, is_durable });
    }

    /// Takes note of an event: the disk as it was before it, or what it changed.
    fn note(&mut self, id: u64, request: &Request) {
        self.events += 1;
        self.tally.events += 1;
        self.tally.holes += u64::from(request.kind == Kind::Punched);
        self.trace.push(format!("{} {id}: {} {}", self.events, self.disk.told(request), request.text));
        note(&mut self.disk, &self.dir, request);
        if self.dice.chance(8) {
            self.disk.look_at_segments();
        }
    }

    fn ended(&mut self, id: u64) -> Result<(), String> {
        let Some(mut writing) = self.writers.remove(&id) else { return Ok(()) };
        match writing.order {
            Order::Leave => Ok(()),
            order => Err(format!("UNSOUND: a writer ended with {} ({order:?})", writing.process.ended())),
        }
    }

    /// A writer has carried out its order.
    fn reported(&mut self, id: u64, report: &str) -> Result<(), String> {
        let Some(writing) = self.writers.get_mut(&id) else { return Ok(()) };
        let Writing { writer, order, is_durable, .. } = *writing;
        writing.has_written |= order == Order::Step;
        let has_written = writing.has_written;
        match order {
            Order::Open { first: true } => {
                let content = Content::read(report);
                let least = if self.was_left { self.model.done } else { self.model.safe };
                self.model.check(&content, &least)?;
                let begun: u64 = self.model.begun().iter().sum();
                self.tally.cut_off += begun - content.counts.iter().sum::<u64>();
                match self.was_left {
                    true => self.model.resume(&content),
                    false => self.model.restart(&content),
                }
                self.was_left = false;
                self.is_open = true;
                for other in 0..WRITERS {
                    if other != writer && self.dice.chance(50) {
                        self.start(other, false);
                    }
                }
            }
            Order::Open { first: false } => self.model.settle(writer, report.parse().unwrap())?,
            Order::Step => {
                self.model.returned(writer, report);
                if is_durable {
                    self.model.keep(&self.only(writer));
                }
            }
            Order::Checkpoint(floor) => self.model.keep(&floor),
            Order::Close => {
                match self.writers.len() {
                    // The last one leaves nothing that is not on the disk.
                    1 => self.model.keep(&self.model.done.clone()),
                    _ if has_written => self.model.keep(&self.only(writer)),
                    _ => {}
                }
            }
            Order::Other | Order::Leave => {}
        }
        Ok(())
    }

    /// The steps of one writer that have returned.
    fn only(&self, writer: usize) -> Counts {
        let mut counts = Counts::default();
        counts[writer] = self.model.done[writer];
        counts
    }

    fn give_order(&mut self, id: u64) {
        let Some(Writing { writer, order, .. }) = self.writers.get(&id) else { return };
        let (writer, closed) = (*writer, *order == Order::Close);
        self.orders = self.orders.saturating_sub(1);
        let checkpoints = if self.is_hasty { 40 } else { 7 };
        let (order, text) = match self.dice.below(100) {
            _ if closed => (Order::Leave, String::new()),
            // The life has been long enough.
            _ if self.orders == 0 => match self.dice.below(3) {
                0 => {
                    self.orders = 1;
                    self.lose_at = self.events;
                    (Order::Other, "pause 0".to_owned())
                }
                1 => {
                    self.kill_at = self.events;
                    (Order::Other, "pause 0".to_owned())
                }
                _ => (Order::Close, "close".to_owned()),
            },
            other if other < checkpoints => {
                self.tally.checkpoints += 1;
                (Order::Checkpoint(self.model.done), "checkpoint".to_owned())
            }
            7..=8 => (Order::Other, "verify".to_owned()),
            9 if self.setting.is_encrypted => {
                let how = ["compact", "reencrypt", "secret"][self.dice.below(3)];
                (Order::Other, how.to_owned())
            }
            9 => (Order::Other, "compact".to_owned()),
            17..=18 => (Order::Other, "full".to_owned()),
            10..=13 => (Order::Other, format!("pause {}", self.dice.between(1, 12))),
            // All of the log is folded when nobody writes for a while.
            14 if is_long() && self.dice.chance(10) => (Order::Other, "pause 800".to_owned()),
            15..=16 => (Order::Close, "close".to_owned()),
            other => {
                let is_load = cfg!(feature = "load") && other < 25;
                let number = self.model.begin(writer, self.era, is_load);
                self.tally.steps += 1;
                self.tally.loads += u64::from(is_load);
                (Order::Step, format!("{} {number} {}", if is_load { "load" } else { "put" }, self.era))
            }
        };
        if let Some(writing) = self.writers.get_mut(&id) {
            self.trace.push(format!("  writer {writer}, process {id}, is told: {text}"));
            writing.order = order;
            writing.process.answer(&text);
        }
    }

    /// Kills one, or all.
    fn kill(&mut self, id: u64) {
        self.trace.push(format!("  kill {id}, of {}", self.writers.len()));
        self.kill_at = match self.dice.chance(30) {
            true => self.events + 1 + self.dice.below(200) as u64,
            false => u64::MAX,
        };
        if self.dice.chance(40) || self.writers.len() == 1 || !self.is_open {
            self.tally.kills += self.writers.len() as u64;
            self.writers.values_mut().for_each(|writing| writing.process.kill());
            self.writers.clear();
            return;
        }
        self.tally.kills += 1;
        if let Some(mut writing) = self.writers.remove(&id) {
            writing.process.kill();
            // Another one goes on in its place.
            self.start(writing.writer, false);
        }
    }

    /// The power fails now. What the next life finds is one of the many things that may be on the disk; some others are
    /// looked at, too.
    fn lose_power(&mut self) -> Result<(), String> {
        self.trace.push(format!("  the power fails; safe {:?}", self.model.safe));
        self.disk.look_at_all();
        self.writers.values_mut().for_each(|writing| writing.process.kill());
        self.writers.clear();
        self.tally.losses += 1;
        self.tally.in_recovery += u64::from(!self.is_open);
        self.was_left = false;
        let stale = self.dice.chance(50);
        let choice = Choice::Mixed { stale };
        for _ in 0..2 {
            self.tally.images += 1;
            let image = self.root.path().join("image");
            self.disk.build(&image, choice, &mut self.dice);
            let content = Content::read(&self.checker.look_at(&image)?);
            self.model.check(&content, &self.model.safe)?;
        }
        let to = self.root.path().join(self.tally.losses.to_string());
        self.disk.build(&to, choice, &mut self.dice);
        drop(std::fs::remove_dir_all(&self.dir));
        let began = self.root.path().join("began");
        drop(std::fs::remove_dir_all(&began));
        copy_files(&to, &began);
        self.disk = Disk::of(&to, Some(&self.disk));
        self.dir = to;
        Ok(())
    }

    /// Keeps the files of a failure: as the life began, the last image, the present ones, and what happened.
    fn keep(&self, place: &Path) {
        drop(std::fs::remove_dir_all(place));
        std::fs::create_dir_all(place).unwrap();
        for name in ["began", "image"] {
            let from = self.root.path().join(name);
            if from.exists() {
                copy_files(&from, &place.join(name));
            }
        }
        copy_files(&self.dir, &place.join("present"));
        std::fs::write(place.join("trace"), self.trace.join("\n")).unwrap();
    }
}

/// Whether a meta page of LMDB was written.
fn is_commit(request: &Request) -> bool {
    request.kind == Kind::Wrote && request.at < 8192 && request.len < 4096
}

/// Takes note of what a process has told.
pub(crate) fn note(disk: &mut Disk, dir: &Path, request: &Request) {
    disk.look();
    match request.kind {
        Kind::Wrote | Kind::Punched => disk.wrote(request.file, request.at, request.len),
        Kind::Sync => disk.synced(request.file, request.at, request.len),
        Kind::SyncDirectory if std::fs::metadata(dir).is_ok_and(|dir| dir.ino() == request.file) => {
            disk.synced_directory();
        }
        _ => {}
    }
}
