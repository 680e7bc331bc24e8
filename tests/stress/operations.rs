//! Every public operation, in a form that can be done beside any other one.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use cachemere::{Batch, ByteBatch, ByteCache, Cache, Condition, Error, Result, ScanPosition, Secret};

use super::support::Random;

pub(crate) type Pairs = Cache<u64, Vec<u8>>;

/// Few, so that operations meet.
const KEYS: u64 = 12;
/// Longer than any child takes.
const CHILD: Duration = Duration::from_secs(30);

/// A store, with what operations share.
pub(crate) struct Ground {
    pub(crate) path: PathBuf,
    /// Closed and opened again by the operations that do so, while others use it.
    pairs: RwLock<Pairs>,
    bytes: RwLock<ByteCache>,
}

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    perform: fn(&Ground, &mut Random) -> Result<()>,
}

fn secret() -> Secret {
    Secret::key([7; 32])
}

fn open_pairs(path: &Path) -> Result<Pairs> {
    Cache::builder(path).encryption(secret()).checkpoint_interval(Duration::from_millis(20)).open()
}

fn open_bytes(path: &Path) -> Result<ByteCache> {
    let builder = ByteCache::builder(path).namespace("bytes").encryption(secret());
    builder.checkpoint_interval(Duration::from_millis(20)).open()
}

impl Ground {
    pub(crate) fn open(path: &Path) -> Ground {
        let (pairs, bytes) = (open_pairs(path).unwrap(), open_bytes(path).unwrap());
        let (pairs, bytes) = (RwLock::new(pairs), RwLock::new(bytes));
        Ground { path: path.to_owned(), pairs, bytes }
    }

    fn pairs(&self) -> Pairs {
        self.pairs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bytes(&self) -> ByteCache {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A path beside the store that nothing lies at.
    fn beside(&self, random: &mut Random) -> PathBuf {
        self.path.with_file_name(format!("{}-{}", std::process::id(), random.next()))
    }
}

impl Operation {
    /// Does it. What others do meanwhile may refuse it, but only so.
    pub(crate) fn perform(&self, ground: &Ground, random: &mut Random) {
        match (self.perform)(ground, random) {
            Ok(()) | Err(Error::Closed | Error::Busy { .. }) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    pub(crate) fn named(name: &str) -> &'static Operation {
        OPERATIONS.iter().find(|operation| operation.name == name).unwrap()
    }
}

/// One of all, for functions of the user's that are called in the middle of an operation.
fn any(ground: &Ground, random: &mut Random) {
    OPERATIONS[random.below(OPERATIONS.len() as u64) as usize].perform(ground, random);
}

/// Whether the operation of the user's that is called may begin one of the same kind.
fn is_outermost(work: impl FnOnce()) {
    thread_local!(static DEPTH: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    if DEPTH.get() < 2 {
        DEPTH.set(DEPTH.get() + 1);
        work();
        DEPTH.set(DEPTH.get() - 1);
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    vec![random.next() as u8; random.below(400) as usize]
}

macro_rules! operations {
    ($($name:literal => $perform:expr,)*) => {
        pub(crate) const OPERATIONS: &[Operation] = &[$(Operation { name: $name, perform: $perform },)*];
    };
}

operations! {
    "get" => |at, random| at.pairs().get(&random.below(KEYS)).map(drop),
    "insert" => |at, random| at.pairs().insert(&random.below(KEYS), &value(random)),
    "insert many" => |at, random| {
        let all: Vec<_> = (0..KEYS).map(|key| (key, value(random))).collect();
        at.pairs().insert_many(all.iter().map(|(key, value)| (key, value)))
    },
    "batch" => |at, random| {
        let mut batch = Batch::new();
        batch.insert(&random.below(KEYS), value(random)).remove(&random.below(KEYS));
        at.pairs().write(&batch)
    },
    "remove" => |at, random| at.pairs().remove(&random.below(KEYS)).map(drop),
    "take" => |at, random| at.pairs().take(&random.below(KEYS)).map(drop),
    "get many" => |at, _| at.pairs().get_many(0..KEYS).map(drop),
    "touch" => |at, random| at.pairs().touch(&random.below(KEYS)).map(drop),
    "touch with ttl" => |at, random| {
        at.pairs().touch_with_ttl(&random.below(KEYS), Duration::from_millis(1 + random.below(50))).map(drop)
    },
    "look" => |at, random| {
        let (cache, key) = (at.pairs(), random.below(KEYS));
        cache.contains(&key)?;
        cache.info(&key).map(drop)
    },
    "compare and set" => |at, random| {
        at.pairs().compare_and_set(&random.below(KEYS), None, Some(&value(random))).map(drop)
    },
    "update" => |at, random| {
        let (key, new) = (random.below(KEYS), value(random));
        at.pairs().update(&key, |_| {
            is_outermost(|| any(at, random));
            Some(new.clone())
        }).map(drop)
    },
    "get or insert" => |at, random| {
        let (key, new) = (random.below(KEYS), value(random));
        at.pairs().get_or_insert_with(&key, || {
            is_outermost(|| any(at, random));
            new
        }).map(drop)
    },
    "iterate" => |at, random| {
        for entry in at.pairs().iter() {
            entry?;
            is_outermost(|| any(at, random));
        }
        Ok(())
    },
    "iterate back" => |at, _| at.pairs().iter().rev().try_for_each(|entry| entry.map(drop)),
    "pop" => |at, random| {
        let cache = at.pairs();
        if random.below(2) == 0 { cache.pop_oldest().map(drop) } else { cache.pop_newest().map(drop) }
    },
    "len" => |at, _| at.pairs().len().map(drop),
    "stats" => |at, _| at.pairs().stats().map(drop),
    "describe" => |at, _| {
        at.pairs().store_info()?;
        at.pairs().namespaces().map(drop)
    },
    "sweep" => |at, _| at.pairs().sweep().map(drop),
    "checkpoint" => |at, _| at.pairs().checkpoint(),
    "verify" => |at, _| {
        let report = at.pairs().verify()?;
        assert!(report.is_clean(), "{report:?}");
        Ok(())
    },
    "backup" => |at, random| {
        let to = at.beside(random);
        let done = at.pairs().backup(&to);
        drop(std::fs::remove_dir_all(to));
        done
    },
    "clear" => |at, _| at.pairs().clear(),
    "compact" => |at, _| at.pairs().compact(),
    "reencrypt" => |at, _| at.pairs().reencrypt(&secret(), &secret()),
    "change secret" => |at, _| at.pairs().change_secret(&secret(), &secret()),
    "open" => |at, random| {
        let cache = open_pairs(&at.path)?;
        cache.get(&random.below(KEYS))?;
        cache.close()
    },
    "sibling" => |at, random| {
        match at.pairs().sibling::<u64, u32>()?.namespace("sibling").open() {
            // It was encrypted anew in between.
            Err(error) if error.is_wrong_secret() => Ok(()),
            beside => beside?.insert(&random.below(KEYS), &1),
        }
    },
    "close both" => |at, _| {
        let mut pairs = at.pairs.write().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = at.bytes.write().unwrap_or_else(PoisonError::into_inner);
        pairs.close()?;
        bytes.close()?;
        (*pairs, *bytes) = (open_pairs(&at.path)?, open_bytes(&at.path)?);
        Ok(())
    },
    "fork" => |at, random| forked(at, random),
    "bytes" => |at, random| {
        let (cache, key) = (at.bytes(), [random.below(KEYS) as u8]);
        match cache.get(&key)? {
            Some(found) => {
                let held = cache.hold(&found)?;
                cache.is_current(&held)?;
                cache.get_unless(&key, &held)?;
                cache.insert_if(&key, b"second", 2, None, Condition::Version(found.version))?;
                cache.remove_if(&key, found.version).map(drop)
            }
            None => cache.insert(&key, &value(random), 1, None),
        }
    },
    "bytes batch" => |at, random| {
        let mut batch = ByteBatch::new();
        batch.insert(&[random.below(KEYS) as u8], value(random), 0, None);
        batch.remove(&[random.below(KEYS) as u8]);
        at.bytes().write(&batch)
    },
    "scan" => |at, random| {
        let (cache, mut position) = (at.bytes(), ScanPosition::default());
        while !cache.scan(&mut position)?.is_empty() {
            is_outermost(|| any(at, random));
        }
        Ok(())
    },
    "lead" => |at, random| {
        let (cache, key) = (at.bytes(), [random.below(KEYS) as u8]);
        let _lead = cache.lead(&key)?;
        is_outermost(|| any(at, random));
        Ok(())
    },
    "try lead" => |at, random| {
        let (cache, key) = (at.bytes(), [random.below(KEYS) as u8]);
        let _lead = cache.try_lead(&key)?;
        cache.insert(&key, b"led", 0, None)
    },
    "token" => |at, _| {
        at.bytes().check_place()?;
        at.bytes().token().map(drop)
    },
    "load" => load,
    "async" => asynchronous,
}

/// Forks a child that reads and writes, and ends without cleaning up.
#[allow(unsafe_code)]
fn forked(at: &Ground, random: &mut Random) -> Result<()> {
    let (cache, key) = (at.pairs(), random.below(KEYS));
    // SAFETY: the child goes on with one thread, uses the store and ends.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(Error::Closed),
        0 => {
            let done = cache.get(&key).and_then(|_| cache.insert(&key, &vec![1]));
            // Its parent can encrypt the store anew before it has looked at it.
            let is_well =
                matches!(done, Ok(()) | Err(Error::Closed | Error::Busy { .. } | Error::WrongSecret { .. }));
            // SAFETY: ends the process at once; nothing of the parent's is cleaned up.
            unsafe { libc::_exit(i32::from(!is_well)) }
        }
        child => child,
    };
    let (since, mut status) = (Instant::now(), 0);
    // SAFETY: `status` is a valid place for the status.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if since.elapsed() > CHILD {
            // SAFETY: a signal to our own child.
            unsafe { libc::kill(child, libc::SIGABRT) };
            panic!("the child {child} is stuck");
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(status, 0, "the child {child} failed");
    Ok(())
}

#[cfg(feature = "load")]
fn load(at: &Ground, random: &mut Random) -> Result<()> {
    use cachemere::ByteEntry;
    use cachemere::load::{Existing, Format, Load, Progress, Record, Records, Refusal, Watch};

    struct Nosy<'a>(&'a Ground, &'a mut Random);
    impl Watch for Nosy<'_> {
        fn progress(&mut self, _: &Progress) {
            is_outermost(|| any(self.0, self.1));
        }
    }
    let file = at.beside(random);
    let text: String = (0..KEYS).map(|key| format!("{key}\t{}\n", random.next())).collect();
    std::fs::write(&file, text).unwrap();
    let make = |record: &Record<'_>, entry: &mut ByteEntry| -> Result<(), Refusal> {
        entry.key.push(record.key.raw()[0]);
        entry.payload.extend_from_slice(record.value.raw());
        Ok(())
    };
    let load = Load::new([&file], Format::new(Records::TabSep), &at.path);
    let loaded = at.bytes().load(load, Existing::Replace, None, &make, &mut Nosy(at, random));
    std::fs::remove_file(file).unwrap();
    loaded.map(drop)
}

#[cfg(not(feature = "load"))]
fn load(_: &Ground, _: &mut Random) -> Result<()> {
    Ok(())
}

fn asynchronous(at: &Ground, random: &mut Random) -> Result<()> {
    let key = random.below(2 * KEYS);
    let (cache, value) = (cachemere::AsyncCache::from(at.pairs()), value(random));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        cache.insert(&key, value.clone()).await?;
        cache.try_get_or_insert_with(&key, || async { Ok::<_, Error>(value) }).await?;
        cache.len().await.map(drop)
    })
}
