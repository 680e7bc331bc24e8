//! Reader processes: how much more several of them read than one. Raw heed's scaling tells what the machine has to
//! give at the moment.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cachemere::Cache;

use crate::Scale;
use crate::common::measure::median;
use crate::common::raw::Raw;
use crate::common::values::{Document, decode, document, encode, key, shuffled};
use crate::directory;
use crate::table::Table;

/// The first argument of a child.
pub(crate) const CHILD: &str = "--reader";
/// Keys that a process reads again and again when it reads from its front.
const HOT: usize = 5_000;

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let raw_dir = dir.path().join("raw");
    std::fs::create_dir(&raw_dir).unwrap();
    let raw = Raw::open(&raw_dir, false);
    let ours: Cache<str, Document> = Cache::builder(dir.path().join("ours")).open().unwrap();
    for batch in (0..scale.entries as u64).collect::<Vec<_>>().chunks(1_000) {
        let items: Vec<(String, Document)> = batch.iter().map(|n| (key(*n), document(*n))).collect();
        raw.put_many(
            items
                .iter()
                .map(|(k, v)| (k.as_str(), encode(v)))
                .collect::<Vec<_>>()
                .iter()
                .map(|(k, v)| (*k, &v[..])),
        );
        ours.insert_many(items.iter().map(|(key, value)| (key.as_str(), value))).unwrap();
    }
    drop((raw, ours));

    let turns = scale.turns.div_ceil(2);
    for (what, mode) in [("cold gets, decoded", "cold"), ("hot gets, 5,000 keys in the front", "hot")] {
        let mut rates = vec![Vec::new(); 6];
        for _ in 0..turns {
            for (place, processes) in [1, 2, 4].into_iter().enumerate() {
                rates[place].push(rate(dir.path(), "raw", processes, scale));
                rates[place + 3].push(rate(dir.path(), mode, processes, scale));
            }
        }
        for (place, processes) in [(1, 2), (2, 4)] {
            let gain = |one: usize| -> Vec<f64> {
                rates[one + place].iter().zip(&rates[one]).map(|(many, one)| many / one).collect()
            };
            let (raw, ours) = (gain(0), gain(3));
            let least = ours.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ours.iter().copied().fold(0.0, f64::max);
            table.row(
                &format!("gain of {processes} reader processes over one: {what}"),
                format!("{:.2}×", median(&raw)),
                format!("{:.2}×", median(&ours)),
                format!("({least:.2}–{most:.2}), {:.0} k/s in all", median(&rates[place + 3]) / 1e3),
            );
        }
    }
}

/// Gets per second of `processes` processes together.
fn rate(dir: &Path, mode: &str, processes: usize, scale: Scale) -> f64 {
    let numbers = [scale.entries as u64, scale.milliseconds].map(|n| n.to_string());
    let children: Vec<Child> = (0..processes)
        .map(|n| {
            Command::new(std::env::current_exe().unwrap())
                .args([CHILD, mode])
                .arg(dir)
                .args(&numbers)
                .arg(n.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    // All are ready before the first begins.
    let mut pipes: Vec<_> = children
        .into_iter()
        .map(|mut child| {
            let mut answers = BufReader::new(child.stdout.take().unwrap());
            answers.read_line(&mut String::new()).unwrap();
            (child, answers)
        })
        .collect();
    for (child, _) in &mut pipes {
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    let mut sum = 0.0;
    for (mut child, mut answers) in pipes {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(child.wait().unwrap().success());
        sum += line.trim().parse::<f64>().unwrap();
    }
    sum
}

/// A reader: says when it is ready, waits for the start, and prints its gets per second.
pub(crate) fn child(arguments: &[String]) {
    let [mode, dir, entries, milliseconds, seed] = arguments else { panic!("five arguments") };
    let (entries, seed): (usize, u64) = (entries.parse().unwrap(), seed.parse().unwrap());
    let mut keys: Vec<String> = shuffled(entries, seed).iter().map(|n| key(*n as u64)).collect();
    let dir = Path::new(dir);
    let length = Duration::from_millis(milliseconds.parse().unwrap());
    match mode.as_str() {
        "raw" => {
            let raw = Raw::open(&dir.join("raw"), false);
            read(&keys, length, |key| drop(black_box(raw.get(key, decode).unwrap())));
        }
        _ => {
            let front = if mode == "hot" { 1 << 30 } else { 0 };
            let cache = Cache::builder(dir.join("ours")).front_bytes(front);
            let cache: Cache<str, Document> = cache.open().unwrap();
            if mode == "hot" {
                keys.truncate(HOT);
                keys.iter().for_each(|key| drop(cache.get(key).unwrap()));
            }
            read(&keys, length, |key| drop(black_box(cache.get(key).unwrap().unwrap())));
        }
    }
}

fn read(keys: &[String], length: Duration, mut get: impl FnMut(&str)) {
    keys.iter().take(1_000).for_each(|key| get(key));
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let start = Instant::now();
    let mut gets = 0u64;
    'all: loop {
        for key in keys {
            get(key);
            gets += 1;
            if gets.is_multiple_of(64) && start.elapsed() >= length {
                break 'all;
            }
        }
    }
    println!("{}", gets as f64 / start.elapsed().as_secs_f64());
}
