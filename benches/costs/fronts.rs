//! Hot gets by each crate that can keep a front's values, beside raw heed's get and decode.

use std::hint::black_box;

use cachemere::{Cache, FrontKind};

use crate::Scale;
use crate::common::measure::{alternate, time};
use crate::common::raw::Raw;
use crate::common::values::{Document, decode, document, encode, key, shuffled};
use crate::directory;
use crate::table::Table;

/// Larger than all values together.
const ROOMY: u64 = 4 << 30;

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let keys: Vec<String> = (0..scale.hot as u64).map(key).collect();
    let raw_dir = dir.path().join("raw");
    std::fs::create_dir(&raw_dir).unwrap();
    let raw = Raw::open(&raw_dir, false);
    let open = |kind: FrontKind| -> Cache<str, Document> {
        Cache::builder(dir.path().join("typed")).front(kind).front_bytes(ROOMY).open().unwrap()
    };
    let moka = open(FrontKind::Moka);
    for (n, key) in keys.iter().enumerate() {
        raw.put(key, &encode(&document(n as u64)));
        moka.insert(key, &document(n as u64)).unwrap();
    }
    let fronts = [
        ("moka", moka),
        #[cfg(feature = "quick_cache")]
        ("quick_cache", open(FrontKind::QuickCache)),
    ];
    for (_, front) in &fronts {
        keys.iter().for_each(|key| drop(front.get(key).unwrap()));
    }

    for (how, few) in [("in random order", false), ("again and again", true)] {
        let keys = if few { &keys[..100.min(keys.len())] } else { &keys[..] };
        let each = |turn: usize, get: &mut dyn FnMut(&str)| {
            let order = shuffled(keys.len(), turn as u64);
            let order = order.iter().cycle().take(scale.reads);
            time(scale.reads, || order.for_each(|n| get(&keys[*n])))
        };
        let get = |front: &Cache<str, Document>, turn| {
            each(turn, &mut |key| drop(black_box(front.get(key).unwrap().unwrap())))
        };
        let shared = |front: &Cache<str, Document>, turn| {
            each(turn, &mut |key| drop(black_box(front.get_shared(key).unwrap().unwrap())))
        };
        let decoded = |turn| each(turn, &mut |key| drop(black_box(raw.get(key, decode).unwrap())));
        let mut row = |what: &str, left: &dyn Fn(usize) -> f64, right: &dyn Fn(usize) -> f64| {
            right(scale.turns);
            let name = format!("{what}, {} keys {how}", keys.len());
            table.pair(&name, &alternate(scale.turns, left, right));
        };
        for (name, front) in &fronts {
            row(&format!("hot get by {name}"), &decoded, &|turn| get(front, turn));
            row(&format!("hot `get_shared` by {name}"), &decoded, &|turn| shared(front, turn));
        }
        if let [(_, moka), (name, other)] = &fronts[..] {
            row(&format!("hot get by {name} (left: moka)"), &|turn| get(moka, turn), &|turn| {
                get(other, turn)
            });
            row(&format!("hot `get_shared` by {name} (left: moka)"), &|turn| shared(moka, turn), &|turn| {
                shared(other, turn)
            });
        }
    }
}
