//! A second implementation of reading a store, by `docs/FORMAT.md` alone: it shares no code with the crate.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use twox_hash::XxHash3_64;

use crate::log::{self, Log, Point};

pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A secret as the user has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Secret {
    None,
    Key([u8; 32]),
    Passphrase(&'static str),
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) version: u32,
    pub(crate) id: [u8; 16],
    pub(crate) created: u64,
    pub(crate) cipher: String,
    pub(crate) keys: Option<Keys>,
    pub(crate) recency: u8,
    pub(crate) max_bytes: u64,
    pub(crate) next_namespace: u32,
    pub(crate) stamp_base: u64,
    pub(crate) namespaces: BTreeMap<String, Namespace>,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) values: [u8; 32],
    pub(crate) names: [u8; 32],
    pub(crate) records: [u8; 32],
    /// The first namespace without entries of version 1; `None` where no record has a seal.
    pub(crate) sealed_from: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) id: u32,
    pub(crate) max_entries: u64,
    pub(crate) key_serializer: String,
    pub(crate) serializer: String,
    pub(crate) compressor: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) namespace: u32,
    pub(crate) compressor: u8,
    pub(crate) cipher: u8,
    pub(crate) tag: u8,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) expires: u64,
    pub(crate) idle: u64,
    pub(crate) number: u64,
    pub(crate) stamp: u64,
    pub(crate) accessed: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Namespace {
    fn read(record: &[u8]) -> Namespace {
        let mut fields = Fields(record);
        let namespace = Namespace {
            id: fields.u32(),
            max_entries: fields.u64(),
            key_serializer: fields.text(),
            serializer: fields.text(),
            compressor: fields.text(),
        };
        fields.end();
        namespace
    }

    /// What its entries are bound to in an encrypted store.
    pub(crate) fn identity(&self, name: &str) -> [u8; 32] {
        let texts = [name, &self.key_serializer, &self.serializer, &self.compressor];
        let input = texts.map(|text| [&[text.len() as u8], text.as_bytes()].concat()).concat();
        *blake3::hash(&input).as_bytes()
    }
}

/// The record in what is stored under a key, which can have a seal behind it.
fn unsealed<'r>(key: &[u8], stored: &'r [u8], keys: Option<Keys>) -> &'r [u8] {
    let Some(Keys { records, sealed_from: Some(_), .. }) = keys else { return stored };
    let (record, seal) = stored.split_last_chunk::<16>().unwrap();
    assert_eq!(*seal, self::seal_of(&records, key, record));
    record
}

pub(crate) fn seal_of(records: &[u8; 32], key: &[u8], record: &[u8]) -> [u8; 16] {
    let input = [&(key.len() as u16).to_le_bytes()[..], key, record].concat();
    blake3::keyed_hash(records, &input).as_bytes()[..16].try_into().unwrap()
}

impl Entry {
    /// When it expires, if it does.
    pub(crate) fn due(&self) -> Option<u64> {
        let idle = (self.idle != 0).then(|| self.accessed + self.idle);
        let fixed = (self.expires != 0).then_some(self.expires);
        idle.into_iter().chain(fixed).min()
    }
}

fn tree(env: &Env) -> Database<'static, Bytes, Bytes> {
    let opened = env.open_databases_and_commit(env.read_txn().unwrap(), |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    opened.unwrap().commit().flatten().unwrap()
}

/// All records of a store: those of the data file, with what the log behind it has changed.
pub(crate) fn records(dir: &Path) -> Records {
    let mut records = tree_records(dir);
    for (key, value) in log_of(dir, &records).records.into_iter().flat_map(|(.., changes)| changes) {
        match value {
            Some(value) => drop(records.insert(key, value)),
            None => drop(records.remove(&key)),
        }
    }
    records
}

/// What the log has behind the data file. There is none in a store of version 1.
pub(crate) fn log_of(dir: &Path, tree: &Records) -> Log {
    match tree.get(&b"f"[..]) {
        Some(folded) => {
            let store: [u8; 16] = tree[&b"mcachemere"[..]][12..28].try_into().unwrap();
            log::read(dir, Point::decode(folded), store)
        }
        None => {
            Log { records: Vec::new(), end: Point { segment: 0, offset: 0, checksum: 0 }, parts: Vec::new() }
        }
    }
}

/// All records of the data file, which nobody writes to now.
pub(crate) fn tree_records(dir: &Path) -> Records {
    // A process can open a file once only, and the cache may have it open.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("data.mdb"), copy.path().join("data.mdb")).unwrap();
    let mut options = EnvOpenOptions::new();
    // SAFETY: the file is a copy that nobody knows of.
    unsafe { options.map_size(1 << 30).flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK) };
    // SAFETY: as above.
    let env = unsafe { options.open(copy.path()) }.unwrap();
    let tree = tree(&env);
    let txn = env.read_txn().unwrap();
    tree.iter(&txn).unwrap().map(|record| record.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

/// Changes records of the data file, which nobody else has open, and removes what version 1 had recorded of it.
pub(crate) fn change(dir: &Path, change: impl FnOnce(&mut Records)) {
    let before = tree_records(dir);
    let mut after = before.clone();
    change(&mut after);
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 30);
    // SAFETY: the file is a copy of the test's own, which nobody else has open.
    unsafe { options.flags(EnvFlags::NO_LOCK) };
    // SAFETY: as above.
    let env = unsafe { options.open(dir) }.unwrap();
    let tree = tree(&env);
    let mut txn = env.write_txn().unwrap();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        assert!(tree.delete(&mut txn, key).unwrap());
    }
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        tree.put(&mut txn, key, value).unwrap();
    }
    txn.commit().unwrap();
    drop(std::fs::remove_file(dir.join("checkpoint")));
}

/// Reads everything, and checks what must agree.
pub(crate) fn read(dir: &Path, secret: Secret) -> Store {
    let records = records(dir);
    let mut store = store_record(&records[&b"mcachemere"[..]], secret);

    let mut state = Fields(unsealed(b"s", &records[&b"s"[..]], store.keys));
    store.recency = state.array::<1>()[0];
    store.max_bytes = state.u64();
    store.next_namespace = state.u32();
    store.stamp_base = state.u64();
    state.end();

    for (name, stored) in records.iter().filter(|(name, _)| name[0] == b'n') {
        let namespace = Namespace::read(unsealed(name, stored, store.keys));
        assert!((1..store.next_namespace).contains(&namespace.id));
        store.namespaces.insert(String::from_utf8(name[1..].to_vec()).unwrap(), namespace);
    }

    // What the entries say must be listed, to be compared with what is.
    let mut indexes = Records::new();
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for (name, record) in &records {
        let (kind, rest) = (name[0], &name[1..]);
        if kind == b'e' {
            let entry = entry(rest.try_into().unwrap(), record, &store);
            let namespace = entry.namespace.to_be_bytes();
            indexes.insert([b"o", &namespace[..], &entry.number.to_be_bytes()].concat(), rest.to_vec());
            if let Some(due) = entry.due() {
                let key = [b"x", &due.to_be_bytes()[..], rest].concat();
                indexes.insert(key, entry.namespace.to_le_bytes().to_vec());
            }
            if store.recency != 0 {
                let key = [b"r", &namespace[..], &entry.accessed.to_be_bytes(), rest].concat();
                indexes.insert(key, vec![]);
            }
            *counts.entry(entry.namespace).or_default() += 1;
            store.entries.push(entry);
        }
    }
    for (name, record) in &records {
        match name[0] {
            b'o' if name[5..] == [0xff; 8] => {
                let mut fields = Fields(record);
                let (entries, next) = (fields.u64(), fields.u64());
                fields.end();
                let namespace = u32::from_be_bytes(name[1..5].try_into().unwrap());
                assert_eq!(entries, counts.get(&namespace).copied().unwrap_or(0));
                let used = store.entries.iter().filter(|e| e.namespace == namespace).map(|e| e.number);
                assert!(used.max().is_none_or(|used| used < next));
            }
            b'o' | b'x' | b'r' => assert_eq!(indexes.remove(name).as_ref(), Some(record), "{name:?}"),
            b'm' | b's' | b'n' | b'e' | b'g' | b'f' => {}
            other => panic!("a record of kind {other}"),
        }
    }
    assert!(indexes.is_empty(), "not listed: {indexes:?}");
    for entry in &mut store.entries {
        let namespace = store.namespaces.values().find(|n| n.id == entry.namespace).unwrap();
        if entry.compressor == 1 {
            assert_eq!(namespace.compressor, "zstd");
            let (size, frame) = entry.value.split_first_chunk::<4>().unwrap();
            let size = u32::from_le_bytes(*size) as usize;
            entry.value = zstd::bulk::decompress(frame, size).unwrap();
            assert_eq!(entry.value.len(), size);
        }
    }
    store.entries.sort_by_key(|entry| (entry.namespace, entry.number));
    store
}

fn store_record(record: &[u8], secret: Secret) -> Store {
    let mut fields = Fields(record);
    assert_eq!(fields.array(), *b"CACHMERE");
    let version = fields.u32();
    let id = fields.array();
    let created = fields.u64();
    let cipher = fields.text();
    let head = &record[..record.len() - fields.0.len()];
    let keys = (!cipher.is_empty()).then(|| unlock(head, fields.0, secret));
    assert!(keys.is_some() || fields.0.is_empty());
    Store {
        version,
        id,
        created,
        cipher,
        keys,
        recency: 0,
        max_bytes: 0,
        next_namespace: 0,
        stamp_base: 0,
        namespaces: BTreeMap::new(),
        entries: Vec::new(),
    }
}

fn unlock(record: &[u8], envelope: &[u8], secret: Secret) -> Keys {
    let mut fields = Fields(envelope);
    let [version] = fields.array();
    let secret_key = match (fields.array(), secret) {
        ([0], Secret::Key(key)) => key,
        ([1], Secret::Passphrase(text)) => {
            let (memory, iterations, parallelism) = (fields.u32(), fields.u32(), fields.u32());
            let salt: [u8; 16] = fields.array();
            let params = argon2::Params::new(memory, iterations, parallelism, Some(32)).unwrap();
            let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
            let mut key = [0; 32];
            argon2.hash_password_into(text.as_bytes(), &salt, &mut key).unwrap();
            key
        }
        other => panic!("another kind of secret: {other:?}"),
    };
    let (record, sealed_from) = match version {
        1 => (&[][..], None),
        2 => (record, Some(fields.u32())),
        other => panic!("version {other} of the envelope"),
    };
    let head = &envelope[..envelope.len() - fields.0.len()];
    assert_eq!(fields.array(), blake3::derive_key("cachemere v1 key commitment", &secret_key));
    let wrapping = blake3::derive_key("cachemere v1 key wrapping", &secret_key);
    let sealed: [u8; 72] = fields.array();
    fields.end();
    let data_key = unseal(&wrapping, &[record, head].concat(), &sealed);
    assert_eq!(data_key.len(), 32);
    Keys {
        values: blake3::derive_key("cachemere v1 values", &data_key),
        names: blake3::derive_key("cachemere v1 key names", &data_key),
        records: blake3::derive_key("cachemere v2 records", &data_key),
        sealed_from,
    }
}

/// Ciphertext, tag, nonce.
pub(crate) fn unseal(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (rest, nonce) = sealed.split_last_chunk::<24>().unwrap();
    let (ciphertext, tag) = rest.split_last_chunk::<16>().unwrap();
    let mut plain = ciphertext.to_vec();
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated, plain.as_mut_slice().into(), tag.into())
        .expect("authentic");
    plain
}

pub(crate) fn seal(key: &[u8; 32], associated: &[u8], plain: &[u8], nonce: [u8; 24]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&nonce.into(), associated, sealed.as_mut_slice().into())
        .unwrap();
    sealed.extend_from_slice(&tag);
    sealed.extend_from_slice(&nonce);
    sealed
}

pub(crate) fn hash(namespace: u32, key: &[u8], keys: Option<Keys>) -> [u8; 16] {
    let input = [&namespace.to_le_bytes()[..], key].concat();
    let hash = match keys {
        None => blake3::hash(&input),
        Some(keys) => blake3::keyed_hash(&keys.names, &input),
    };
    hash.as_bytes()[..16].try_into().unwrap()
}

pub(crate) fn checksum(head: &[u8], body: &[u8]) -> u64 {
    let body = XxHash3_64::oneshot(body).to_le_bytes();
    XxHash3_64::oneshot(&[&head[..64], &body].concat())
}

/// The entry under a hash; its value is still compressed.
fn entry(under: [u8; 16], record: &[u8], store: &Store) -> Entry {
    let keys = store.keys;
    let (head, body) = record.split_at(80);
    let mut fields = Fields(head);
    let [version, flags, serializer, compressor, cipher, tag, zero, zero_too] = fields.array();
    assert_eq!((flags, serializer, zero, zero_too), (0, 1, 0, 0));
    let (namespace, key_len) = (fields.u32(), fields.u32() as usize);
    let (created, modified, expires, idle) = (fields.u64(), fields.u64(), fields.u64(), fields.u64());
    let (number, stamp, accessed) = (fields.u64(), fields.u64(), fields.u64());
    assert_eq!(fields.u64(), checksum(head, body));
    fields.end();
    assert_eq!(cipher == 1, keys.is_some());
    let (key, value) = match keys {
        None => {
            assert_eq!(version, 1);
            (body[..key_len].to_vec(), body[key_len..].to_vec())
        }
        Some(keys) => {
            assert_eq!(key_len, 0);
            let mut associated = [&head[..48], &under].concat();
            match version {
                1 => assert!(keys.sealed_from.is_none_or(|first| namespace < first)),
                2 => {
                    let named = store.namespaces.iter().find(|(_, found)| found.id == namespace);
                    associated.extend(named.map(|(name, found)| found.identity(name)).unwrap());
                }
                other => panic!("an entry of version {other}"),
            }
            let plain = unseal(&keys.values, &associated, body);
            let (len, plain) = plain.split_first_chunk::<4>().unwrap();
            let len = u32::from_le_bytes(*len) as usize;
            (plain[..len].to_vec(), plain[len..].to_vec())
        }
    };
    assert_eq!(under, hash(namespace, &key, keys), "the entry lies where it is looked for");
    Entry {
        namespace,
        compressor,
        cipher,
        tag,
        created,
        modified,
        expires,
        idle,
        number,
        stamp,
        accessed,
        key,
        value,
    }
}

/// Takes fields off the front.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("long enough");
        self.0 = rest;
        *field
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let (field, rest) = self.0.split_at(len);
        self.0 = rest;
        field.to_vec()
    }

    fn text(&mut self) -> String {
        let [len] = self.array();
        let (text, rest) = self.0.split_at(len.into());
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    pub(crate) fn end(self) {
        assert!(self.0.is_empty(), "{} bytes too many", self.0.len());
    }
}
