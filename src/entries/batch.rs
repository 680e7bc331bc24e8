//! Several inserts and removals in one transaction.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::change::{Outgoing, check_key, check_size, new_header};
use super::read::holds_key;
use super::{At, Entries, Space};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::store::{
    Header, KeyBuffer, KeyHash, Live, NamespaceId, NewEntry, Number, Prefix, STAGE_NAMED, Writer,
};

/// The times of an entry that comes from elsewhere, to be kept when it is inserted.
///
/// See [`Batch::insert_with_times`](crate::Batch::insert_with_times).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryTimes {
    /// When the value was first inserted, and last written as far as is known.
    pub created: SystemTime,
    /// When it was last read or written. The creation, if that is later.
    pub accessed: SystemTime,
    /// When it expires, whenever it was read; `None`: never.
    pub expires: Option<SystemTime>,
}

/// What a batch does with a key.
#[derive(Clone)]
pub(crate) enum Change<P> {
    Insert(P, Age),
    Remove,
}

/// How old a value of a batch is, and how long it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Age {
    /// New, with the cache's own lifetime.
    New,
    /// New, with this time to live.
    Ttl(Duration),
    /// As old as it was elsewhere.
    Given(EntryTimes),
}

/// A payload with its tag.
#[derive(Clone)]
pub(crate) struct Bytes<'a> {
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) tag: u8,
}

/// Changes, each with its key.
pub(crate) type Changes<'a> = Vec<(KeyBuffer, Change<Bytes<'a>>)>;

/// One change, ready for the transaction.
struct Prepared<'a> {
    key: KeyBuffer,
    /// Compressed already, if the header says so.
    payload: Cow<'a, [u8]>,
    /// `None`: the key is removed.
    header: Option<Header>,
    /// Whether the header's creation time was given, so that it holds also where an entry is replaced.
    is_aged: bool,
}

/// About how many bytes the changes take in the log.
fn bytes_of(changes: &[Prepared<'_>]) -> u64 {
    /// Header, and what lists the entry.
    const BESIDE: usize = 200;
    let inserted = changes.iter().filter(|change| change.header.is_some());
    inserted.map(|change| (change.key.key().len() + change.payload.len() + BESIDE) as u64).sum()
}

/// The net change of one key.
struct Outcome {
    hash: KeyHash,
    /// One of its changes.
    change: usize,
    /// Whether the entry that is there goes, whatever is written after it.
    removes: bool,
    inserts: Option<Insert>,
}

/// The value that a key has in the end.
#[derive(Clone, Copy)]
struct Insert {
    hash: KeyHash,
    /// The last change of the key.
    change: usize,
    /// Where the key would have got its place in the order, if the changes were made one by one.
    first: usize,
    number: Number,
    replaces: Option<Header>,
    /// The creation time that was given, or that of the entry it replaces.
    created: Option<Time>,
}

impl Entries {
    /// Makes all changes in one transaction: all of them or none. The result is that of making them one after the other, all
    /// at the same time of day. Limits are enforced after the last one.
    pub(crate) fn write(&self, changes: Changes<'_>) -> Result<()> {
        self.at_for_writing()?.write(changes)
    }
}

impl At<'_> {
    fn write(&self, changes: Changes<'_>) -> Result<()> {
        let At { space, live } = self;
        if changes.is_empty() {
            return Ok(());
        }
        for (key, change) in &changes {
            check_key(key.key())?;
            if let Change::Insert(Bytes { payload, .. }, _) = change {
                check_size(live, key.key().len() + payload.len())?;
            }
        }
        let mut changes = space.prepare(changes, live.config.clock.now())?;
        let mut body = Vec::new();
        self.commit(bytes_of(&changes), |writer| {
            let limit = space.namespace.limit(writer.live(), &writer.view())?;
            let outcomes = outcomes(live, limit.namespace, &mut changes);
            let inserts = make_way(writer, limit.namespace, &changes, outcomes)?;
            // In the order of the tree, neighbours are written while their page is at hand.
            for insert in &inserts {
                let Some(Prepared { key, payload, header: Some(header), .. }) =
                    changes.get_mut(insert.change)
                else {
                    continue;
                };
                let (header, hash) = (*header, insert.hash);
                let created = insert.created.unwrap_or(header.created);
                let mut out = Outgoing { key, payload, body: &mut body, header, hash, body_checksum: 0 };
                out.seal(self.sealing(), limit.namespace, created)?;
                let entry = NewEntry {
                    hash: out.hash,
                    header: out.header,
                    body: out.body,
                    body_checksum: out.body_checksum,
                };
                writer.insert_at(&entry, insert.number, insert.replaces.as_ref())?;
            }
            if inserts.is_empty() { Ok(()) } else { writer.enforce_limits(limit) }
        })
    }
}

impl Space {
    /// Does what can be done before other writers are locked out.
    fn prepare<'a>(&self, changes: Changes<'a>, now: Time) -> Result<Vec<Prepared<'a>>> {
        let mut packed = Vec::new();
        let mut prepared = Vec::with_capacity(changes.len());
        for (key, change) in changes {
            let mut it = Prepared { key, payload: Cow::default(), header: None, is_aged: false };
            if let Change::Insert(Bytes { mut payload, tag }, age) = change
                && let Some(mut header) = self.header(tag, age, now)?
            {
                if self.compress(&payload, &mut packed)? {
                    header.compressor = STAGE_NAMED;
                    payload = Cow::Owned(packed.clone());
                }
                it.payload = payload;
                it.header = Some(header);
                it.is_aged = matches!(age, Age::Given(_));
            }
            prepared.push(it);
        }
        Ok(prepared)
    }

    /// The header of a value that is not compressed; `None` if it is expired, so that the key is to have none.
    fn header(&self, tag: u8, age: Age, now: Time) -> Result<Option<Header>> {
        let new = |life| new_header(now, life, tag, false);
        let header = match age {
            Age::New => new(self.life),
            Age::Ttl(ttl) => new(self.life.with_ttl(ttl)?),
            Age::Given(times) => times.set(new(self.life), now)?,
        };
        Ok(header.due().is_none_or(|due| due > now).then_some(header))
    }
}

impl EntryTimes {
    /// Sets a header's times. None of them is in the future: such an entry would never be evicted.
    fn set(self, header: Header, now: Time) -> Result<Header> {
        let past = |what, time: SystemTime| match time < UNIX_EPOCH {
            true => Err(Error::invalid(what, "it lies before 1970")),
            false => Ok(Time::from_system(time).min(now)),
        };
        let created = past("creation time", self.created)?;
        let accessed = past("access time", self.accessed)?.max(created);
        // Not 0, which would be "never".
        let expires = self.expires.map_or(Time::ZERO, |time| Time::from_system(time).max(Time(1)));
        Ok(Header { created, modified: created, accessed, expires, ..header })
    }
}

/// The net change of each key, in the order of the tree.
fn outcomes(live: &Live, namespace: NamespaceId, changes: &mut [Prepared<'_>]) -> Vec<Outcome> {
    let mut outcomes: HashMap<KeyHash, Outcome, Prefix> =
        HashMap::with_capacity_and_hasher(changes.len(), Prefix);
    for (change, Prepared { key, header, is_aged, .. }) in changes.iter_mut().enumerate() {
        let hash = key.hash(&live.unlocked.hasher, namespace);
        let new = Outcome { hash, change, removes: false, inserts: None };
        let outcome = outcomes.entry(hash).or_insert(new);
        match header {
            None => (outcome.removes, outcome.inserts) = (true, None),
            Some(header) => {
                let before = outcome.inserts;
                outcome.inserts = Some(Insert {
                    hash,
                    change,
                    first: before.map_or(change, |before| before.first),
                    number: Number::FIRST,
                    replaces: None,
                    created: match is_aged {
                        true => Some(header.created),
                        false => before.and_then(|before| before.created),
                    },
                });
            }
        }
    }
    let mut outcomes: Vec<Outcome> = outcomes.into_values().collect();
    outcomes.sort_unstable_by_key(|outcome| outcome.hash);
    outcomes
}

/// Removes what is to go, expired entries among it, and gives the new entries places in the order. What is left to be
/// written, in the order of the tree.
fn make_way(
    writer: &mut Writer<'_>,
    namespace: NamespaceId,
    changes: &[Prepared<'_>],
    outcomes: Vec<Outcome>,
) -> Result<Vec<Insert>> {
    let mut inserts = Vec::with_capacity(outcomes.len());
    let mut new = Vec::new();
    for Outcome { hash, change, removes, inserts: insert } in outcomes {
        let key = changes.get(change).map(|change| change.key.key()).unwrap_or_default();
        let found = writer.sound_or_gone(hash, |found| (found.header, holds_key(found, key)))?;
        let mut kept = None;
        if let Some((old, is_of_key)) = found {
            let (is_own, is_expired) =
                (is_of_key && old.namespace == namespace, writer.is_expired(hash, &old));
            if is_own && !is_expired && !removes {
                kept = Some(old);
            } else if is_own || insert.is_some() {
                writer.remove_or_expire(hash, &old)?;
            }
        }
        let Some(mut insert) = insert else { continue };
        match kept {
            Some(old) => {
                insert.number = old.number;
                insert.replaces = Some(old);
                insert.created = insert.created.or(Some(old.created));
            }
            None => new.push((insert.first, inserts.len())),
        }
        inserts.push(insert);
    }
    new.sort_unstable();
    let hashes: Vec<KeyHash> =
        new.iter().filter_map(|(_, place)| inserts.get(*place)).map(|insert| insert.hash).collect();
    for ((_, place), number) in new.iter().zip(writer.list_new(namespace, &hashes)?) {
        if let Some(insert) = inserts.get_mut(*place) {
            insert.number = number;
        }
    }
    Ok(inserts)
}
