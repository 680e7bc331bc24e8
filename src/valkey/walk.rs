//! All entries: walks, counts and clearing, in steps that hold the server up for no longer than a read.

use std::sync::atomic::Ordering;

use redis::Value;

use super::entries::{Entries, Opened};
use super::remote::Walk;
use super::space::{next_id, of_change, unexpected};
use crate::bytes::{RawEntry, Version};
use crate::entries::EntryInfo;
use crate::error::Result;
use crate::store::{KeyHash, NamespaceId};

/// How many keys are looked at in one step of a walk.
const STEP: usize = 200;

impl Entries {
    pub(super) fn len(&self) -> Result<u64> {
        let mut walk = Walk::default();
        let id = self.present_id()?;
        while !walk.is_over {
            self.step(&mut walk, id)?;
        }
        Ok(walk.seen.len() as u64)
    }

    pub(super) fn is_empty(&self) -> Result<bool> {
        let mut walk = Walk::default();
        let id = self.present_id()?;
        while !walk.is_over && walk.seen.is_empty() {
            self.step(&mut walk, id)?;
        }
        Ok(walk.seen.is_empty())
    }

    pub(super) fn walk(&self, walk: &mut Walk) -> Result<Option<Vec<Result<RawEntry>>>> {
        if walk.is_over {
            return Ok(None);
        }
        let id = self.present_id()?;
        let hashes = self.step(walk, id)?;
        let mut found = Vec::with_capacity(hashes.len());
        if hashes.is_empty() {
            return Ok(Some(found));
        }
        let mut command = redis::pipe();
        let get = command.cmd("MGET");
        for hash in &hashes {
            get.arg(self.shared.keys.entry(id, *hash));
        }
        let values = self.values("the walk", &command)?;
        for (hash, value) in hashes.into_iter().zip(values) {
            let Value::BulkString(entry) = value else { continue };
            let opened = self.open(id, hash, entry).and_then(|opened| self.unpacked(opened));
            match opened {
                Ok(opened) if opened.header.due().is_some_and(|due| due <= self.link.now()) => {}
                opened => found.push(opened.map(RawEntry::from)),
            }
        }
        Ok(Some(found))
    }

    pub(super) fn clear(&self) -> Result<()> {
        let old = self.present_id()?;
        let new = next_id(&self.link, &self.shared.keys)?;
        let mut command = redis::pipe();
        command.cmd("SET").arg(&self.shared.id_key).arg(new.0.to_string());
        let answers = self.link.ask_again(&command);
        if let Some(memory) = &self.shared.memory {
            memory.drop_all();
        }
        let answers = answers.map_err(|failure| of_change(self.link.address(), "the clearing", failure))?;
        self.accept("the clearing", answers.into_iter().next().ok_or_else(unexpected)?)?;
        self.shared.id.store(new.0, Ordering::SeqCst);
        let mut walk = Walk::default();
        while !walk.is_over {
            let hashes = self.step(&mut walk, old)?;
            if hashes.is_empty() {
                continue;
            }
            let mut command = redis::pipe();
            let unlink = command.cmd("UNLINK");
            for hash in hashes {
                unlink.arg(self.shared.keys.entry(old, hash));
            }
            self.one("freeing what was cleared", &command)?;
        }
        Ok(())
    }

    /// One step over the keys of a namespace; gives those that were not met before.
    pub(super) fn step(&self, walk: &mut Walk, id: NamespaceId) -> Result<Vec<KeyHash>> {
        let mut command = redis::pipe();
        let pattern = format!("{}*", self.shared.keys.prefix(id));
        command.cmd("SCAN").arg(walk.cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        let mut parts = self.values("the walk", &command)?.into_iter();
        let (Some(Value::BulkString(cursor)), Some(Value::Array(keys))) = (parts.next(), parts.next()) else {
            return Err(unexpected());
        };
        let cursor = str::from_utf8(&cursor).ok().and_then(|digits| digits.parse().ok());
        walk.cursor = cursor.ok_or_else(unexpected)?;
        walk.is_over = walk.cursor == 0;
        let hashes = keys.iter().filter_map(|key| match key {
            Value::BulkString(key) => self.shared.keys.hash_in(key),
            _ => None,
        });
        Ok(hashes.filter(|hash| walk.seen.insert(*hash)).collect())
    }
}

impl From<Opened> for RawEntry {
    fn from(opened: Opened) -> RawEntry {
        let Opened { hash, header, key, payload, size } = opened;
        let info = EntryInfo::new(&header, header.modified, size);
        RawEntry { key, payload, info, version: Version::new(hash, header.stamp) }
    }
}
