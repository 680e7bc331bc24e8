//! Gets, cold and hot. "Cold" is without the front; the data is in the page cache.

use std::hint::black_box;
use std::time::Instant;

use cachemere::{AsyncCache, ByteCache, Cache, Secret};
use tokio::runtime::Builder;

use crate::Scale;
use crate::common::measure::{alternate, nanos, time};
use crate::common::raw::Raw;
use crate::common::values::{Document, decode, document, encode, key, shuffled};
use crate::counting::allocations;
use crate::directory;
use crate::table::Table;

/// Larger than all values together.
const ROOMY: u64 = 4 << 30;

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let keys: Vec<String> = (0..scale.entries as u64).map(key).collect();
    let absent: Vec<String> = (0..scale.entries as u64).map(|n| key(n + (1 << 40))).collect();

    let raw_dir = dir.path().join("raw");
    std::fs::create_dir(&raw_dir).unwrap();
    let raw = Raw::open(&raw_dir, false);
    let typed = Cache::builder(dir.path().join("typed"));
    let typed: Cache<str, Document> = typed.front_bytes(0).open().unwrap();
    let bytes = ByteCache::builder(dir.path().join("bytes")).open().unwrap();
    let secret = ByteCache::builder(dir.path().join("secret")).encryption(Secret::key([7; 32]));
    let secret = secret.open().unwrap();
    for batch in (0..scale.entries).collect::<Vec<_>>().chunks(1_000) {
        let documents: Vec<Document> = batch.iter().map(|n| document(*n as u64)).collect();
        let encoded: Vec<Vec<u8>> = documents.iter().map(encode).collect();
        let keys = &keys[batch[0]..][..batch.len()];
        let pairs = || keys.iter().map(String::as_bytes).zip(encoded.iter().map(Vec::as_slice));
        raw.put_many(keys.iter().map(String::as_str).zip(encoded.iter().map(Vec::as_slice)));
        typed.insert_many(keys.iter().map(String::as_str).zip(&documents)).unwrap();
        bytes.insert_many(pairs().map(|(k, v)| (k, v.to_vec(), 0)), None).unwrap();
        secret.insert_many(pairs().map(|(k, v)| (k, v.to_vec(), 0)), None).unwrap();
    }

    // Each turn reads other keys, in random order; both sides the same.
    let each = |keys: &[String], turn: usize, get: &mut dyn FnMut(&str)| {
        let order = shuffled(scale.entries, turn as u64);
        time(scale.reads.min(scale.entries), || {
            order.iter().take(scale.reads).for_each(|n| get(&keys[*n]));
        })
    };
    let raw_decoded = |turn| each(&keys, turn, &mut |key| drop(black_box(raw.get(key, decode).unwrap())));
    let raw_bytes = |turn| each(&keys, turn, &mut |key| drop(black_box(raw.get(key, <[u8]>::to_vec))));
    let byte_get = |cache: &ByteCache, turn| {
        each(&keys, turn, &mut |key| drop(black_box(cache.get(key.as_bytes()).unwrap().unwrap())))
    };
    let typed_get = |cache: &Cache<str, Document>, turn| {
        each(&keys, turn, &mut |key| drop(black_box(cache.get(key).unwrap().unwrap())))
    };
    let compare = |ours: &mut dyn FnMut(usize) -> f64, raw: &dyn Fn(usize) -> f64| {
        ours(scale.turns); // A turn to warm up.
        alternate(scale.turns, raw, ours)
    };

    let cold = compare(&mut |turn| typed_get(&typed, turn), &raw_decoded);
    table.pair("cold get, decoded (front off)", &cold);
    let cold = compare(&mut |turn| byte_get(&bytes, turn), &raw_bytes);
    table.pair("cold get, bytes (`ByteCache`; raw: get and copy)", &cold);
    let missed = compare(
        &mut |turn| each(&absent, turn, &mut |key| drop(black_box(typed.get(key).unwrap()))),
        &|turn| each(&absent, turn, &mut |key| drop(black_box(raw.get(key, <[u8]>::to_vec)))),
    );
    table.pair("get of an absent key", &missed);

    let encrypted = alternate(scale.turns, |turn| byte_get(&bytes, turn), |turn| byte_get(&secret, turn));
    table.pair("cold get, bytes, encrypted (left: plain cachemere)", &encrypted);

    let small = Cache::builder(dir.path().join("typed"));
    let small: Cache<str, Document> = small.open().unwrap();
    let passing = compare(&mut |turn| typed_get(&small, turn), &raw_decoded);
    let rate = small.stats().unwrap();
    let name = format!(
        "get with the default front of 64 MiB, which takes {:.0} % of the entries",
        rate.front_entries as f64 / scale.entries as f64 * 100.0
    );
    table.pair(&name, &passing);
    drop(small);

    let front = Cache::builder(dir.path().join("typed"));
    let front: Cache<str, Document> = front.front_bytes(ROOMY).open().unwrap();
    for _ in 0..2 {
        keys.iter().for_each(|key| drop(front.get(key).unwrap()));
        front.stats().unwrap();
    }
    let before = front.stats().unwrap();
    let hot = compare(&mut |turn| typed_get(&front, turn), &raw_decoded);
    let after = front.stats().unwrap();
    table.pair("hot get, all entries in the front (raw: get and decode)", &hot);
    let from_front = (after.front_hits - before.front_hits) as f64 / (after.hits - before.hits) as f64;
    eprintln!("  of these gets, {:.1} % were answered by the front alone", from_front * 100.0);
    let shared = compare(
        &mut |turn| each(&keys, turn, &mut |key| drop(black_box(front.get_shared(key).unwrap().unwrap()))),
        &raw_decoded,
    );
    table.pair("hot `get_shared`, all entries in the front", &shared);

    let few = &keys[..100.min(scale.entries)];
    let again = |get: &mut dyn FnMut(&str)| {
        time(scale.reads, || (0..scale.reads).for_each(|n| get(&few[n % few.len()])))
    };
    let raw_few = |_: usize| again(&mut |key| drop(black_box(raw.get(key, decode).unwrap())));
    let hot = compare(&mut |_| again(&mut |key| drop(black_box(front.get(key).unwrap().unwrap()))), &raw_few);
    table.pair("hot get, 100 keys again and again", &hot);
    let hot = compare(
        &mut |_| again(&mut |key| drop(black_box(front.get_shared(key).unwrap().unwrap()))),
        &raw_few,
    );
    table.pair("hot `get_shared`, 100 keys again and again", &hot);
    let (tasks, runtime) = (AsyncCache::from(front.clone()), Builder::new_current_thread().build().unwrap());
    let in_thread = |_| again(&mut |key| drop(black_box(front.get_shared(key).unwrap().unwrap())));
    let in_task = |_| {
        runtime.block_on(async {
            let since = Instant::now();
            for n in 0..scale.reads {
                drop(black_box(tasks.get_shared(&few[n % few.len()]).await.unwrap().unwrap()));
            }
            since.elapsed().as_nanos() as f64 / scale.reads as f64
        })
    };
    let hot = alternate(scale.turns, in_thread, in_task);
    table.pair("hot `get_shared` of an `AsyncCache`, 100 keys (left: of a `Cache`)", &hot);

    let token = time(1_000_000, || (0..1_000_000).for_each(|_| _ = black_box(bytes.token().unwrap())));
    table.row("`ByteCache::token`", "–".into(), nanos(token), String::new());
    let held = bytes.hold(&bytes.get(few[0].as_bytes()).unwrap().unwrap()).unwrap();
    let current = time(1_000_000, || (0..1_000_000).for_each(|_| assert!(bytes.is_current(&held).unwrap())));
    table.row("`ByteCache::is_current`", "–".into(), nanos(current), String::new());

    let some: Vec<&str> = few.iter().map(String::as_str).collect();
    let per_get = |get: &dyn Fn(&str)| {
        some.iter().for_each(|key| get(key));
        allocations(some.len(), || some.iter().for_each(|key| get(key)))
    };
    let raw_decoded = per_get(&|key| drop(raw.get(key, decode)));
    let raw_bytes = per_get(&|key| drop(raw.get(key, <[u8]>::to_vec)));
    let mut counts = |what: &str, raw: f64, ours: f64| {
        let what = format!("allocations: {what}");
        table.row(&what, format!("{raw:.1}"), format!("{ours:.1}"), String::new());
    };
    counts("cold get, decoded", raw_decoded, per_get(&|key| drop(typed.get(key).unwrap())));
    counts("cold get, bytes", raw_bytes, per_get(&|key| drop(bytes.get(key.as_bytes()).unwrap())));
    counts("hot get", raw_decoded, per_get(&|key| drop(front.get(key).unwrap())));
    counts("hot `get_shared`", raw_decoded, per_get(&|key| drop(front.get_shared(key).unwrap())));
}
