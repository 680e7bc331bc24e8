//! Changing the secret of a store, and the data key under it.

use super::Store;
use super::backend::lmdb::{REENCRYPTED, Rewrite};
use super::body;
use super::copy::{point_of, sync_directory};
use super::header::{Header, checksum};
use super::layout::{
    KeyBuffer, STATE_KEY, STORE_KEY, counters_key, entry_key, expiry_key, kind, order_key, parse_hash,
    parse_order_key, recency_key,
};
use super::live::{Live, Unlocked};
use super::opening::store_record;
use super::records::{Recency, StateRecord, StoreRecord};
use super::sync::lock;
use super::transaction::{Found, ReadView};
use crate::error::{Error, Result};
use crate::secret::{DataKey, Envelope, Secret, StoreKeys};

impl Store {
    /// Wraps the same data key with another secret. Entries stay as they are, and so do other processes' handles.
    pub(crate) fn change_secret(&self, old: &Secret, new: &Secret) -> Result<()> {
        let live = self.live_for_writing()?;
        live.write_quietly(|writer| {
            let record = store_record(&writer.view())?;
            let data_key = self.data_key(&record, old)?;
            writer.put(STORE_KEY, &with_envelope(record, new, &data_key)?.encode())
        })?;
        live.checkpoint()
    }

    /// Encrypts every entry anew under a new data key, and wraps that with `new`.
    pub(crate) fn reencrypt(&self, old: &Secret, new: &Secret) -> Result<()> {
        let record = self.live()?.read(store_record)?;
        // A wrong secret is found before anything is closed.
        self.data_key(&record, old)?;
        let data_key = DataKey::generate()?;
        let record = with_envelope(record, new, &data_key)?;
        let unlocked = std::sync::Arc::new(Unlocked::new(Some(StoreKeys::derive(&data_key))));
        self.replace(
            REENCRYPTED,
            |live, tmp| rewrite(live, tmp, &record, &unlocked),
            || *lock(&self.shared.unlocked) = unlocked.clone(),
        )
    }

    fn data_key(&self, record: &StoreRecord, secret: &Secret) -> Result<DataKey> {
        match record.cipher.as_str() {
            "" => Err(Error::NotEncrypted { path: self.dir().to_owned() }),
            _ => Envelope::decode(&record.envelope)?.unlock(secret, self.dir()),
        }
    }
}

fn with_envelope(record: StoreRecord, secret: &Secret, data_key: &DataKey) -> Result<StoreRecord> {
    let mut envelope = Vec::new();
    Envelope::create(secret, data_key)?.encode(&mut envelope);
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
    let copy = Rewrite::new(live.lmdb()?, dir)?;
    let mut batch = copy.batch();
    let state = from.get(STATE_KEY)?.map(StateRecord::decode).transpose()?.unwrap_or(StateRecord::NEW);
    let (mut key, mut plain, mut sealed) = (KeyBuffer::default(), Vec::new(), Vec::new());
    for item in from.range(&[0], &[u8::MAX])? {
        let (name, value) = item?;
        match name.first() {
            Some(&kind::ENTRY) => {
                let Some(old_hash) = name.get(1..).and_then(parse_hash) else { continue };
                let (header, entry_body) = Header::parse(value)?;
                body::copy(&Found { header, body: entry_body, bytes: value }, &mut plain)?;
                let parts = body::open(&live.unlocked, &*live.config.cipher, &header, old_hash, &mut plain)?;
                let (old_key, payload) =
                    (plain.get(parts.key).unwrap_or_default(), plain.get(parts.payload).unwrap_or_default());
                key.start().extend_from_slice(old_key);
                let hash = key.hash(&unlocked.hasher, header.namespace);
                let mut header = header;
                body::seal(unlocked, &*live.config.cipher, &mut header, hash, old_key, payload, &mut sealed)?;
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
                if let Some((namespace, _)) =
                    parse_order_key(name).filter(|(ns, _)| counters_key(*ns) == name)
                {
                    batch.put(&counters_key(namespace), value)?;
                }
            }
            Some(&(kind::NAMESPACE | kind::GRAVE)) => batch.put(name, value)?,
            _ => {}
        }
    }
    batch.put(STORE_KEY, &record.encode())?;
    batch.put(STATE_KEY, &state.encode())?;
    batch.finish(&point_of(from)?)?;
    copy.sync()
}
