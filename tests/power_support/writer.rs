//! What tested processes do: they carry out one order of the recorder's after the other.

use std::path::Path;
use std::time::Duration;

use cachemere::{ByteBatch, ByteCache, Durability, Error, Maintenance, Result, ScanPosition, Secret};

use super::hooks;
use super::setting::{Setting, secrets};
use super::steps::{Content, WRITERS, counter_key, step};
use super::wire::{Kind, Request, ask};

/// The next order, for a report on the last one.
fn next_order(report: &str) -> String {
    ask(&Request { kind: Kind::Next, file: 0, at: 0, len: 0, text: report.to_owned() })
}

/// All that is in a store, which must be sound.
pub(crate) fn content(cache: &ByteCache, secret: usize) -> Content {
    let mut position = ScanPosition::default();
    let (mut content, mut entries) = (Content::default(), 0);
    content.secret = secret;
    loop {
        let chunk = cache.scan(&mut position).unwrap();
        if chunk.is_empty() {
            break;
        }
        for entry in chunk {
            let entry = entry.unwrap();
            assert_eq!(cache.get(&entry.key).unwrap().unwrap().payload, entry.payload);
            content.add(std::str::from_utf8(&entry.key).unwrap(), &entry.payload);
            entries += 1;
        }
    }
    assert_eq!(entries, cache.len().unwrap());
    let report = cache.verify().unwrap();
    assert!(report.is_clean(), "{report:?}");
    content
}

/// Arguments: directory, number of the writer, the setting, milliseconds between syncs, `sync` or `checkpoint`,
/// `first`, `join`, or `alone`, which does nothing unless told.
pub(crate) fn write(arguments: &[String]) {
    let [dir, writer, setting, interval, durability, part] = arguments else { panic!("six arguments") };
    let (writer, setting): (usize, Setting) = (writer.parse().unwrap(), Setting::read(setting));
    hooks::activate();
    let (cache, secret) = setting.open(Path::new(dir), |builder| {
        let builder = builder.checkpoint_interval(Duration::from_millis(interval.parse().unwrap()));
        let builder = match durability.as_str() {
            "sync" => builder.durability(Durability::Sync),
            _ => builder,
        };
        match part.as_str() {
            "alone" => builder.maintenance(Maintenance::Manual),
            _ => builder,
        }
    });
    let mut report = match part.as_str() {
        "join" => count(&cache, writer).to_string(),
        _ => content(&cache, secret).told(),
    };
    loop {
        let order = next_order(&report);
        report = "done".to_owned();
        let words: Vec<&str> = order.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        match words[0] {
            "put" => {
                report = seen(&cache);
                put(&cache, writer, number(1), number(2));
            }
            #[cfg(feature = "load")]
            "load" => {
                report = seen(&cache);
                load(&cache, writer, number(1), number(2));
            }
            // It writes access times before.
            "checkpoint" => where_there_is_room(|| cache.checkpoint()),
            "verify" => assert!(cache.verify().unwrap().is_clean()),
            "compact" => compact(&cache),
            // Then it gives back what is free, at once or before its next record finds room.
            "full" => {
                hooks::fill();
                compact(&cache);
            }
            "reencrypt" => report = renew(|old, new| cache.reencrypt(old, new)),
            "secret" => report = renew(|old, new| cache.change_secret(old, new)),
            "fail" => {
                cache.checkpoint().unwrap_err();
                // A second try would succeed, and what it said would not be true.
                cache.checkpoint().unwrap_err();
                cache.insert(b"key", b"value", 0, None).unwrap_err();
                assert!(count(&cache, writer) > 0, "what is there can be read");
                cache.close().unwrap_err();
                next_order("closed");
                return;
            }
            "pause" => std::thread::sleep(Duration::from_millis(number(1))),
            "close" => {
                match cache.close() {
                    // The access times are lost then, and nothing else.
                    Err(error) if error.is_disk_full() => {}
                    closed => closed.unwrap(),
                }
                next_order("closed");
                return;
            }
            other => panic!("no such order: {other}"),
        }
    }
}

pub(crate) fn count(cache: &ByteCache, writer: usize) -> u64 {
    let count = cache.get(counter_key(writer).as_bytes()).unwrap();
    count.map_or(0, |count| u64::from_le_bytes(count.payload[..].try_into().unwrap())) / WRITERS as u64
}

/// The steps of all writers that have been seen.
fn seen(cache: &ByteCache) -> String {
    let counts: [String; WRITERS] = std::array::from_fn(|writer| count(cache, writer).to_string());
    counts.join(" ")
}

/// Refused while others have the store open.
fn compact(cache: &ByteCache) {
    match cache.compact() {
        Ok(()) | Err(Error::Busy { .. } | Error::DiskFull { .. }) => {}
        Err(error) => panic!("compacting: {error}"),
    }
}

/// Puts one secret in place of the other; the number of that.
fn renew(change: impl Fn(&Secret, &Secret) -> Result<()>) -> String {
    let secrets = secrets();
    for (old, new) in [(0, 1), (1, 0)] {
        let change = || match change(&secrets[old], &secrets[new]) {
            Err(Error::WrongSecret { .. } | Error::Busy { .. }) => Ok(false),
            changed => changed.map(|()| true),
        };
        if where_there_is_room(change) {
            return new.to_string();
        }
    }
    // Others have it open, or have changed it meanwhile.
    String::new()
}

/// Again, if the disk was full, and another process was first to use the room that was made.
fn where_there_is_room<T>(write: impl Fn() -> Result<T>) -> T {
    loop {
        match write() {
            Err(error) if error.is_disk_full() => {}
            written => return written.unwrap(),
        }
    }
}

pub(crate) fn put(cache: &ByteCache, writer: usize, number: u64, era: u64) {
    let step = step(writer, number, era);
    let mut batch = ByteBatch::new();
    for (key, value) in &step.puts {
        batch.insert(key.as_bytes(), value.as_slice(), 0, None);
    }
    if let Some(key) = &step.removed {
        batch.remove(key.as_bytes());
    }
    where_there_is_room(|| cache.write(&batch));
}

/// Only the puts, as one large transaction, which goes past the log.
#[cfg(feature = "load")]
fn load(cache: &ByteCache, writer: usize, number: u64, era: u64) {
    use cachemere::ByteEntry;
    use cachemere::load::{Existing, Format, Load, Record, Records, Refusal};
    let step = step(writer, number, era);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines = step.puts.iter().map(|(key, value)| format!("{key}\t{}\n", hex(value)));
    let outside = cache.path().parent().unwrap();
    let file = outside.join(format!("{writer}.tsv"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let load =
        || Load::new([&file], Format::new(Records::TabSep), outside).options(|o| o.memory_budget(4 << 20));
    let make = |record: &Record<'_>, entry: &mut ByteEntry| -> Result<(), Refusal> {
        entry.key.extend_from_slice(record.key.raw());
        for pair in record.value.raw().chunks(2) {
            entry.payload.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        }
        Ok(())
    };
    where_there_is_room(|| cache.load(load(), Existing::Replace, None, &make, &mut ()));
}

/// Opens one image after the other, twice each: it takes new writes, and is the same again.
pub(crate) fn check() {
    let mut report = String::new();
    loop {
        let order = next_order(&report);
        let (setting, dir) = order.split_once(' ').unwrap();
        let open = || {
            Setting::read(setting).open(Path::new(dir), |builder| builder.maintenance(Maintenance::Manual))
        };
        let (cache, secret) = open();
        let found = content(&cache, secret);
        cache.insert(b"new", &[7; 500], 0, None).unwrap();
        cache.checkpoint().unwrap();
        cache.insert_many([(&b"new"[..], vec![8; 5000], 0), (b"newer", vec![9; 50], 0)], None).unwrap();
        cache.remove(b"newer").unwrap();
        cache.close().unwrap();
        let (cache, secret) = open();
        assert_eq!(cache.get(b"new").unwrap().unwrap().payload, [8; 5000]);
        assert!(cache.remove(b"new").unwrap());
        assert_eq!(content(&cache, secret), found, "closed and opened again");
        report = found.told();
    }
}
