//! Giving a store a secret, or another one, and another data key under it.

use std::collections::HashMap;

use super::Store;
use super::body::Sealing;
use super::directory::making::{REENCRYPTED, sync_directory};
use super::format::header::{Header, checksum};
use super::format::layout::{
    KeyBuffer, STATE_KEY, STORE_KEY, counters_key, entry_key, expiry_key, grave_key, kind, namespace_key,
    order_key, parse_hash, parse_order_key, recency_key,
};
use super::format::records::{Recency, StoreRecord};
use super::live::Live;
use super::namespace::list_namespaces;
use super::opening::{data_key, encrypted_record, read_state, store_record};
use super::transaction::{Found, ReadView};
use super::unlocked::Unlocked;
use crate::error::{Error, Result};
use crate::secret::{DataKey, Envelope, Seals, Secret};
use crate::sync::lock;

impl Store {
    /// Wraps the same data key with another secret. Entries stay as they are, and so do other processes' handles.
    pub(crate) fn change_secret(&self, old: &Secret, new: &Secret) -> Result<()> {
        let live = self.live_for_writing()?;
        let envelope = live.write_quietly(|writer| {
            let record = store_record(&writer.view())?;
            let (data_key, seals) = self.data_key(&record, old)?;
            let record = with_envelope(record, new, &data_key, seals)?;
            writer.put(STORE_KEY, &record.encode())?;
            Ok(record.envelope)
        })?;
        *lock(&self.shared.envelope) = envelope;
        live.checkpoint()
    }

    /// Encrypts every entry anew under a new data key, and wraps that with `new`.
    pub(crate) fn reencrypt(&self, old: &Secret, new: &Secret) -> Result<()> {
        let record = self.live()?.read(store_record)?;
        // A wrong secret is found before anything is closed.
        self.data_key(&record, old)?;
        let data_key = DataKey::generate()?;
        let seals = Seals::From(0);
        let record = with_envelope(record, new, &data_key, seals)?;
        self.rewrite_as(&record, Unlocked::encrypted(&data_key, seals), |_| Ok(()))
    }

    /// Encrypts every entry of a store in plain text under a new data key, which is wrapped with the secret.
    pub(crate) fn encrypt(&self, secret: &Secret) -> Result<()> {
        let is_plain = |record: &StoreRecord| match record.cipher.as_str() {
            "" => Ok(()),
            _ => Err(Error::invalid(
                "store",
                "it is encrypted already; change_secret and reencrypt give it another secret",
            )),
        };
        let record = self.live()?.read(store_record)?;
        is_plain(&record)?;
        secret.check()?;
        let (record, unlocked) = encrypted_record(record, secret, self.shared.config.cipher.name())?;
        // Another thread may have been faster.
        self.rewrite_as(&record, unlocked, |live| is_plain(&live.read(store_record)?))
    }

    /// Replaces the data by the same ones under other keys, if what they are by then is as expected.
    fn rewrite_as(
        &self,
        record: &StoreRecord,
        unlocked: Unlocked,
        expected: impl FnOnce(&Live) -> Result<()>,
    ) -> Result<()> {
        let _span = tracing::debug_span!("cachemere::encrypt", store = %self.dir().display()).entered();
        let unlocked = std::sync::Arc::new(unlocked);
        self.replace(
            REENCRYPTED,
            |live, tmp| {
                expected(live)?;
                rewrite(live, tmp, record, &unlocked)
            },
            || {
                *lock(&self.shared.unlocked) = unlocked.clone();
                lock(&self.shared.envelope).clone_from(&record.envelope);
            },
        )
    }

    fn data_key(&self, record: &StoreRecord, secret: &Secret) -> Result<(DataKey, Seals)> {
        match record.cipher.as_str() {
            "" => Err(Error::NotEncrypted { path: self.dir().to_owned() }),
            _ => data_key(record, secret, self.dir()),
        }
    }
}

fn with_envelope(
    record: StoreRecord,
    secret: &Secret,
    data_key: &DataKey,
    seals: Seals,
) -> Result<StoreRecord> {
    let mut envelope = Vec::new();
    Envelope::create(secret, data_key, seals, &record.head())?.encode(&mut envelope);
    Ok(StoreRecord { envelope, ..record })
}

/// Writes the whole store, decrypted with its present keys and encrypted with new ones, into a new directory.
fn rewrite(live: &Live, dir: &std::path::Path, record: &StoreRecord, unlocked: &Unlocked) -> Result<()> {
    live.read(|view| rewrite_view(live, view, dir, record, unlocked))?;
    sync_directory(dir)
}

fn rewrite_view(
    live: &Live,
    from: &ReadView<'_>,
    dir: &std::path::Path,
    record: &StoreRecord,
    unlocked: &Unlocked,
) -> Result<()> {
    let copy = live.backend.new_data(dir)?;
    let mut batch = copy.batch();
    let state = read_state(from, &live.unlocked)?;
    let mut identities = HashMap::new();
    for (name, record) in list_namespaces(from, &live.unlocked)? {
        identities.insert(record.id, record.identity(&name));
        let key = namespace_key(&name);
        batch.put(&key, &unlocked.seal(&key, record.encode()))?;
    }
    let (mut key, mut plain, mut sealed) = (KeyBuffer::default(), Vec::new(), Vec::new());
    for item in from.range(&[0], &[u8::MAX])? {
        let (name, value) = item?;
        match name.first() {
            Some(&kind::ENTRY) => {
                let Some(old_hash) = name.get(1..).and_then(parse_hash) else { continue };
                let (header, entry_body) = Header::parse(value)?;
                // What was cleared is not copied.
                if from.get(&grave_key(header.namespace))?.is_some() {
                    continue;
                }
                let identity = identities.get(&header.namespace);
                let identity =
                    identity.ok_or_else(|| Error::damaged("an entry is of a namespace that has no name"))?;
                let old = live.sealing(identity);
                old.copy(&Found { header, body: entry_body, bytes: value }, &mut plain)?;
                let parts = old.open(&header, old_hash, &mut plain)?;
                let (old_key, payload) =
                    (plain.get(parts.key).unwrap_or_default(), plain.get(parts.payload).unwrap_or_default());
                key.start().extend_from_slice(old_key);
                let hash = key.hash(&unlocked.hasher, header.namespace);
                let mut header = header;
                let new = Sealing { unlocked, ..old };
                new.seal(&mut header, hash, old_key, payload, &mut sealed)?;
                let mut entry = header.encode(checksum(&sealed)).to_vec();
                entry.extend_from_slice(&sealed);
                batch.put(&entry_key(hash), &entry)?;
                batch.put(&order_key(header.namespace, header.number), &hash.0)?;
                if let Some(due) = header.due() {
                    batch.put(&expiry_key(due.0, hash), &header.namespace.0.to_le_bytes())?;
                }
                if state.recency != Recency::Off {
                    batch.put(&recency_key(header.namespace, header.accessed.0, hash), &[])?;
                }
            }
            Some(&kind::ORDER) => {
                let counters =
                    parse_order_key(name).filter(|(namespace, _)| counters_key(*namespace) == name);
                if counters.is_some_and(|(namespace, _)| identities.contains_key(&namespace)) {
                    batch.put(name, value)?;
                }
            }
            _ => {}
        }
    }
    batch.put(STORE_KEY, &record.encode())?;
    batch.put(STATE_KEY, &unlocked.seal(STATE_KEY, state.encode()))?;
    batch.finish_as_of(from.snapshot())?;
    copy.sync()
}
