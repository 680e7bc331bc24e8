//! Reading: from memory, or from the server in one trip.

use std::ops::ControlFlow;
use std::sync::Arc;

use redis::Value;

use super::entries::{Entries, Opened, new_key, two};
use super::memory::Sent;
use super::remote::Found;
use super::space::{of_read, unexpected};
use crate::bytes::Version;
use crate::entries::{EntryInfo, check_key};
use crate::error::Result;
use crate::store::{HEADER_SIZE, Header, KeyBuffer, KeyHash, NamespaceId};

impl Entries {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Found>> {
        check_key(key)?;
        let mut buffer = KeyBuffer::from_key(key);
        if let Some(found) = self.held(&mut buffer)? {
            return Ok(Some(found));
        }
        let mut found = self.read(std::slice::from_mut(&mut buffer))?;
        found.pop().map_or(Ok(None), |opened| opened.map(|opened| opened.map(Found::from)))
    }

    pub(super) fn get_many<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<Vec<Option<Found>>> {
        let mut buffers = Vec::new();
        for key in keys {
            check_key(key)?;
            buffers.push(KeyBuffer::from_key(key));
        }
        if buffers.is_empty() {
            return Ok(Vec::new());
        }
        self.read(&mut buffers)?
            .into_iter()
            .map(|opened| opened.map(|opened| opened.map(Found::from)))
            .collect()
    }

    pub(super) fn info(&self, key: &[u8]) -> Result<Option<EntryInfo>> {
        let mut key = new_key(key)?;
        let found = self.read_packed(std::slice::from_mut(&mut key))?.pop().flatten().transpose()?;
        Ok(found.map(|found| EntryInfo::new(&found.header, found.header.modified, found.size)))
    }

    fn held(&self, key: &mut KeyBuffer) -> Result<Option<Found>> {
        let Some(memory) = &self.shared.memory else { return Ok(None) };
        let id = self.last_id();
        let hash = self.hash(key, id);
        let Some(item) = memory.get(hash, key.key()) else { return Ok(None) };
        if item.is_expired(self.link.now()) {
            return Ok(None);
        }
        let is_current =
            if memory.asks_always() { self.has_header(id, hash, &item.header)? } else { memory.is_proven() };
        let version = Version::new(hash, item.header.stamp);
        Ok(is_current.then(|| Found { payload: item.payload.clone(), tag: item.header.tag, version }))
    }

    /// Whether the server still has the entry of this header: 80 bytes, whatever it weighs.
    fn has_header(&self, id: NamespaceId, hash: KeyHash, header: &Header) -> Result<bool> {
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(&self.shared.id_key);
        commands.cmd("GETRANGE").arg(self.shared.keys.entry(id, hash)).arg(0).arg(HEADER_SIZE - 1);
        let answers =
            self.link.ask_again(&commands).map_err(|failure| of_read(self.link.address(), failure))?;
        let [now, found] = two(answers)?;
        let found = self.accept("the read", found)?;
        let is_same =
            matches!(&found, Value::BulkString(head) if Header::stamp_in(head) == Some(header.stamp));
        Ok(self.take_id("the read", now)? == id && is_same)
    }

    /// Reads entries in one go, undoes what they were sealed and compressed with, and keeps them in memory.
    fn read(&self, keys: &mut [KeyBuffer]) -> Result<Vec<Result<Option<Opened>>>> {
        let mut sent = Vec::with_capacity(keys.len());
        let found = self.fetch(keys, &mut sent)?;
        let read = found.into_iter().zip(sent).map(|(opened, sent)| {
            let Some(opened) = opened else { return Ok(None) };
            let opened = self.unpacked(opened?)?;
            if let (Some(memory), Some(sent)) = (&self.shared.memory, sent) {
                memory.add(sent, opened.hash, &opened.key, Arc::from(&*opened.payload), opened.header);
            }
            Ok(Some(opened))
        });
        Ok(read.collect())
    }

    /// The same, with payloads as they are stored, and without a place in memory.
    pub(super) fn read_packed(&self, keys: &mut [KeyBuffer]) -> Result<Vec<Option<Result<Opened>>>> {
        self.fetch(keys, &mut Vec::new())
    }

    fn fetch(
        &self,
        keys: &mut [KeyBuffer],
        sent: &mut Vec<Option<Sent>>,
    ) -> Result<Vec<Option<Result<Opened>>>> {
        self.in_namespace("the read", |id| {
            sent.clear();
            let mut command = redis::pipe();
            let get = command.cmd("MGET").arg(&self.shared.id_key);
            let mut hashes = Vec::with_capacity(keys.len());
            for key in keys.iter_mut() {
                let hash = self.hash(key, id);
                sent.push(self.shared.memory.as_ref().map(|memory| memory.sent(hash)));
                get.arg(self.shared.keys.entry(id, hash));
                hashes.push(hash);
            }
            let mut values = self.values("the read", &command)?.into_iter();
            let now = self.take_id("the read", values.next().ok_or_else(unexpected)?)?;
            if now != id {
                return Ok(ControlFlow::Continue(now));
            }
            let clock = self.link.now();
            let mut found = Vec::with_capacity(keys.len());
            for ((hash, key), value) in hashes.into_iter().zip(keys.iter()).zip(values) {
                found.push(match value {
                    Value::BulkString(entry) => match self.open(id, hash, entry) {
                        Ok(opened) if opened.key != key.key() => None,
                        Ok(opened) if opened.header.due().is_some_and(|due| due <= clock) => None,
                        opened => Some(opened),
                    },
                    _ => None,
                });
            }
            Ok(ControlFlow::Break(found))
        })
    }
}

impl From<Opened> for Found {
    fn from(opened: Opened) -> Found {
        let Opened { hash, header, payload, .. } = opened;
        Found { payload: payload.into(), tag: header.tag, version: Version::new(hash, header.stamp) }
    }
}
