//! The operations in which calls fail, each on a store of its own, and what is in it before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachemere::{ByteBuilder, ByteCache, Error, Maintenance, Result, ScanPosition, Secret};

use crate::damage_support::Dice;

/// The version of each key's value.
pub(crate) type Content = BTreeMap<String, u32>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Opening where nothing is.
    Create,
    CreateSealed,
    /// Opening what a killed process left.
    Recover,
    /// Writing under a limit, so that the writer makes segments and folds them.
    Write,
    /// What the background thread does after a while: it folds all there is, and gives free pages back.
    Upkeep,
    Checkpoint,
    #[cfg(feature = "load")]
    Load,
    Clear,
    Compact,
    Reencrypt,
    Encrypt,
    ChangeSecret,
    Backup,
    Close,
}

/// What became of one, in the process that ran it.
pub(crate) struct Outcome {
    pub(crate) done: Result<()>,
    /// What may be in the store now.
    pub(crate) allowed: Vec<Content>,
}

pub(crate) fn secrets() -> [Secret; 2] {
    [Secret::key([1; 32]), Secret::key([2; 32])]
}

fn value(key: &str, version: u32) -> Vec<u8> {
    let mut dice =
        Dice::new(u64::from(version) << 32 ^ key.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte)));
    let len = match key.starts_with('w') {
        true => 20_000,
        false => dice.between(10, 3000),
    };
    [&version.to_le_bytes()[..], &dice.bytes(len)].concat()
}

pub(crate) fn put(cache: &ByteCache, key: &str, version: u32) -> Result<()> {
    cache.insert(key.as_bytes(), &value(key, version), 0, None)
}

/// All that is in a store.
pub(crate) fn content(cache: &ByteCache) -> Result<Content> {
    let (mut position, mut content) = (ScanPosition::default(), Content::new());
    loop {
        let chunk = cache.scan(&mut position)?;
        if chunk.is_empty() {
            break;
        }
        for entry in chunk {
            let entry = entry?;
            let key = String::from_utf8(entry.key.to_vec()).unwrap();
            let version = u32::from_le_bytes(entry.payload[..4].try_into().unwrap());
            assert_eq!(entry.payload, value(&key, version)[..], "{key}");
            let got = cache.get(key.as_bytes())?;
            assert_eq!(got.map(|got| got.payload), Some(entry.payload), "{key} is listed");
            content.insert(key, version);
        }
    }
    assert_eq!(cache.len()?, content.len() as u64);
    Ok(content)
}

fn keys(letter: char, numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(move |number| format!("{letter}{number:02}"))
}

impl Operation {
    pub(crate) const ALL: &[Operation] = &[
        Operation::Create,
        Operation::CreateSealed,
        Operation::Recover,
        Operation::Write,
        Operation::Upkeep,
        Operation::Checkpoint,
        #[cfg(feature = "load")]
        Operation::Load,
        Operation::Clear,
        Operation::Compact,
        Operation::Reencrypt,
        Operation::Encrypt,
        Operation::ChangeSecret,
        Operation::Backup,
        Operation::Close,
    ];

    pub(crate) fn of(name: &str) -> Operation {
        let named = |operation: &&Operation| format!("{operation:?}") == name;
        *Operation::ALL.iter().find(named).expect("it is the name of one")
    }

    pub(crate) fn is_sealed(self) -> bool {
        matches!(self, Operation::CreateSealed | Operation::Reencrypt | Operation::ChangeSecret)
    }

    /// Whether nothing is there before it.
    pub(crate) fn creates(self) -> bool {
        matches!(self, Operation::Create | Operation::CreateSealed)
    }

    /// Whether other processes may have the store open, and have nothing to do with the operation.
    pub(crate) fn can_be_shared(self) -> bool {
        let needs_it_alone = matches!(
            self,
            Operation::Recover | Operation::Compact | Operation::Reencrypt | Operation::Encrypt
        );
        !self.creates() && !needs_it_alone
    }

    pub(crate) fn changes_secret(self) -> bool {
        matches!(self, Operation::Reencrypt | Operation::Encrypt | Operation::ChangeSecret)
    }

    /// Whether nothing is in the log before it, so that it makes a segment.
    fn begins_the_log(self) -> bool {
        matches!(self, Operation::Clear | Operation::ChangeSecret)
    }

    /// How its store is opened, with one of the two secrets.
    pub(crate) fn builder(self, dir: &Path, secret: usize) -> ByteBuilder {
        let builder = match self {
            Operation::Upkeep => ByteCache::builder(dir).checkpoint_interval(Duration::from_millis(100)),
            _ => ByteCache::builder(dir).maintenance(Maintenance::Manual),
        };
        let builder = match self {
            Operation::Write => builder.max_bytes(4 << 20),
            _ => builder,
        };
        match self.is_sealed() || (self == Operation::Encrypt && secret == 1) {
            true => builder.encryption(secrets()[secret].clone()),
            false => builder,
        }
    }

    /// Makes the store that it is run on, as far as it is in the data file.
    pub(crate) fn prepare(self, dir: &Path) {
        if self.creates() {
            return;
        }
        let cache = self.builder(dir, 0).open().unwrap();
        for key in keys('k', 0..50) {
            put(&cache, &key, 1).unwrap();
        }
        if self == Operation::Upkeep {
            // Free pages, enough to be given back.
            cache.insert(b"large", &vec![1; 4 << 20], 0, None).unwrap();
            cache.checkpoint().unwrap();
            cache.remove(b"large").unwrap();
        }
        if self.begins_the_log() {
            change(&cache);
        }
        cache.close().unwrap();
        if self == Operation::Recover {
            let cache = self.builder(dir, 0).open().unwrap();
            change(&cache);
            // SAFETY: it ends here, as if it were killed.
            #[allow(unsafe_code)]
            unsafe {
                libc::_exit(0)
            };
        }
    }

    /// Opens the store, and writes what is to be in the log.
    pub(crate) fn open(self, dir: &Path) -> Option<ByteCache> {
        if self.creates() || self == Operation::Recover {
            return None;
        }
        let cache = self.builder(dir, 0).open().unwrap();
        if !self.begins_the_log() {
            change(&cache);
        }
        #[cfg(feature = "load")]
        if self == Operation::Load {
            let lines = loaded().map(|(key, version)| format!("{key}\t{version}\n"));
            std::fs::write(input_of(dir), lines.collect::<String>()).unwrap();
        }
        Some(cache)
    }

    /// What is in the store before it is run.
    pub(crate) fn before(self) -> Content {
        match self.creates() {
            true => Content::new(),
            false => {
                keys('k', 0..40).map(|key| (key, 1)).chain(keys('k', 40..60).map(|key| (key, 2))).collect()
            }
        }
    }

    pub(crate) fn run(self, dir: &Path, cache: &mut Option<ByteCache>) -> Outcome {
        let before = self.before();
        let unchanged = |done| Outcome { done, allowed: vec![self.before()] };
        let Some(open) = cache else {
            return unchanged(self.builder(dir, 0).open().map(|opened| *cache = Some(opened)));
        };
        let [old, new] = secrets();
        match self {
            Operation::Create | Operation::CreateSealed | Operation::Recover => {
                unreachable!("it is not open")
            }
            Operation::Write => {
                let mut content = before;
                let mut done = Ok(());
                for round in 1..5 {
                    for key in keys('w', 0..20) {
                        match put(open, &key, round) {
                            Ok(()) => drop(content.insert(key, round)),
                            Err(error) => done = Err(error),
                        }
                    }
                }
                Outcome { done, allowed: vec![content] }
            }
            Operation::Upkeep => {
                std::thread::sleep(Duration::from_millis(1100));
                unchanged(Ok(()))
            }
            Operation::Checkpoint => unchanged(open.checkpoint()),
            #[cfg(feature = "load")]
            Operation::Load => {
                let mut after = before.clone();
                after.extend(loaded());
                either(load(open, dir), before, after)
            }
            Operation::Clear => either(open.clear(), before, Content::new()),
            Operation::Compact => unchanged(open.compact()),
            Operation::Reencrypt => unchanged(open.reencrypt(&old, &new)),
            Operation::Encrypt => unchanged(open.encrypt(&new)),
            Operation::ChangeSecret => unchanged(open.change_secret(&old, &new)),
            Operation::Backup => unchanged(open.backup(backup_of(dir))),
            Operation::Close => unchanged(open.close()),
        }
    }

    /// Runs it again where nothing fails, if that is the same again.
    pub(crate) fn repeat(self, dir: &Path, cache: &ByteCache) -> Result<()> {
        match self {
            Operation::Checkpoint => cache.checkpoint(),
            #[cfg(feature = "load")]
            Operation::Load => load(cache, dir),
            Operation::Clear => cache.clear(),
            Operation::Compact => cache.compact(),
            Operation::Backup if !backup_of(dir).exists() => cache.backup(backup_of(dir)),
            _ => Ok(()),
        }
    }
}

fn either(done: Result<()>, before: Content, after: Content) -> Outcome {
    match done {
        Ok(()) => Outcome { done, allowed: vec![after] },
        Err(_) => Outcome { done, allowed: vec![before, after] },
    }
}

fn change(cache: &ByteCache) {
    for key in keys('k', 40..60) {
        put(cache, &key, 2).unwrap();
    }
}

pub(crate) fn backup_of(dir: &Path) -> PathBuf {
    dir.with_file_name("backup")
}

#[cfg(feature = "load")]
fn loaded() -> impl Iterator<Item = (String, u32)> {
    keys('k', 30..45).chain(keys('l', 0..40)).map(|key| (key, 3))
}

/// Beside the folder that is looked at for what is left over.
#[cfg(feature = "load")]
fn input_of(dir: &Path) -> PathBuf {
    dir.parent().unwrap().with_extension("tsv")
}

#[cfg(feature = "load")]
fn load(cache: &ByteCache, dir: &Path) -> Result<()> {
    use cachemere::ByteEntry;
    use cachemere::load::{Existing, Format, Load, Record, Records, Refusal};
    let load = Load::new([input_of(dir)], Format::new(Records::TabSep), dir.parent().unwrap())
        .options(|options| options.memory_budget(4 << 20));
    let make = |record: &Record<'_>, entry: &mut ByteEntry| -> std::result::Result<(), Refusal> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let key = text(record.key.raw());
        let version = text(record.value.raw()).parse().unwrap();
        entry.payload.extend_from_slice(&value(&key, version));
        entry.key.extend_from_slice(key.as_bytes());
        Ok(())
    };
    cache.load(load, Existing::Replace, None, &make, &mut ()).map(drop)
}

/// Whether a store says that it takes no more writes since a sync has failed.
pub(crate) fn is_for_good(error: &Error) -> bool {
    error.to_string().contains("check the")
}
