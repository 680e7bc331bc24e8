//! Nothing lost: when a write has returned, killing the process with `SIGKILL` loses nothing and damages nothing.
//!
//! Writers say through a pipe what they are about to write (`+ ..`) and that it has returned (`-`). They are killed at
//! random; a model of what they said is then compared with the store. Only of the one write that had not returned may
//! either the old or the new be there, and of a write of several values, or of a batch, all or none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cachemere::{Batch, Cache, Durability, Secret, Zstd};
use support::{Random, Role, hear, mixed, rounds, say, store};

const KEYS: u64 = 150;
const LONG: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    support::run(
        &[("write", write)],
        &[
            ("a_killed_writer_loses_nothing", || kill_all("plain", 1, rounds(30, 250))),
            ("killed_writers_lose_nothing_of_an_encrypted_store", || {
                kill_all("encrypted", 2, rounds(12, 100))
            }),
            ("killed_writers_lose_nothing_of_a_compressed_store", || {
                kill_all("compressed", 3, rounds(8, 60))
            }),
            ("killed_writers_lose_nothing_with_synced_writes", || kill_all("synced", 4, rounds(8, 60))),
            ("a_killed_writer_leaves_a_store_with_a_size_limit_whole", || {
                kill_all("limited", 2, rounds(10, 80))
            }),
            ("writers_go_on_while_others_are_killed", || kill_some(rounds(20, 150))),
        ],
    )
}

type Value = (u64, String);
type Store = Cache<u64, Value>;

fn open(path: &Path, variant: &str, writer: &str) -> Store {
    let mut builder = Cache::builder(path).namespace(format!("of writer {writer}"));
    match variant {
        "encrypted" => builder = builder.encryption(Secret::key([9; 32])),
        "compressed" => builder = builder.encryption(Secret::key([8; 32])).compression(Zstd::default()),
        "synced" => builder = builder.durability(Durability::Sync),
        "limited" => builder = builder.max_bytes(4 << 20),
        _ => {}
    }
    builder.open().unwrap()
}

fn value(key: u64, version: u64) -> Value {
    let random = mixed(key << 40 | version);
    let size = if random.is_multiple_of(16) { random % 20_000 } else { random % 300 };
    (version, format!("{random:x}").repeat(1 + size as usize / 16))
}

/// What a writer says it does, in a form that both sides take apart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
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
    fn any(random: &mut Random) -> Step {
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

    fn name(self) -> String {
        match self {
            Step::Many(count) => format!("Many {count}"),
            Step::Batch(count) => format!("Batch {count}"),
            step => format!("{step:?} 1"),
        }
    }

    fn parse(name: &str, count: &str) -> Step {
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

/// A writer: writes until it is killed, or until the end of its input if it is one that survives.
fn write(arguments: &[String]) {
    let [path, variant, writer, from] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), variant, writer);
    std::thread::spawn(|| {
        while hear().is_some() {}
        // The end as it comes to a program that does not close its caches.
        say(".");
        std::process::exit(0);
    });
    let mut random = Random::new();
    let mut version: u64 = from.parse().unwrap();
    loop {
        version += 1;
        let (step, key) = (Step::any(&mut random), random.below(KEYS));
        let new = value(key, version);
        say(&format!("+ {} {key} {version}", step.name()));
        match step {
            Step::Insert => cache.insert(&key, &new).unwrap(),
            Step::Update => drop(cache.update(&key, |_| Some(new.clone())).unwrap()),
            Step::Many(count) => {
                let all: Vec<(u64, Value)> =
                    (key..key + count).map(|key| (key, value(key, version))).collect();
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
        say("-");
    }
}

/// What must be in a writer's namespace.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, u64>,
    version: u64,
    /// Begun, and not known to have returned.
    open: Option<(Step, u64, u64)>,
    returned: u64,
}

impl Model {
    fn hear(&mut self, line: &str) {
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

    fn apply(&mut self, step: Step, key: u64, version: u64) {
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
    fn check(&mut self, cache: &Store, may_be_evicted: bool) {
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

fn differing(a: &BTreeMap<u64, u64>, b: &BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
    a.iter().filter(|(key, version)| b.get(key) != Some(version)).map(|(k, v)| (*k, *v)).collect()
}

fn start(path: &Path, variant: &str, writer: usize, model: &Model) -> Role {
    let from = model.version.to_string();
    Role::start("write", &[path.to_str().unwrap(), variant, &writer.to_string(), &from])
}

fn assert_clean(cache: &Store) {
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Starts `writers` processes, kills them all at random, and compares; again and again with the same store.
fn kill_all(variant: &str, writers: usize, kills: u64) {
    let (_dir, path) = store();
    let mut models: Vec<Model> = (0..writers).map(|_| Model::default()).collect();
    let mut random = Random::new();
    let since = Instant::now();
    for _ in 0..kills {
        let mut roles: Vec<Role> =
            models.iter().enumerate().map(|(n, model)| start(&path, variant, n, model)).collect();
        // Sometimes all are at work, sometimes some are not even open yet.
        let wait_for = random.below(writers as u64 + 1) as usize;
        for (role, model) in roles.iter().zip(&mut models).take(wait_for) {
            (0..=random.below(24)).for_each(|_| model.hear(&role.line().expect("a writer failed")));
        }
        std::thread::sleep(Duration::from_micros(random.below(25_000)));
        for (role, model) in roles.iter_mut().zip(&mut models) {
            role.kill();
            role.rest().iter().for_each(|line| model.hear(line));
        }
        for (n, model) in models.iter_mut().enumerate() {
            let cache = open(&path, variant, &n.to_string());
            model.check(&cache, variant == "limited");
            if n == 0 {
                assert_clean(&cache);
            }
        }
    }
    let returned: u64 = models.iter().map(|model| model.returned).sum();
    eprintln!("{variant}: {kills} kills of {writers}, {returned} writes reported, {:?}", since.elapsed());
    assert!(returned >= kills);
}

/// Kills two of four writers again and again while the other two go on.
fn kill_some(kills: u64) {
    let (_dir, path) = store();
    let mut models: Vec<Model> = (0..4).map(|_| Model::default()).collect();
    let mut random = Random::new();
    let mut roles: Vec<Role> =
        models.iter().enumerate().map(|(n, model)| start(&path, "plain", n, model)).collect();
    for (role, model) in roles.iter().zip(&mut models) {
        model.hear(&role.line().unwrap());
    }
    for _ in 0..kills {
        let victim = random.below(2) as usize;
        std::thread::sleep(Duration::from_micros(random.below(25_000)));
        roles[victim].kill();
        roles[victim].rest().iter().for_each(|line| models[victim].hear(line));
        let cache = open(&path, "plain", &victim.to_string());
        models[victim].check(&cache, false);
        assert_clean(&cache);
        drop(cache);
        roles[victim] = start(&path, "plain", victim, &models[victim]);
        // The others are not held up by whatever the victim held.
        for survivor in [2, 3] {
            let before = models[survivor].returned;
            while models[survivor].returned == before {
                models[survivor].hear(&roles[survivor].line().expect("a survivor failed"));
            }
            roles[survivor].said().iter().for_each(|line| models[survivor].hear(line));
        }
    }
    for (n, mut role) in roles.into_iter().enumerate() {
        if n < 2 {
            role.kill();
        } else {
            role.finish();
        }
        role.rest().iter().for_each(|line| models[n].hear(line));
        let cache = open(&path, "plain", &n.to_string());
        models[n].check(&cache, false);
        assert_clean(&cache);
    }
    let returned: Vec<u64> = models.iter().map(|model| model.returned).collect();
    eprintln!("{kills} kills among others that went on; writes reported by each: {returned:?}");
}
