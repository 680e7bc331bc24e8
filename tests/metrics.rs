//! What a handle counts, a recorder hears.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cachemere::{AsyncCache, Cache};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Keeps the counters, by their names and labels.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let namespace = key.labels().find(|label| label.key() == "namespace");
        let name = format!("{} {}", key.name(), namespace.map_or("", |label| label.value()));
        assert!(key.labels().any(|label| label.key() == "store"), "{name}");
        Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Kept {
    fn of(&self, name: &str) -> u64 {
        let kept = self.0.lock().unwrap();
        kept.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", kept.keys())).load(Ordering::SeqCst)
    }
}

#[test]
fn a_recorder_hears_what_stats_counts() {
    let recorder = Kept::default();
    let cache: Cache<str, u32> = metrics::with_local_recorder(&recorder, || {
        Cache::temporary().namespace("of the test").max_entries(2).open().unwrap()
    });
    assert_eq!(cache.get("a").unwrap(), None);
    cache.insert("a", &1).unwrap();
    assert_eq!(cache.get("a").unwrap(), Some(1));
    assert_eq!(cache.get("a").unwrap(), Some(1));
    assert_eq!(cache.get_or_insert_with("b", || 2).unwrap(), 2);
    assert!(cache.try_get_or_insert_with("c", || Err::<u32, cachemere::BoxError>("no".into())).is_err());
    cache.insert_many([("d", &4), ("e", &5)]).unwrap();
    assert_eq!(cache.get_many(["e", "none"]).unwrap(), [Some(5), None]);

    let stats = cache.stats().unwrap();
    let expected = [
        ("cachemere_front_hits_total of the test", stats.front_hits),
        ("cachemere_store_hits_total of the test", stats.hits - stats.front_hits),
        ("cachemere_misses_total of the test", stats.misses),
        ("cachemere_undecodable_total of the test", 0),
        ("cachemere_loads_total of the test", stats.loads),
        ("cachemere_evictions_total ", stats.evictions),
        ("cachemere_expirations_total ", 0),
    ];
    for (name, count) in expected {
        assert_eq!(recorder.of(name), count, "{name}");
    }
    assert_eq!((stats.front_hits, stats.hits, stats.misses, stats.loads, stats.evictions), (1, 3, 4, 2, 2));
}

#[tokio::test]
async fn loads_of_tasks_are_counted() {
    let recorder = Kept::default();
    let open = || Cache::<str, u32>::temporary().open().unwrap();
    let cache: AsyncCache<str, u32> = metrics::with_local_recorder(&recorder, open).into();
    assert_eq!(cache.get_or_insert_with("a", || async { 1 }).await.unwrap(), 1);
    assert_eq!(cache.get_or_insert_with("a", || async { 2 }).await.unwrap(), 1);
    assert_eq!(recorder.of("cachemere_loads_total default"), 1);
    let hits = ["front", "store"].map(|place| recorder.of(&format!("cachemere_{place}_hits_total default")));
    assert_eq!(hits.iter().sum::<u64>(), 1);
}
