//! Counters: read by `stats`, and with the feature `metrics` told to the program's recorder as well.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a counter is of: the labels it has for a recorder.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "told to nobody"))]
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) store: &'a Path,
    /// `None`: all namespaces.
    pub(crate) namespace: Option<&'a str>,
}

/// A number that only grows.
pub(crate) struct Counter {
    count: AtomicU64,
    /// Found once, when the counter is made: adding to it looks for nothing.
    #[cfg(feature = "metrics")]
    told: metrics::Counter,
}

impl Counter {
    /// `name` begins with `cachemere_`, and ends with `_total`.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "told to nobody"))]
    pub(crate) fn new(name: &'static str, of: Of<'_>) -> Counter {
        Counter {
            count: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            told: told(name, of),
        }
    }

    pub(crate) fn add(&self, n: u64) {
        self.count.fetch_add(n, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.told.increment(n);
    }

    /// Adds one, and returns what it was before.
    pub(crate) fn add_one(&self) -> u64 {
        #[cfg(feature = "metrics")]
        self.told.increment(1);
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "metrics")]
fn told(name: &'static str, of: Of<'_>) -> metrics::Counter {
    let store = of.store.display().to_string();
    match of.namespace {
        Some(namespace) => metrics::counter!(name, "store" => store, "namespace" => namespace.to_owned()),
        None => metrics::counter!(name, "store" => store),
    }
}
