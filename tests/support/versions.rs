//! Values with version numbers, and the board on which writers announce them: how a stale read is recognised.
//!
//! Each key has one writer, which counts the key's versions up by one. It notes a version on the board as *started*
//! before it writes it and as *published* after the write has returned. A read that starts when version `p` is
//! published and ends when version `s` is started must give one of the versions `p..=s`; anything else is wrong.
//! Versions that are multiples of eight are removals, so the absence of a key can be checked just as well.

use std::path::Path;
use std::sync::atomic::Ordering;

use cachemere::{Batch, Cache};

use crate::support::{Random, SharedWords, mixed};

/// The key, its version, and something to make entries of different sizes.
pub(crate) type Value = (u32, u64, Vec<u8>);
pub(crate) type Versions = Cache<u32, Value>;

pub(crate) fn value(key: u32, version: u64) -> Value {
    let filler = mixed(u64::from(key) << 32 | version);
    // Some are on pages of their own.
    let size = if filler.is_multiple_of(32) { 6000 } else { filler % 200 };
    (key, version, vec![filler as u8; size as usize])
}

pub(crate) fn is_removal(version: u64) -> bool {
    version.is_multiple_of(8)
}

pub(crate) struct Board {
    words: SharedWords,
    keys: u32,
}

impl Board {
    pub(crate) fn open(path: &Path, keys: u32) -> Board {
        Board { words: SharedWords::map(path, 2 * keys as usize), keys }
    }

    pub(crate) fn keys(&self) -> u32 {
        self.keys
    }

    pub(crate) fn started(&self, key: u32) -> u64 {
        self.words[2 * key as usize].load(Ordering::SeqCst)
    }

    pub(crate) fn published(&self, key: u32) -> u64 {
        self.words[2 * key as usize + 1].load(Ordering::SeqCst)
    }

    pub(crate) fn start(&self, key: u32, version: u64) {
        self.words[2 * key as usize].store(version, Ordering::SeqCst);
    }

    pub(crate) fn publish(&self, key: u32, version: u64) {
        self.words[2 * key as usize + 1].store(version, Ordering::SeqCst);
    }

    /// What is wrong with having read `got` when `published` was published before the read began.
    pub(crate) fn judge(&self, key: u32, published: u64, got: Option<&Value>) -> Option<String> {
        let started = self.started(key);
        let about = || format!("key {key}, versions {published} to {started} possible");
        match got {
            Some(got) => {
                let right =
                    (published..=started).contains(&got.1) && !is_removal(got.1) && *got == value(key, got.1);
                (!right).then(|| format!("{}: read version {} of key {}", about(), got.1, got.0))
            }
            // The last removal that can have happened.
            None => (started / 8 * 8 < published).then(|| format!("{}: read nothing", about())),
        }
    }
}

/// Reads keys in all ways there are; tells how many reads there were, and what was wrong with any.
pub(crate) struct Reader<'a> {
    pub(crate) cache: &'a Versions,
    pub(crate) board: &'a Board,
    /// The keys of this cache.
    pub(crate) keys: Vec<u32>,
    pub(crate) random: Random,
    pub(crate) reads: u64,
    pub(crate) wrong: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(cache: &'a Versions, board: &'a Board, keys: Vec<u32>) -> Reader<'a> {
        Reader { cache, board, keys, random: Random::new(), reads: 0, wrong: Vec::new() }
    }

    /// Half of all reads are of the first four keys.
    fn any_key(&mut self) -> u32 {
        let among = if self.random.below(2) == 0 { 4 } else { self.keys.len() as u64 };
        self.keys[self.random.below(among) as usize]
    }

    pub(crate) fn step(&mut self) {
        let key = self.any_key();
        let published = self.board.published(key);
        match self.random.below(512) {
            0 => {
                let there = self.cache.contains(&key).unwrap();
                let started = self.board.started(key);
                let possible =
                    (published..=started.min(published + 8)).any(|version| is_removal(version) != there);
                self.note(1, (!possible).then(|| format!("key {key}: contains says {there} at {published}")));
            }
            1 => {
                let keys: Vec<u32> = (0..5).map(|_| self.any_key()).collect();
                let before: Vec<u64> = keys.iter().map(|key| self.board.published(*key)).collect();
                let all = self.cache.get_many(&keys).unwrap();
                for ((key, published), got) in keys.iter().zip(before).zip(&all) {
                    self.note(1, self.board.judge(*key, published, got.as_ref()));
                }
            }
            2 => {
                let got = self.cache.get_shared(&key).unwrap();
                self.note(1, self.board.judge(key, published, got.as_deref()));
            }
            3 if self.random.below(8) == 0 => self.iterate(),
            _ => {
                let got = self.cache.get(&key).unwrap();
                self.note(1, self.board.judge(key, published, got.as_ref()));
            }
        }
    }

    /// An iteration is several reads, none of which starts before the iteration does.
    fn iterate(&mut self) {
        let before: Vec<u64> = (0..self.board.keys()).map(|key| self.board.published(key)).collect();
        let all: Vec<(u32, Value)> = self.cache.iter().map(|entry| entry.unwrap()).collect();
        for (key, got) in all {
            // A key that is not on the board is somebody else's.
            if let Some(published) = before.get(key as usize) {
                self.note(1, self.board.judge(key, *published, Some(&got)));
            }
        }
    }

    fn note(&mut self, reads: u64, wrong: Option<String>) {
        self.reads += reads;
        self.wrong.extend(wrong);
    }
}

/// Writes keys that nobody else writes, in all ways there are.
pub(crate) struct Writer<'a> {
    pub(crate) cache: &'a Versions,
    pub(crate) board: &'a Board,
    pub(crate) keys: Vec<u32>,
    /// Whether the cache's namespace is this writer's own, so that it may be cleared.
    pub(crate) clears: bool,
    pub(crate) random: Random,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(cache: &'a Versions, board: &'a Board, keys: Vec<u32>) -> Writer<'a> {
        Writer { cache, board, keys, clears: false, random: Random::new() }
    }

    pub(crate) fn step(&mut self) {
        if self.clears && self.random.below(200) == 0 {
            return self.clear();
        }
        let key = self.keys[self.random.below(self.keys.len() as u64) as usize];
        let old = self.board.started(key);
        let version = old + 1;
        self.board.start(key, version);
        if is_removal(version) {
            match self.random.below(4) {
                0 => self.batch(key, version),
                1 => assert_eq!(self.cache.take(&key).unwrap(), Some(value(key, old))),
                2 => assert_eq!(self.cache.update(&key, |_| None).unwrap(), None),
                _ => assert!(self.cache.remove(&key).unwrap()),
            }
        } else {
            let new = value(key, version);
            match self.random.below(7) {
                6 => self.batch(key, version),
                0 => self.several(key, version),
                1 => {
                    let before = (!is_removal(old)).then(|| value(key, old));
                    let updated = self.cache.update(&key, |present| {
                        assert_eq!(present, before, "another's value, or an old one");
                        Some(new.clone())
                    });
                    assert_eq!(updated.unwrap(), Some(new));
                }
                2 => {
                    let before = (!is_removal(old)).then(|| value(key, old));
                    assert!(self.cache.compare_and_set(&key, before.as_ref(), Some(&new)).unwrap());
                }
                3 if is_removal(old) => {
                    assert_eq!(self.cache.get_or_insert_with(&key, || new.clone()).unwrap(), new);
                }
                _ => self.cache.insert(&key, &new).unwrap(),
            }
        }
        self.board.publish(key, version);
        assert_eq!(
            self.cache.get(&key).unwrap(),
            (!is_removal(version)).then(|| value(key, version)),
            "a writer must read its own write"
        );
    }

    /// Writes the key and some others in one transaction.
    fn several(&mut self, key: u32, version: u64) {
        let mut all = vec![(key, version)];
        for other in self.keys.iter().copied().filter(|other| *other != key).take(5) {
            let version = self.board.started(other) + 1;
            if !is_removal(version) {
                self.board.start(other, version);
                all.push((other, version));
            }
        }
        let values: Vec<(u32, Value)> =
            all.iter().map(|(key, version)| (*key, value(*key, *version))).collect();
        self.cache.insert_many(values.iter().map(|(key, value)| (key, value))).unwrap();
        for (key, version) in all {
            self.board.publish(key, version);
        }
    }

    /// Writes the key and some others, and removes some, in one transaction.
    fn batch(&mut self, key: u32, version: u64) {
        let mut all = vec![(key, version)];
        for other in self.keys.iter().copied().filter(|other| *other != key).take(5) {
            let version = self.board.started(other) + 1;
            self.board.start(other, version);
            all.push((other, version));
        }
        let mut batch = Batch::new();
        for (key, version) in &all {
            match is_removal(*version) {
                true => batch.remove(key),
                false => batch.insert(key, value(*key, *version)),
            };
        }
        self.cache.write(&batch).unwrap();
        for (key, version) in all {
            self.board.publish(key, version);
        }
    }

    fn clear(&mut self) {
        let removals: Vec<(u32, u64)> =
            self.keys.iter().map(|key| (*key, (self.board.started(*key) / 8 + 1) * 8)).collect();
        for (key, version) in &removals {
            self.board.start(*key, *version);
        }
        self.cache.clear().unwrap();
        for (key, version) in removals {
            self.board.publish(key, version);
        }
    }
}
