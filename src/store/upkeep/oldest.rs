//! Which namespace has the entry that was accessed least recently.
//!
//! Entries are listed by access in each namespace, and there may be many. So what is known of each list is remembered: where
//! it begins, and that nothing in it was accessed earlier than some time. The one with the earliest time is looked at, and
//! nothing else but a few that are next in a *tour* of all, which finds lists that are new: what eviction costs does not
//! depend on how many there are. Until the first tour is at its end, those that it has come by are all that is known.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::store::format::layout::{KeyHash, NamespaceId};
use crate::sync::lock;

/// The time from the beginning of one tour to that of the next. An entry that is inserted as one that was read long ago is
/// found by a tour, too.
const BETWEEN_TOURS: Duration = Duration::from_secs(1);
/// Namespaces looked at for one eviction, in the first tour and later. Few in builds for tests, so that much is
/// evicted there while the first tour is under way.
const FIRST_LOOKS: usize = if cfg!(debug_assertions) { 4 } else { 64 };
const LOOKS: usize = 2;

/// A place in the list of a namespace.
type Place = (u64, KeyHash);

pub(in crate::store) struct Oldest(Mutex<Lists>);

pub(in crate::store) struct Lists {
    of: HashMap<NamespaceId, List>,
    /// By the time of the first access.
    order: BTreeSet<(u64, NamespaceId)>,
    /// The namespace that the present tour goes on with.
    next: Option<NamespaceId>,
    begun: Option<Instant>,
    has_seen_all: bool,
}

#[derive(Clone, Copy)]
struct List {
    /// Where it begins. What was evicted before is gone by the log only until that is folded, so that whoever looks from the
    /// start has to pass over all of it.
    begins: Place,
    /// Nothing in it was accessed earlier.
    accessed: u64,
}

impl Oldest {
    pub(in crate::store) fn new() -> Oldest {
        Oldest(Mutex::new(Lists {
            of: HashMap::new(),
            order: BTreeSet::new(),
            next: None,
            begun: None,
            has_seen_all: false,
        }))
    }

    pub(in crate::store) fn lock(&self) -> MutexGuard<'_, Lists> {
        lock(&self.0)
    }
}

impl Lists {
    /// Takes out the list that may have the entry, with where it begins.
    pub(in crate::store) fn take_first(&mut self) -> Option<(NamespaceId, Place)> {
        let (_, namespace) = self.order.pop_first()?;
        Some((namespace, self.of.remove(&namespace)?.begins))
    }

    /// Puts a list back with what was found in it. Returns `true` if it has the entry that was accessed least recently.
    pub(in crate::store) fn note(&mut self, namespace: NamespaceId, begins: Place, accessed: u64) -> bool {
        if let Some(old) = self.of.insert(namespace, List { begins, accessed }) {
            self.order.remove(&(old.accessed, namespace));
        }
        self.order.insert((accessed, namespace));
        self.order.first() == Some(&(accessed, namespace))
    }

    /// Begins a tour, unless one is under way.
    pub(in crate::store) fn begin_tour(&mut self) -> bool {
        if self.next.is_some() {
            return false;
        }
        self.begun = Some(Instant::now());
        self.next = Some(NamespaceId(0));
        true
    }

    /// How many namespaces are to be looked at.
    pub(in crate::store) fn looks(&self) -> usize {
        if self.has_seen_all { LOOKS } else { FIRST_LOOKS }
    }

    /// From where the tour goes on, if there is one, or one is due.
    pub(in crate::store) fn next_of_tour(&mut self) -> Option<NamespaceId> {
        if self.begun.is_none_or(|begun| begun.elapsed() > BETWEEN_TOURS) {
            self.begin_tour();
        }
        self.next
    }

    /// Takes in the next list of the tour, by its first record.
    pub(in crate::store) fn found(&mut self, namespace: NamespaceId, first: Place) {
        self.note(namespace, first, first.0);
        match namespace.0.checked_add(1) {
            Some(next) => self.next = Some(NamespaceId(next)),
            None => self.end_tour(),
        }
    }

    pub(in crate::store) fn end_tour(&mut self) {
        self.next = None;
        self.has_seen_all = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: KeyHash = KeyHash([1; 16]);

    #[test]
    fn the_list_with_the_earliest_access_is_taken_whatever_the_order_they_were_found_in() {
        let oldest = Oldest::new();
        let mut lists = oldest.lock();
        assert!(lists.begin_tour());
        for (id, at) in [(3, 30), (5, 10), (9, 20)] {
            lists.found(NamespaceId(id), (at, HASH));
        }
        assert_eq!(lists.next_of_tour(), Some(NamespaceId(10)));
        lists.end_tour();
        assert_eq!(lists.next_of_tour(), None);
        assert_eq!(lists.take_first(), Some((NamespaceId(5), (10, HASH))));
        // Its first entry was accessed again since.
        assert!(!lists.note(NamespaceId(5), (10, HASH), 25));
        assert_eq!(lists.take_first(), Some((NamespaceId(9), (20, HASH))));
        // It has no entries any more, and is not put back.
        assert_eq!(lists.take_first(), Some((NamespaceId(5), (10, HASH))));
        assert!(lists.note(NamespaceId(5), (12, HASH), 25));
        assert_eq!(lists.take_first(), Some((NamespaceId(5), (12, HASH))));
        assert_eq!(lists.take_first(), Some((NamespaceId(3), (30, HASH))));
        assert_eq!(lists.take_first(), None);
        assert!(lists.begin_tour());
        assert!(!lists.begin_tour());
    }
}
