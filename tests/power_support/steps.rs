//! What writers write, step after step, and which contents of a store are states that were.
//!
//! A step of a writer is one commit: values of its own keys, its number, and "last", which all writers write. Its content
//! follows from its writer, its number and an *era*, so that what was lost can be written again, alike or otherwise.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use crate::damage_support::Dice;

pub(crate) const WRITERS: usize = 3;
const KEYS: usize = 40;
pub(crate) const LAST: &str = "last";

/// For each writer a number of steps.
pub(crate) type Counts = [u64; WRITERS];

pub(crate) struct Step {
    /// Removed in the same commit, unless it is a load.
    pub(crate) removed: Option<String>,
    pub(crate) puts: Vec<(String, Vec<u8>)>,
}

pub(crate) fn counter_key(writer: usize) -> String {
    format!("{writer}#")
}

/// The content of "last", and of a writer's counter: who and the how manieth.
pub(crate) fn mark(writer: usize, number: u64) -> Vec<u8> {
    (number * WRITERS as u64 + writer as u64).to_le_bytes().to_vec()
}

/// Every third era's steps are all of one size, so that the records of different histories lie at the same places.
pub(crate) fn step(writer: usize, number: u64, era: u64) -> Step {
    let mut dice = Dice::new(number << 20 ^ (writer as u64) << 16 ^ era << 40);
    let mut puts = BTreeMap::new();
    let key = |n: usize| format!("{writer}/{n:02}");
    let mut removed = None;
    if era.is_multiple_of(3) {
        let first = dice.below(4);
        for n in [first, first + 4] {
            puts.insert(key(n), dice.bytes(300));
        }
    } else {
        for _ in 0..dice.between(1, 5) {
            let len = match dice.below(40) {
                0 => dice.between(6_000, 50_000),
                1..=20 => dice.between(0, 300),
                _ => dice.between(300, 4_000),
            };
            puts.insert(key(dice.below(KEYS)), dice.bytes(len));
        }
        removed = dice.chance(30).then(|| key(dice.below(KEYS))).filter(|key| !puts.contains_key(key));
    }
    puts.insert(counter_key(writer), mark(writer, number));
    puts.insert(LAST.to_owned(), mark(writer, number));
    Step { removed, puts: puts.into_iter().collect() }
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// What a store holds: the hash of each value.
#[derive(PartialEq, Eq, Debug, Default, Clone)]
pub(crate) struct Content {
    values: BTreeMap<String, u64>,
    pub(crate) counts: Counts,
    last: Option<(usize, u64)>,
    /// The number of the secret that it was opened with.
    pub(crate) secret: usize,
}

impl Content {
    pub(crate) fn add(&mut self, key: &str, value: &[u8]) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        if key == LAST {
            let mark = number(value);
            self.last = Some(((mark % WRITERS as u64) as usize, mark / WRITERS as u64));
        } else if let Some(writer) = key.strip_suffix('#') {
            self.counts[writer.parse::<usize>().unwrap()] = number(value) / WRITERS as u64;
        } else {
            self.values.insert(key.to_owned(), hash(value));
        }
    }

    /// In a line; see [`read`](Self::read).
    pub(crate) fn told(&self) -> String {
        let last = self.last.map_or(String::new(), |(writer, number)| format!("{writer}:{number}"));
        let counts = self.counts.map(|count| count.to_string()).join(":");
        let values = self.values.iter().map(|(key, hash)| format!(" {key}={hash}"));
        format!("{},{counts},{last},{}", self.secret, values.collect::<String>())
    }

    pub(crate) fn read(line: &str) -> Content {
        let mut parts = line.splitn(4, ',');
        let mut next = || parts.next().unwrap();
        let secret = next().parse().unwrap();
        let counts: Vec<u64> = next().split(':').map(|count| count.parse().unwrap()).collect();
        let last = next().split_once(':').map(|(w, n)| (w.parse().unwrap(), n.parse().unwrap()));
        let values = next().split_whitespace().map(|pair| pair.split_once('=').unwrap());
        Content {
            values: values.map(|(key, hash)| (key.to_owned(), hash.parse().unwrap())).collect(),
            counts: counts.try_into().unwrap(),
            last,
            secret,
        }
    }
}

#[derive(Clone)]
struct Taken {
    removed: Option<String>,
    puts: Vec<(String, u64)>,
    /// What had returned when it began, or was seen: it cannot be there without all of that.
    after: Counts,
}

/// All steps that were begun, and what is known of them.
#[derive(Clone, Default)]
pub(crate) struct Model {
    begun: [Vec<Taken>; WRITERS],
    /// Steps that have returned.
    pub(crate) done: Counts,
    /// Steps that no power loss may undo.
    pub(crate) safe: Counts,
}

fn is_all_in(part: &Counts, whole: &Counts) -> bool {
    part.iter().zip(whole).all(|(part, whole)| part <= whole)
}

impl Model {
    /// A writer begins its next step; its number.
    pub(crate) fn begin(&mut self, writer: usize, era: u64, is_load: bool) -> u64 {
        let number = self.begun[writer].len() as u64 + 1;
        let step = step(writer, number, era);
        let is_value = |key: &str| key != LAST && !key.ends_with('#');
        let values = step.puts.iter().filter(|(key, _)| is_value(key));
        let puts = values.map(|(key, value)| (key.clone(), hash(value))).collect();
        let removed = step.removed.filter(|_| !is_load);
        self.begun[writer].push(Taken { removed, puts, after: self.done });
        number
    }

    /// A writer's step has returned, before which it had seen so many steps of each.
    pub(crate) fn returned(&mut self, writer: usize, seen: &str) {
        if let Some(step) = self.begun[writer].last_mut() {
            for (after, seen) in step.after.iter_mut().zip(seen.split(' ')) {
                *after = (*after).max(seen.parse().unwrap());
            }
        }
        self.done[writer] = self.begun[writer].len() as u64;
    }

    pub(crate) fn keep(&mut self, counts: &Counts) {
        for (safe, count) in self.safe.iter_mut().zip(counts) {
            *safe = (*safe).max(*count);
        }
    }

    pub(crate) fn begun(&self) -> Counts {
        std::array::from_fn(|writer| self.begun[writer].len() as u64)
    }

    /// What became of a writer that was killed in a step.
    pub(crate) fn settle(&mut self, writer: usize, count: u64) -> Result<(), String> {
        let (done, begun) = (self.done[writer], self.begun[writer].len() as u64);
        if !(done..=begun).contains(&count) {
            return Err(format!("writer {writer} has {count} steps after a kill, not {done} to {begun}"));
        }
        self.begun[writer].truncate(count as usize);
        self.done[writer] = count;
        Ok(())
    }

    /// Whether a store that holds this is in a state that was, and has at least so much.
    pub(crate) fn check(&self, content: &Content, least: &Counts) -> Result<(), String> {
        let counts = &content.counts;
        if !is_all_in(least, counts) {
            return Err(format!("LOST: {counts:?} of the writers' steps, but {least:?} were safe"));
        }
        if !is_all_in(counts, &self.begun()) {
            return Err(format!("ODD: {counts:?} of the writers' steps, but {:?} were begun", self.begun()));
        }
        if let Some((writer, number)) = content.last
            && counts[writer] != number
        {
            return Err(format!("MIXED: {counts:?}, but the last is step {number} of writer {writer}"));
        }
        if content.last.is_none() && *counts != Counts::default() {
            return Err(format!("MIXED: {counts:?}, but none is the last"));
        }
        let mut expected = BTreeMap::new();
        for (writer, (begun, count)) in self.begun.iter().zip(counts).enumerate() {
            let there = &begun[..*count as usize];
            for step in there {
                if let Some(key) = &step.removed {
                    expected.remove(key);
                }
                expected.extend(step.puts.iter().cloned());
            }
            if let Some(step) = there.last().filter(|step| !is_all_in(&step.after, counts)) {
                let after = step.after;
                return Err(format!(
                    "ORDER: {counts:?}, but step {count} of writer {writer} began after {after:?}"
                ));
            }
        }
        for (key, value) in &content.values {
            if expected.remove(key) != Some(*value) {
                return Err(format!("MIXED: {counts:?}: the value of {key:?} is of another time"));
            }
        }
        match expected.keys().next() {
            Some(key) => Err(format!("MIXED: {counts:?}: {key:?} is missing")),
            None => Ok(()),
        }
    }

    /// A power loss left this: what came later never was, and this is on the disk.
    pub(crate) fn restart(&mut self, content: &Content) {
        self.resume(content);
        self.safe = content.counts;
    }

    /// Whoever had the store open is gone, and left this in the page cache.
    pub(crate) fn resume(&mut self, content: &Content) {
        for (begun, count) in self.begun.iter_mut().zip(content.counts) {
            begun.truncate(count as usize);
        }
        self.done = content.counts;
    }
}
