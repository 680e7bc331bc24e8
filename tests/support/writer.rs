//! Writers that say what they write, and the model that what they said is compared with.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use cachemere::{Batch, Cache};

use crate::support::{Random, mixed};

const LONG: Duration = Duration::from_secs(3600);

pub(crate) type Value = (u64, String);
pub(crate) type Store = Cache<u64, Value>;

pub(crate) fn value(key: u64, version: u64) -> Value {
    let random = mixed(key << 40 | version);
    let size = if random.is_multiple_of(16) { random % 20_000 } else { random % 300 };
    (version, format!("{random:x}").repeat(1 + size as usize / 16))
}

/// What a writer says it does, in a form that both sides take apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Insert,
    Update,
    /// Of the key and the following ones.
    Many(u64),
    /// As many, in a batch that also removes as many of the keys behind them.
    Batch(u64),
    Remove,
    /// With a time to live that does not end.
    Lasting,
    /// With a time to live that ends at once.
    Fleeting,
    Touch,
    Clear,
}

impl Step {
    pub(crate) fn any(random: &mut Random) -> Step {
        match random.below(400) {
            0 => Step::Clear,
            1..25 => Step::Many(2 + random.below(20)),
            25..40 => Step::Batch(2 + random.below(20)),
            40..90 => Step::Remove,
            90..130 => Step::Lasting,
            130..150 => Step::Fleeting,
            150..160 => Step::Touch,
            160..240 => Step::Update,
            _ => Step::Insert,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Step::Many(count) => format!("Many {count}"),
            Step::Batch(count) => format!("Batch {count}"),
            step => format!("{step:?} 1"),
        }
    }

    pub(crate) fn parse(name: &str, count: &str) -> Step {
        let simple = [
            Step::Insert,
            Step::Update,
            Step::Remove,
            Step::Lasting,
            Step::Fleeting,
            Step::Touch,
            Step::Clear,
        ];
        let found = simple.into_iter().find(|step| format!("{step:?}") == name);
        let count = count.parse().unwrap();
        found.unwrap_or(if name == "Batch" { Step::Batch(count) } else { Step::Many(count) })
    }
}

/// Does a step to the store.
pub(crate) fn perform(cache: &Store, step: Step, key: u64, version: u64) {
    let new = value(key, version);
    match step {
        Step::Insert => cache.insert(&key, &new).unwrap(),
        Step::Update => drop(cache.update(&key, |_| Some(new.clone())).unwrap()),
        Step::Many(count) => {
            let all: Vec<(u64, Value)> = (key..key + count).map(|key| (key, value(key, version))).collect();
            cache.insert_many(all.iter().map(|(key, value)| (key, value))).unwrap();
        }
        Step::Batch(count) => {
            let mut batch = Batch::new();
            for key in key..key + count {
                batch.insert(&key, value(key, version)).remove(&(key + count));
            }
            cache.write(&batch).unwrap();
        }
        Step::Remove => drop(cache.remove(&key).unwrap()),
        Step::Lasting => cache.insert_with_ttl(&key, &new, LONG).unwrap(),
        Step::Fleeting => cache.insert_with_ttl(&key, &new, Duration::from_micros(1)).unwrap(),
        Step::Touch => drop(cache.touch(&key).unwrap()),
        Step::Clear => cache.clear().unwrap(),
    }
}

/// What must be in a writer's namespace.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) entries: BTreeMap<u64, u64>,
    pub(crate) version: u64,
    /// Begun, and not known to have returned.
    pub(crate) open: Option<(Step, u64, u64)>,
    pub(crate) returned: u64,
}

impl Model {
    pub(crate) fn hear(&mut self, line: &str) {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["+", name, count, key, version] => {
                assert_eq!(self.open, None);
                let (key, version) = (key.parse().unwrap(), version.parse().unwrap());
                self.version = version;
                self.open = Some((Step::parse(name, count), key, version));
            }
            ["-"] => {
                let (step, key, version) = self.open.take().unwrap();
                self.apply(step, key, version);
                self.returned += 1;
            }
            ["."] => {}
            _ => panic!("{line:?}"),
        }
    }

    pub(crate) fn apply(&mut self, step: Step, key: u64, version: u64) {
        match step {
            Step::Insert | Step::Update | Step::Lasting => drop(self.entries.insert(key, version)),
            Step::Many(count) => self.entries.extend((key..key + count).map(|key| (key, version))),
            Step::Batch(count) => {
                self.entries.extend((key..key + count).map(|key| (key, version)));
                self.entries.retain(|other, _| !(key + count..key + 2 * count).contains(other));
            }
            Step::Remove | Step::Fleeting => drop(self.entries.remove(&key)),
            Step::Touch => {}
            Step::Clear => self.entries.clear(),
        }
    }

    /// Compares with the store, finds out what became of the write that did not return, and goes on from there.
    pub(crate) fn check(&mut self, cache: &Store, may_be_evicted: bool) {
        let mut found = BTreeMap::new();
        for entry in cache.iter() {
            let (key, got) = entry.unwrap();
            assert_eq!(got, value(key, got.0), "the value of {key} is not what was written");
            assert_eq!(cache.get(&key).unwrap(), Some(got.clone()));
            found.insert(key, got.0);
        }
        let before = self.entries.clone();
        let open = self.open.take();
        if let Some((step, key, version)) = open {
            self.apply(step, key, version);
        }
        if may_be_evicted {
            let right = |(key, version): (&u64, &u64)| {
                before.get(key) == Some(version) || self.entries.get(key) == Some(version)
            };
            assert!(found.iter().all(right), "{found:?} {before:?} {open:?}");
        } else {
            assert!(
                found == self.entries || found == before,
                "found {:?}\nreported {:?}\nnot returned {open:?}",
                differing(&found, &before),
                differing(&before, &found),
            );
            assert_eq!(cache.len().unwrap(), found.len() as u64);
        }
        self.entries = found;
    }
}

pub(crate) fn differing(a: &BTreeMap<u64, u64>, b: &BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
    a.iter().filter(|(key, version)| b.get(key) != Some(version)).map(|(k, v)| (*k, *v)).collect()
}
