//! What unlocking a store yields, and the seals of its records beside the entries.
//!
//! In an encrypted store the records that say what entries mean have a *seal* behind them: a keyed hash of the record and
//! its key in the tree. It is looked at when the store or a namespace is opened, described or changed, and by `verify`; not
//! by each read and write, because entries are bound to their namespace by themselves (see
//! [`Identity`](super::format::records::Identity)).

use subtle::ConstantTimeEq;

use super::ReadView;
use super::backend::{Backend, Size};
use super::format::layout::{KeyHasher, NamespaceId, STATE_KEY, STORE_KEY, kind};
use super::format::records::{NamespaceRecord, StateRecord, StoreRecord};
use crate::error::{Error, Result};
use crate::secret::{DataKey, Envelope, Seals, Secret, StoreKeys};

/// Bytes of a seal.
const SEAL: usize = 16;

/// How keys are hashed, and the keys for values and records if the store is encrypted.
pub(crate) struct Unlocked {
    pub(crate) keys: Option<StoreKeys>,
    pub(crate) hasher: KeyHasher,
    seals: Seals,
}

impl Unlocked {
    pub(crate) fn plain() -> Unlocked {
        Unlocked { keys: None, hasher: KeyHasher::Plain, seals: Seals::None }
    }

    pub(crate) fn encrypted(data_key: &DataKey, seals: Seals) -> Unlocked {
        let keys = StoreKeys::derive(data_key);
        let hasher = KeyHasher::keyed(*keys.names());
        Unlocked { keys: Some(keys), hasher, seals }
    }

    /// Whether the store was made encrypted by version 1, and its records have no seals yet.
    pub(crate) fn lacks_seals(&self) -> bool {
        self.keys.is_some() && self.seals == Seals::None
    }

    /// Whether entries of the namespace can be bound to its id alone.
    pub(crate) fn has_version_1(&self, namespace: NamespaceId) -> bool {
        match self.seals {
            Seals::None => true,
            Seals::From(first) => namespace.0 < first,
        }
    }

    /// A record as it is stored under a key of the tree.
    pub(crate) fn seal(&self, key: &[u8], mut record: Vec<u8>) -> Vec<u8> {
        if let (Some(keys), Seals::From(_)) = (&self.keys, self.seals) {
            let seal = seal_of(keys, key, &record);
            record.extend_from_slice(&seal);
        }
        record
    }

    /// The record in what is stored under a key of the tree.
    ///
    /// [`Error::Tampered`] if it is not what was written there.
    pub(crate) fn open<'r>(&self, key: &[u8], stored: &'r [u8]) -> Result<&'r [u8]> {
        let Some(keys) = &self.keys else { return Ok(stored) };
        let opened = stored
            .split_last_chunk::<SEAL>()
            .and_then(|(record, seal)| bool::from(seal_of(keys, key, record).ct_eq(seal)).then_some(record));
        match (opened, self.seals) {
            (Some(record), _) => Ok(record),
            // Another process can have sealed it since this one opened the store to read.
            (None, Seals::None) => Ok(stored),
            (None, Seals::From(_)) => Err(Error::tampered(what_is_at(key))),
        }
    }

    /// The same without a look at the seal, for what is read at each write.
    pub(crate) fn unchecked<'r>(&self, stored: &'r [u8]) -> &'r [u8] {
        match (&self.keys, self.seals) {
            (Some(_), Seals::From(_)) => {
                stored.split_last_chunk::<SEAL>().map_or(stored, |(record, _)| record)
            }
            _ => stored,
        }
    }
}

fn what_is_at(key: &[u8]) -> String {
    match key.split_first() {
        Some((&kind::NAMESPACE, name)) => {
            format!("the record of the namespace {:?}", String::from_utf8_lossy(name))
        }
        _ => "the state record".to_owned(),
    }
}

fn seal_of(keys: &StoreKeys, key: &[u8], record: &[u8]) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new_keyed(keys.records());
    // Keys of the tree are short.
    hasher.update(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(record);
    let mut seal = [0; SEAL];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// Seals the records of a store that version 1 made. From then on what is not sealed is not believed, and new entries are
/// bound to their namespace by more than its id; those that there are stay as they are.
pub(super) fn seal_all(
    backend: &Backend,
    record: &StoreRecord,
    data_key: &DataKey,
    secret: &Secret,
) -> Result<Unlocked> {
    let mut txn = backend.write_txn(Size::Small)?;
    let (state, namespaces) = {
        let view = ReadView::new(txn.view());
        let state = view.get(STATE_KEY)?.map(<[u8]>::to_vec);
        let records = view.range(&[kind::NAMESPACE], &[kind::NAMESPACE + 1])?;
        let owned = records.map(|found| found.map(|(key, value)| (key.to_vec(), value.to_vec())));
        (state, owned.collect::<Result<Vec<_>>>()?)
    };
    let state = state.ok_or_else(|| Error::damaged("the state record is missing"))?;
    let seals = Seals::From(StateRecord::decode(&state)?.next_namespace);
    let unlocked = Unlocked::encrypted(data_key, seals);
    let mut envelope = Vec::new();
    Envelope::create(secret, data_key, seals, &record.head())?.encode(&mut envelope);
    txn.put(STORE_KEY, &StoreRecord { envelope, ..record.clone() }.encode(), &[])?;
    for (key, value) in std::iter::once((STATE_KEY.to_vec(), state)).chain(namespaces) {
        if key != STATE_KEY {
            NamespaceRecord::decode(&value)?;
        }
        txn.put(&key, &unlocked.seal(&key, value), &[])?;
    }
    txn.commit()?;
    backend.checkpoint()?;
    Ok(unlocked)
}
