//! `tracing` has spans around what takes long. Alone in its process: whether a place is looked at is settled for all threads when
//! one comes by it first.

use std::sync::{Arc, Mutex};

use cachemere::Cache;

/// Notes the names of spans that are entered.
struct Names(Arc<Mutex<Vec<&'static str>>>, tracing::Level, Mutex<Vec<&'static str>>);

impl tracing::Subscriber for Names {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.1
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut known = self.2.lock().unwrap();
        known.push(span.metadata().name());
        tracing::span::Id::from_u64(known.len() as u64)
    }

    fn enter(&self, span: &tracing::span::Id) {
        let name = self.2.lock().unwrap()[span.into_u64() as usize - 1];
        self.0.lock().unwrap().push(name);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn what_takes_long_has_a_span_and_a_hit_has_none() {
    let entered = Arc::new(Mutex::new(Vec::new()));
    let subscriber = Names(entered.clone(), tracing::Level::DEBUG, Mutex::default());
    let taken = || std::mem::take(&mut *entered.lock().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let dir = tempfile::tempdir().unwrap();
        let cache: Cache<str, u32> = Cache::temporary().open().unwrap();
        assert_eq!(taken(), ["cachemere::open"]);
        assert_eq!(cache.get_or_insert_with("a", || 1).unwrap(), 1);
        assert_eq!(taken(), ["cachemere::load"]);
        for _ in 0..3 {
            assert_eq!(cache.get_or_insert_with("a", || 1).unwrap(), 1);
            assert_eq!(cache.get("a").unwrap(), Some(1));
        }
        assert!(taken().is_empty());
        cache.checkpoint().unwrap();
        cache.compact().unwrap();
        cache.backup(dir.path().join("copy")).unwrap();
        cache.verify().unwrap();
        cache.sweep().unwrap();
        cache.encrypt(&cachemere::Secret::key([7; 32])).unwrap();
        cache.close().unwrap();
        let names = ["checkpoint", "compact", "backup", "verify", "sweep", "encrypt", "close"];
        assert_eq!(taken(), names.map(|name| format!("cachemere::{name}")));
    });
}
