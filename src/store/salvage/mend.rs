//! A new store of what was gathered: what proves to be what was written, and everything else made anew of that.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Report;
use super::gather::Gathered;
use crate::clock::ClockSource;
use crate::error::{Error, Result};
use crate::pipeline::Cipher;
use crate::secret::Secret;
use crate::store::backend::NewData;
use crate::store::backend::lmdb::{Batch, remains};
use crate::store::body::Sealing;
use crate::store::format::header::{Header, checksum};
use crate::store::format::layout::{
    KeyBuffer, KeyHash, NamespaceId, Number, STATE_KEY, STORE_KEY, counters_key, entry_key, expiry_key, kind,
    order_key, parse_hash, parse_order_key, recency_key,
};
use crate::store::format::records::{
    Counters, Identity, LMDB_VERSION, NamespaceRecord, Recency, StateRecord, StoreRecord,
};
use crate::store::namespace::read_namespace;
use crate::store::opening::{data_key, new_record};
use crate::store::transaction::Found;
use crate::store::unlocked::Unlocked;
use crate::store::upkeep::limits::MIN_MAX_BYTES;

pub(super) struct Mending<'a> {
    /// Where the damaged store lies, for messages.
    pub(super) path: &'a Path,
    pub(super) from: &'a NewData,
    pub(super) gathered: Gathered,
    pub(super) secret: Option<&'a Secret>,
    pub(super) cipher: &'a dyn Cipher,
    pub(super) clock: &'a ClockSource,
}

struct Names {
    records: Vec<(String, NamespaceRecord)>,
    graves: HashSet<NamespaceId>,
}

impl Mending<'_> {
    /// Writes the new store's data.
    pub(super) fn mend(&self, into: &NewData, report: &mut Report) -> Result<()> {
        let (record, unlocked) = self.store(report)?;
        let state = self.state(&unlocked, report)?;
        let names = self.names(&unlocked, report)?;
        let mut batch = into.batch();
        let mut counters = self.entries(&mut batch, &unlocked, state, &names, report)?;
        self.count_lost(&mut batch, &names, &mut counters, report)?;
        let highest_id = names.records.iter().map(|(_, record)| record.id.0).max().unwrap_or(0);
        let recency = if state.recency == Recency::Off { Recency::Off } else { Recency::On };
        let next_namespace = state.next_namespace.max(highest_id.saturating_add(1));
        let state = StateRecord { recency, next_namespace, ..state };
        for (name, record) in &names.records {
            let key = crate::store::format::layout::namespace_key(name);
            batch.put(&key, &unlocked.seal(&key, record.encode()))?;
            let counters = counters.remove(&record.id).unwrap_or_default();
            batch.put(&counters_key(record.id), &counters.encode())?;
        }
        batch.put(STORE_KEY, &StoreRecord { version: LMDB_VERSION, ..record }.encode())?;
        batch.put(STATE_KEY, &unlocked.seal(STATE_KEY, state.encode()))?;
        let tail = self.gathered.stamp.saturating_sub(state.stamp_base);
        batch.finish(&remains::new_log(self.gathered.highest, self.gathered.folded.as_deref(), tail)?)
    }

    /// What was found under a key of the store's, the surest first.
    fn found(&self, wanted: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        let end = [wanted, &[0]].concat();
        self.from.for_each(wanted, &end, |_, value| {
            all.push(value.to_vec());
            Ok(())
        })?;
        let spare = self.gathered.spare.iter().filter(|(key, _)| key == wanted);
        all.extend(spare.map(|(_, value)| value.clone()));
        Ok(all)
    }

    /// The store's record, unlocked with the secret.
    fn store(&self, report: &mut Report) -> Result<(StoreRecord, Unlocked)> {
        let mut failure = None;
        for found in self.found(STORE_KEY)? {
            let unlocked =
                StoreRecord::decode(&found).and_then(|record| match (&*record.cipher, self.secret) {
                    ("", None) => Ok((record, Unlocked::plain())),
                    ("", Some(_)) => Err(Error::NotEncrypted { path: self.path.to_owned() }),
                    (_, None) => Err(Error::MissingSecret { path: self.path.to_owned() }),
                    (cipher, Some(_)) if cipher != self.cipher.name() => Err(Error::Incompatible {
                        path: self.path.to_owned(),
                        what: "cipher",
                        stored: format!("{cipher:?}"),
                        asked: format!("{:?}", self.cipher.name()),
                    }),
                    (_, Some(secret)) => {
                        let (data_key, seals) = data_key(&record, secret, self.path)?;
                        Ok((record, Unlocked::encrypted(&data_key, seals)))
                    }
                });
            match unlocked {
                Ok(unlocked) => return Ok(unlocked),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            // Of a plain store it says nothing that cannot be made anew.
            None | Some(Error::Damaged { .. }) if self.secret.is_none() && !self.gathered.has_encrypted => {
                report.problem("the record of the store is lost; it has a new id".into());
                Ok((new_record(LMDB_VERSION, self.clock)?, Unlocked::plain()))
            }
            None | Some(Error::Damaged { .. }) => Err(Error::damaged(
                "the record that has the store's key is lost, and with it every entry; nothing can be read any more",
            )),
            Some(error) => Err(error),
        }
    }

    fn state(&self, unlocked: &Unlocked, report: &mut Report) -> Result<StateRecord> {
        let found = self.found(STATE_KEY)?;
        let mut states = found.iter().filter_map(|stored| {
            let state = unlocked.open(STATE_KEY, stored).and_then(StateRecord::decode).ok()?;
            (state.max_bytes == 0 || state.max_bytes >= MIN_MAX_BYTES).then_some(state)
        });
        Ok(states.next().unwrap_or_else(|| {
            report.problem("the record of the store's settings is lost, and with it a limit in bytes".into());
            StateRecord::NEW
        }))
    }

    /// The namespaces by name. A record from before is taken where a name has no other.
    fn names(&self, unlocked: &Unlocked, report: &mut Report) -> Result<Names> {
        let mut found = HashMap::<String, NamespaceRecord>::new();
        let mut graves = HashSet::new();
        self.from.for_each(&[kind::GRAVE], &[kind::GRAVE + 1], |key, _| {
            graves.extend(key.last_chunk::<4>().map(|id| NamespaceId(u32::from_be_bytes(*id))));
            Ok(())
        })?;
        self.from.for_each(&[kind::NAMESPACE], &[kind::NAMESPACE + 1], |key, value| {
            match read_namespace(unlocked, key, value) {
                Ok((name, record)) => drop(found.insert(name.to_owned(), record)),
                Err(error) => report.problem(error.to_string()),
            }
            Ok(())
        })?;
        let mut earlier = HashMap::<String, NamespaceRecord>::new();
        for (key, value) in
            self.gathered.spare.iter().filter(|(key, _)| key.first() == Some(&kind::NAMESPACE))
        {
            let Ok((name, record)) = read_namespace(unlocked, key, value) else { continue };
            if !found.contains_key(name) && earlier.get(name).is_none_or(|other| other.id.0 < record.id.0) {
                earlier.insert(name.to_owned(), record);
            }
        }
        let mut taken: HashSet<_> = found.values().map(|record| record.id).collect();
        for (name, record) in earlier {
            if !graves.contains(&record.id) && taken.insert(record.id) {
                report.problem(format!(
                    "the record of the namespace {name:?} is lost; an earlier one is taken"
                ));
                found.insert(name, record);
            }
        }
        let mut records: Vec<_> = found.into_iter().collect();
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Names { records, graves })
    }

    /// Writes the entries, and what lists them. Returns how many there are of each namespace.
    fn entries(
        &self,
        batch: &mut Batch<'_>,
        unlocked: &Unlocked,
        state: StateRecord,
        names: &Names,
        report: &mut Report,
    ) -> Result<HashMap<NamespaceId, Counters>> {
        let identities: HashMap<NamespaceId, Identity> =
            names.records.iter().map(|(name, record)| (record.id, record.identity(name))).collect();
        let mut counters = HashMap::<NamespaceId, Counters>::new();
        self.from.for_each(&[kind::ORDER], &[kind::ORDER + 1], |key, value| {
            if let (Some((namespace, Number::COUNTERS)), Ok(found)) =
                (parse_order_key(key), Counters::decode(value))
            {
                counters.insert(namespace, Counters { entries: 0, next: found.next });
            }
            Ok(())
        })?;
        let mut nameless = HashMap::<NamespaceId, u64>::new();
        let mut scratch = Scratch::default();
        self.from.for_each(&[kind::ENTRY], &[kind::ENTRY + 1], |key, value| {
            crate::waiting::go_on_waiting()?;
            let Some(hash) = key.get(1..).and_then(parse_hash) else { return Ok(()) };
            let (mut header, body) = Header::parse(value)?;
            let Some(identity) = identities.get(&header.namespace) else {
                if !names.graves.contains(&header.namespace) {
                    *nameless.entry(header.namespace).or_default() += 1;
                }
                return Ok(());
            };
            let sealing = Sealing { unlocked, cipher: self.cipher, identity };
            if !scratch.is_genuine(&sealing, &Found { header, body, bytes: value }, hash) {
                report.problem("an entry is not authentic, or not under its own key".into());
                return Ok(());
            }
            let counters = counters.entry(header.namespace).or_default();
            let mut bytes = value;
            let renumbered;
            let place = order_key(header.namespace, header.number);
            if header.number.0 >= Counters::MOST_INSERTED || batch.get(&place)?.is_some() {
                header.number = Number(counters.next.min(Counters::MOST_INSERTED - 1));
                renumbered = [header.encode(checksum(body)).as_slice(), body].concat();
                bytes = &renumbered;
            }
            counters.entries += 1;
            counters.next = counters.next.max(header.number.0 + 1);
            batch.put(&entry_key(hash), bytes)?;
            batch.put(&order_key(header.namespace, header.number), &hash.0)?;
            if let Some(due) = header.due() {
                batch.put(&expiry_key(due.0, hash), &header.namespace.0.to_le_bytes())?;
            }
            if state.recency != Recency::Off {
                batch.put(&recency_key(header.namespace, header.accessed.0, hash), &[])?;
            }
            report.entries += 1;
            report.bytes += value.len() as u64;
            Ok(())
        })?;
        // Ids are given out upwards: of one that is no name's and below all names' it can be said that it was cleared.
        for (namespace, count) in nameless {
            report.lost += count;
            report.problem(format!(
                "{count} entries are of a namespace whose name is lost (number {})",
                namespace.0
            ));
        }
        Ok(counters)
    }

    /// Counts what is listed and is not there.
    fn count_lost(
        &self,
        batch: &mut Batch<'_>,
        names: &Names,
        kept: &mut HashMap<NamespaceId, Counters>,
        report: &mut Report,
    ) -> Result<()> {
        let mut lost = HashMap::<NamespaceId, HashSet<KeyHash>>::new();
        let mut counted = HashMap::new();
        self.from.for_each(&[kind::ORDER], &[kind::ORDER + 1], |key, value| {
            match (parse_order_key(key), parse_hash(value), Counters::decode(value)) {
                (Some((namespace, Number::COUNTERS)), _, Ok(found)) => {
                    counted.insert(namespace, found.entries);
                }
                (Some((namespace, _)), Some(hash), _) if batch.get(&entry_key(hash))?.is_none() => {
                    lost.entry(namespace).or_default().insert(hash);
                }
                _ => {}
            }
            Ok(())
        })?;
        let mut unlisted = HashSet::new();
        for (hash, key) in &self.gathered.broken {
            if batch.get(&entry_key(*hash))?.is_some() {
                continue;
            }
            match key {
                Some((namespace, _)) => drop(lost.entry(*namespace).or_default().insert(*hash)),
                None => drop(unlisted.insert(*hash)),
            }
        }
        for hashes in lost.values() {
            unlisted.retain(|hash| !hashes.contains(hash));
        }
        let mut not_listed = unlisted.len() as u64;
        for (name, record) in &names.records {
            let none = HashSet::new();
            let hashes = lost.get(&record.id).unwrap_or(&none);
            let kept = kept.get(&record.id).map_or(0, |kept| kept.entries);
            // What lists them may be lost, too.
            let missing = counted.get(&record.id).map_or(0, |counted| counted.saturating_sub(kept));
            not_listed = not_listed.saturating_sub(missing.saturating_sub(hashes.len() as u64));
            report.lost += missing.max(hashes.len() as u64);
            for hash in hashes {
                if let Some(Some((_, key))) = self.gathered.broken.get(hash) {
                    report.lost_key(name, key);
                }
            }
        }
        report.lost += not_listed;
        report.lost_keys.sort();
        Ok(())
    }
}

#[derive(Default)]
struct Scratch {
    body: Vec<u8>,
    key: KeyBuffer,
}

impl Scratch {
    /// Whether an entry is what was written under its key.
    fn is_genuine(&mut self, sealing: &Sealing<'_>, found: &Found<'_>, hash: KeyHash) -> bool {
        let opened = sealing
            .copy(found, &mut self.body)
            .and_then(|()| sealing.open(&found.header, hash, &mut self.body));
        let Ok(parts) = opened else { return false };
        self.key.start().extend_from_slice(self.body.get(parts.key).unwrap_or_default());
        self.key.hash(&sealing.unlocked.hasher, found.header.namespace) == hash
    }
}
