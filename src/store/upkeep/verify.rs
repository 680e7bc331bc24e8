//! Checking a whole store: pages, entries, indexes and counters against each other.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::sweep::has_vanished;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::store::format::header::Header;
use crate::store::format::layout::{
    DueEntry, KeyBuffer, KeyHash, Listed, NamespaceId, Number, counters_key, expiry_key, kind, order_key,
    parse_expiry_key, parse_hash, parse_order_key, parse_recency_key, recency_key,
};
use crate::store::format::records::{Counters, Identity, Recency, StateRecord};
use crate::store::live::Live;
use crate::store::namespace::read_namespace;
use crate::store::opening::{read_state, store_record};
use crate::store::transaction::{Found, ReadView};

/// At most so many problems are described; all are counted.
const DESCRIBED: usize = 100;

/// What a verification found.
#[derive(Default, Debug)]
pub(crate) struct Findings {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) problems: u64,
    pub(crate) described: Vec<String>,
}

impl Findings {
    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problems += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(text());
        }
    }

    fn check(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.problem(text);
        }
    }
}

impl Live {
    /// Reads everything in one snapshot. What the backend would trust is looked at first.
    pub(crate) fn verify(&self) -> Result<Findings> {
        let mut findings = Findings::default();
        self.read(|view| {
            // The snapshot pins the pages that are about to be walked.
            match self.backend.check(view.snapshot()) {
                Ok(()) => verify_view(self, view, &mut findings),
                Err(Error::Damaged { detail }) => {
                    findings.problem(|| detail.into_owned());
                    Ok(())
                }
                Err(error) => Err(error),
            }
        })?;
        Ok(findings)
    }
}

/// A record that lists an entry which is not there.
enum Unmatched {
    Place(NamespaceId, Number),
    Due(u64, KeyHash),
    Access(u64, KeyHash),
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmatched::Place(namespace, number) => {
                write!(f, "place {} of namespace {} has no entry", number.0, namespace.0)
            }
            Unmatched::Due(at, _) => write!(f, "nothing is due at {at}"),
            Unmatched::Access(at, _) => write!(f, "nothing was accessed at {at}"),
        }
    }
}

/// Entries that the backend has removed because their time to live is over, and that are still listed and counted until the
/// sweeper comes.
#[derive(Default)]
struct Vanished {
    hashes: HashSet<KeyHash>,
    places: HashSet<(NamespaceId, Number)>,
}

impl Vanished {
    /// Those that have vanished by now.
    ///
    /// A snapshot does not keep them: one that could be read before may be gone. So this comes after the records that list
    /// them have been looked at.
    fn find(live: &Live, view: &ReadView<'_>) -> Result<Vanished> {
        let mut all = Vanished::default();
        let until = live.config.clock.now().0.saturating_add(1);
        view.for_each(&[kind::EXPIRY], &expiry_key(until, KeyHash([0; 16])), |view, key, value| {
            let (Some((_, hash)), listed) = (parse_expiry_key(key), DueEntry::decode(value)) else {
                return Ok(());
            };
            let now_at = view.entry(hash).ok().flatten().map(|found| found.header.number);
            let Some(Listed { number, .. }) = listed.listed else { return Ok(()) };
            if now_at != Some(number) {
                all.hashes.insert(hash);
            }
            // Else its namespace has been cleared since.
            if has_vanished(view, hash, listed, now_at)? {
                all.places.insert((listed.namespace, number));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn explains(&self, unmatched: &Unmatched) -> bool {
        match unmatched {
            Unmatched::Place(namespace, number) => self.places.contains(&(*namespace, *number)),
            Unmatched::Due(_, hash) | Unmatched::Access(_, hash) => self.hashes.contains(hash),
        }
    }
}

fn verify_view(live: &Live, view: &ReadView<'_>, findings: &mut Findings) -> Result<()> {
    let state = read_state(view, &live.unlocked).unwrap_or_else(|error| {
        findings.problem(|| error.to_string());
        StateRecord::NEW
    });
    if let Err(error) = store_record(view) {
        findings.problem(|| error.to_string());
    }
    let names = Names::read(live, view, findings)?;
    let mut found: HashMap<NamespaceId, u64> = HashMap::new();
    let mut listed: HashMap<NamespaceId, u64> = HashMap::new();
    let mut counted: HashMap<NamespaceId, u64> = HashMap::new();
    let mut scratch = Scratch::default();
    let mut unmatched = Vec::new();
    view.for_each(&[0], &[u8::MAX], |view, key, value| {
        match key.first() {
            Some(&kind::ENTRY) => {
                findings.entries += 1;
                findings.bytes += (key.len() + value.len()) as u64;
                match check_entry(live, view, key, value, state, &names, &mut scratch) {
                    Ok(namespace) => *found.entry(namespace).or_default() += 1,
                    Err(error) => findings.problem(|| error.to_string()),
                }
            }
            Some(&kind::ORDER) => match parse_order_key(key) {
                Some((namespace, _)) if counters_key(namespace) == key => match Counters::decode(value) {
                    Ok(counters) => {
                        counted.insert(namespace, counters.entries);
                        listed.entry(namespace).or_default();
                    }
                    Err(error) => findings.problem(|| error.to_string()),
                },
                Some((namespace, number)) => {
                    *listed.entry(namespace).or_default() += 1;
                    let entry = parse_hash(value).map(|hash| view.entry(hash));
                    if !matches!(&entry, Some(Ok(Some(found)))
                        if found.header.namespace == namespace && found.header.number == number)
                    {
                        unmatched.push(Unmatched::Place(namespace, number));
                    }
                }
                None => findings.problem(|| "an impossible key in the order".into()),
            },
            Some(&kind::EXPIRY) => match parse_expiry_key(key) {
                Some((due, hash)) => {
                    let entry = view.entry(hash);
                    if !matches!(&entry, Ok(Some(found)) if found.header.due() == Some(Time(due))) {
                        unmatched.push(Unmatched::Due(due, hash));
                    }
                }
                None => findings.problem(|| "an impossible key among those that expire".into()),
            },
            Some(&kind::RECENCY) => match parse_recency_key(key) {
                Some((_, at, hash)) => {
                    let entry = view.entry(hash);
                    if !matches!(&entry, Ok(Some(found)) if found.header.accessed == Time(at)) {
                        unmatched.push(Unmatched::Access(at, hash));
                    }
                }
                None => findings.problem(|| "an impossible key among the accesses".into()),
            },
            // Looked at before.
            Some(&(kind::NAMESPACE | kind::GRAVE | kind::STORE | kind::STATE | kind::FOLD)) => {}
            _ => findings.problem(|| "a record of an unknown kind".into()),
        }
        Ok(())
    })?;
    let vanished = match live.removes_expired() && !unmatched.is_empty() {
        true => Vanished::find(live, view)?,
        false => Vanished::default(),
    };
    for unmatched in &unmatched {
        findings.check(vanished.explains(unmatched), || unmatched.to_string());
    }
    for namespace in names.identities.keys().chain(&names.graves) {
        findings.check(namespace.0 < state.next_namespace, || {
            format!(
                "namespace {} is in use, but {} is to be given out next",
                namespace.0, state.next_namespace
            )
        });
    }
    for (namespace, count) in &found {
        findings.check(names.has(*namespace), || {
            format!("{count} entries are of namespace {}, which has no name", namespace.0)
        });
    }
    // Each entry is at its place, and each place has its entry or is a problem already: so places are counted, which a
    // snapshot keeps.
    for (namespace, count) in &listed {
        let counted = counted.get(namespace).copied().unwrap_or(0);
        findings.check(counted == *count, || {
            format!("namespace {}: {count} entries listed, {counted} counted", namespace.0)
        });
    }
    Ok(())
}

/// The namespaces that entries can be of.
#[derive(Default)]
struct Names {
    identities: HashMap<NamespaceId, Identity>,
    graves: HashSet<NamespaceId>,
}

impl Names {
    fn read(live: &Live, view: &ReadView<'_>, findings: &mut Findings) -> Result<Names> {
        let mut names = Names::default();
        for found in view.range(&[kind::GRAVE], &[kind::GRAVE + 1])? {
            let (key, _) = found?;
            names.graves.extend(key.last_chunk::<4>().map(|id| NamespaceId(u32::from_be_bytes(*id))));
        }
        for found in view.range(&[kind::NAMESPACE], &[kind::NAMESPACE + 1])? {
            let (key, stored) = found?;
            match read_namespace(&live.unlocked, key, stored) {
                Ok((name, record)) => {
                    let is_new = names.identities.insert(record.id, record.identity(name)).is_none();
                    findings.check(is_new && !names.graves.contains(&record.id), || {
                        format!("the id {} is given out twice", record.id.0)
                    });
                }
                Err(error) => findings.problem(|| error.to_string()),
            }
        }
        Ok(names)
    }

    fn has(&self, namespace: NamespaceId) -> bool {
        self.identities.contains_key(&namespace) || self.graves.contains(&namespace)
    }
}

#[derive(Default)]
struct Scratch {
    body: Vec<u8>,
    key: KeyBuffer,
}

fn check_entry(
    live: &Live,
    view: &ReadView<'_>,
    key: &[u8],
    value: &[u8],
    state: StateRecord,
    names: &Names,
    scratch: &mut Scratch,
) -> Result<NamespaceId> {
    let hash: KeyHash =
        key.get(1..).and_then(parse_hash).ok_or_else(|| Error::damaged("an entry with an impossible key"))?;
    let (header, entry_body) = Header::parse(value)?;
    let found = Found { header, body: entry_body, bytes: value };
    match names.identities.get(&header.namespace) {
        Some(identity) => {
            let sealing = live.sealing(identity);
            sealing.copy(&found, &mut scratch.body)?;
            let parts = sealing.open(&header, hash, &mut scratch.body)?;
            scratch.key.start().extend_from_slice(scratch.body.get(parts.key).unwrap_or_default());
            if scratch.key.hash(&live.unlocked.hasher, header.namespace) != hash {
                return Err(Error::damaged("an entry lies under the hash of another key"));
            }
        }
        // Cleared, and nobody can read it any more; or told of as one without a name.
        None => live.unlocked.check(&found)?,
    }
    let place = view.get(&order_key(header.namespace, header.number))?;
    if place != Some(&hash.0) {
        return Err(Error::damaged("an entry is not at its place in the order"));
    }
    if let Some(due) = header.due()
        && view.get(&expiry_key(due.0, hash))?.is_none()
    {
        return Err(Error::damaged("an entry is not listed among those that expire"));
    }
    let recency = recency_key(header.namespace, header.accessed.0, hash);
    if state.recency == Recency::On && view.get(&recency)?.is_none() {
        return Err(Error::damaged("an entry is not listed by its last access"));
    }
    Ok(header.namespace)
}
