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
#[path = "support/writer.rs"]
mod writer;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cachemere::{Cache, Durability, Secret, Zstd};
use support::{Random, Role, hear, rounds, say, store};
use writer::{Model, Step, Store, perform};

const KEYS: u64 = 150;

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
        say(&format!("+ {} {key} {version}", step.name()));
        perform(&cache, step, key, version);
        say("-");
    }
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
