//! Crowds and strangers: thousands of threads, a thousand processes, processes that count their processes for themselves,
//! and one store under two paths.
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
use std::process::{Command, ExitCode};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cachemere::Cache;
use support::{Random, Role, hear, hear_the_end, rounds, say, store};
use writer::{Model, Step, Store, perform, value};

fn main() -> ExitCode {
    support::run(
        &[("threads", threads), ("read", read), ("write", write), ("two paths", two_paths)],
        &[
            ("three_thousand_threads_read_at_once", || {
                let (_dir, path) = store();
                fill(&path);
                Role::start("threads", &[path.to_str().unwrap(), "3000"]).join();
            }),
            ("many_processes_read_at_once", || many_processes(rounds(100, 1000))),
            ("processes_that_are_each_the_first_of_their_container_share_a_store", || {
                containers(rounds(12, 150));
            }),
            ("a_store_under_two_paths_is_one_store", mounted_twice),
        ],
    )
}

const KEYS: u64 = 60;

fn open(path: &Path, of: &str) -> Store {
    Cache::builder(path).namespace(format!("of {of}")).front_bytes(0).open().unwrap()
}

fn assert_clean(cache: &Store) {
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

fn fill(path: &Path) -> Store {
    let cache = open(path, "all");
    for key in 0..KEYS {
        cache.insert(&key, &value(key, 1)).unwrap();
    }
    cache
}

/// Gets and walks in as many threads as asked for; all of them are in the middle of it at the same time.
fn threads(arguments: &[String]) {
    let [path, count] = arguments else { panic!("{arguments:?}") };
    let count: usize = count.parse().unwrap();
    let cache = open(Path::new(path), "all");
    let (begun, read) = (Barrier::new(count), Barrier::new(count));
    std::thread::scope(|scope| {
        for n in 0..count as u64 {
            let (cache, begun, read) = (&cache, &begun, &read);
            let thread = std::thread::Builder::new().stack_size(128 << 10);
            let work = move || {
                begun.wait();
                for key in n..n + 10 {
                    assert_eq!(cache.get(&(key % KEYS)).unwrap(), Some(value(key % KEYS, 1)));
                }
                // Has an end of it while all have begun.
                let mut walk = cache.iter();
                assert_eq!(walk.next().unwrap().unwrap(), (0, value(0, 1)));
                read.wait();
                assert_eq!(walk.count() as u64, KEYS - 1);
            };
            thread.spawn_scoped(scope, work).unwrap();
        }
    });
    assert_clean(&cache);
}

/// Has the store open and reads it whenever it is told to.
fn read(arguments: &[String]) {
    let [path] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), "all");
    say("open");
    while let Some(line) = hear() {
        let version = line.parse().unwrap();
        let found: Vec<_> = cache.iter().map(|entry| entry.unwrap()).collect();
        assert_eq!(found.len() as u64, KEYS);
        for (key, found) in found {
            assert_eq!(found, value(key, version));
        }
        say(&line);
    }
}

fn many_processes(count: u64) {
    let (_dir, path) = store();
    let cache = fill(&path);
    let begun = Instant::now();
    let mut readers = Vec::new();
    while (readers.len() as u64) < count {
        // Some at a time, so that none waits long for its turn to open.
        let batch: Vec<Role> = (0..20).map(|_| Role::start("read", &[path.to_str().unwrap()])).collect();
        batch.iter().for_each(|reader| reader.expect("open"));
        readers.extend(batch);
    }
    let opened = begun.elapsed();
    for version in 2..5 {
        let all: Vec<_> = (0..KEYS).map(|key| (key, value(key, version))).collect();
        cache.insert_many(all.iter().map(|(key, value)| (key, value))).unwrap();
        readers.iter_mut().for_each(|reader| reader.say(&version.to_string()));
        readers.iter().for_each(|reader| reader.expect(&version.to_string()));
    }
    // Half of them are killed, and what they left keeps nobody from writing and folding.
    readers.iter_mut().step_by(2).for_each(Role::kill);
    cache.compact().expect_err("the others have it open");
    let before = Instant::now();
    cache.insert(&0, &value(0, 5)).unwrap();
    let took = before.elapsed();
    eprintln!("{count} processes opened the store in {opened:?}; a write among them took {took:?}");
    assert!(took < Duration::from_secs(1));
    for (n, reader) in readers.into_iter().enumerate() {
        if n % 2 == 1 {
            reader.join();
        }
    }
    cache.compact().unwrap();
    assert_clean(&cache);
}

/// Writes until it is killed, or until it hears no more; says first which number it has among its processes.
fn write(arguments: &[String]) {
    let [path, writer, from] = arguments else { panic!("{arguments:?}") };
    let cache = open(Path::new(path), writer);
    say(&std::process::id().to_string());
    std::thread::spawn(|| {
        hear_the_end();
        std::process::exit(0);
    });
    let mut random = Random(from.parse().unwrap());
    let mut version: u64 = from.parse().unwrap();
    loop {
        version += 1;
        let (step, key) = (Step::any(&mut random), random.below(KEYS));
        say(&format!("+ {} {key} {version}", step.name()));
        perform(&cache, step, key, version);
        say("-");
    }
}

/// What runs a program with namespaces of its own, if this system lets us.
fn unshare(what: &str) -> Option<Vec<&str>> {
    let program = match rustix::process::geteuid().is_root() {
        true => vec!["unshare", what],
        false => vec!["unshare", "-Ur", what],
    };
    let tried = Command::new(program[0]).args(&program[1..]).args(["-f", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => Some(program),
        tried => {
            eprintln!("not tested: this system makes no namespaces for us ({tried:?})");
            None
        }
    }
}

struct Container(Role);

impl Container {
    fn start(unshare: &[&str], path: &Path, writer: usize, model: &Model) -> Container {
        let program = [unshare, &["-f", "--kill-child"]].concat();
        let arguments = [path.to_str().unwrap(), &writer.to_string(), &model.version.to_string()];
        let role = Role::start_under(&program, "write", &arguments);
        role.expect("1");
        Container(role)
    }

    /// Kills the process in it, and waits until the kernel has taken everything from it.
    fn kill(&mut self) {
        let id = self.0.pid();
        let inner = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let inner = rustix::process::Pid::from_raw(inner.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(inner, rustix::process::Signal::KILL).unwrap();
        // It waits for the process in it.
        self.0.ended();
    }
}

fn containers(kills: u64) {
    let Some(unshare) = unshare("-p") else { return };
    let (_dir, path) = store();
    let mut random = Random::new();
    let mut models: Vec<Model> = (0..3).map(|_| Model::default()).collect();
    let mut all: Vec<Container> =
        models.iter().enumerate().map(|(n, model)| Container::start(&unshare, &path, n, model)).collect();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_micros(random.below(25_000)));
        let victim = random.below(2) as usize;
        all[victim].kill();
        all[victim].0.rest().iter().for_each(|line| models[victim].hear(line));
        // The one that is never killed goes on.
        models[2].returned = 0;
        all[2].0.said().iter().for_each(|line| models[2].hear(line));
        let before = models[2].returned;
        while models[2].returned < before + 3 {
            models[2].hear(&all[2].0.line().expect("the survivor failed"));
        }
        let cache = open(&path, &victim.to_string());
        models[victim].check(&cache, false);
        assert_clean(&cache);
        drop(cache);
        all[victim] = Container::start(&unshare, &path, victim, &models[victim]);
    }
    // All at once, so that the next has to find out by itself.
    for (container, model) in all.iter_mut().zip(&mut models) {
        container.kill();
        container.0.rest().iter().for_each(|line| model.hear(line));
    }
    for (n, model) in models.iter_mut().enumerate() {
        let cache = open(&path, &n.to_string());
        model.check(&cache, false);
        assert_clean(&cache);
    }
}

/// Opens one store under two paths, and uses both at once.
fn two_paths(arguments: &[String]) {
    let [one, other] = arguments else { panic!("{arguments:?}") };
    let caches = [one, other].map(|path| open(Path::new(path), "all"));
    for round in 0..30 {
        for (n, cache) in caches.iter().enumerate() {
            let version = round * 2 + n as u64 + 2;
            for key in 0..KEYS {
                cache.insert(&key, &value(key, version)).unwrap();
            }
            for cache in &caches {
                assert!((0..KEYS).all(|key| cache.get(&key).unwrap() == Some(value(key, version))));
                assert_eq!(cache.iter().collect::<Result<Vec<_>, _>>().unwrap().len() as u64, KEYS);
            }
        }
    }
    // Both at the same time, and over folds.
    std::thread::scope(|scope| {
        for (n, cache) in caches.iter().enumerate() {
            scope.spawn(move || {
                for version in 100..1100 {
                    let key = 1000 * (n as u64 + 1) + version % KEYS;
                    cache.insert(&key, &value(key, version)).unwrap();
                    assert_eq!(cache.get(&key).unwrap(), Some(value(key, version)));
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(1200));
    for cache in &caches {
        assert_eq!(cache.len().unwrap(), 3 * KEYS);
        assert_clean(cache);
    }
    let [one, other] = caches;
    one.close().unwrap();
    other.insert(&0, &value(0, 7)).unwrap();
    assert_eq!(other.get(&0).unwrap(), Some(value(0, 7)));
    assert_clean(&other);
    other.close().unwrap();
    say("done");
}

fn mounted_twice() {
    let Some(unshare) = unshare("-m") else { return };
    let (dir, path) = store();
    fill(&path).close().unwrap();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let script = format!("mount --bind {path:?} {other:?} && exec \"$0\" \"$@\"");
    let program = [&unshare[..], &["sh", "-c", &script]].concat();
    let mut role =
        Role::start_under(&program, "two paths", &[path.to_str().unwrap(), other.to_str().unwrap()]);
    let told = role.line();
    assert_eq!(told.as_deref(), Some("done"));
    role.finish();
    assert!(role.ended().success());
    let cache = open(&path, "all");
    assert_eq!(cache.get(&0).unwrap(), Some(value(0, 7)));
    assert_clean(&cache);
}
