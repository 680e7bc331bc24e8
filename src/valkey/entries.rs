//! The entries of one namespace, as one process has them: what all operations are made of.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};

use super::address::Address;
use super::keys::Keys;
use super::link::{Access, Link, Listener};
use super::memory::Memory;
use super::space::{Space, accepted, next_id, of_read, parse_id, shown, unexpected};
use crate::entries::{Life, check_key};
use crate::error::{Error, Result};
use crate::pipeline::{Compressor, pack, unpack};
use crate::store::body::Sealing;
use crate::store::{
    BAD_CHECKSUM, HEADER_SIZE, Header, KeyBuffer, KeyHash, NamespaceId, STAGE_NAMED, STAGE_NONE, Stamp,
    checksum, this_process,
};

/// The most that a server takes for one value, unless it is set otherwise.
const MOST: u64 = 512 << 20;
/// How often a change is begun again because the namespace was cleared meanwhile.
pub(super) const TRIES: usize = 16;

/// What a process needs to come to the entries, also one that was forked.
pub(super) struct Opening {
    pub(super) access: Arc<Access>,
    pub(super) namespace: String,
    pub(super) memory_bytes: u64,
    pub(super) max_stale: Duration,
}

pub(super) struct Entries {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Link,
    pub(super) space: Arc<Space>,
    pub(super) life: Life,
    pub(super) compressor: Option<Arc<dyn Compressor>>,
    process: u64,
}

/// What the thread of the link has as well.
pub(super) struct Shared {
    pub(super) keys: Keys,
    /// The key of the namespace's id.
    pub(super) id_key: String,
    pub(super) memory: Option<Memory>,
    /// The namespace's id as it was last seen.
    pub(super) id: AtomicU32,
}

/// An entry with what it was sealed with undone.
pub(super) struct Opened {
    pub(super) hash: KeyHash,
    pub(super) header: Header,
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) size: usize,
}

impl Drop for Entries {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            // Left behind, with what the threads of the other process had locked.
            std::mem::forget(self.shared.clone());
        }
    }
}

impl Opening {
    pub(super) fn address(&self) -> &Address {
        &self.access.address
    }

    /// Begins to connect.
    pub(super) fn connect(&self) -> Result<(Arc<Shared>, Link)> {
        let keys = Keys::new(&self.address().store);
        let shared = Arc::new(Shared {
            id_key: keys.id(&self.namespace),
            keys,
            memory: (self.memory_bytes > 0).then(|| Memory::new(self.memory_bytes, self.max_stale)),
            id: AtomicU32::new(0),
        });
        let link = Link::open(self.access.clone(), shared.clone())?;
        Ok((shared, link))
    }
}

impl Listener for Shared {
    fn changed(&self, key: &[u8]) {
        let Some(memory) = &self.memory else { return };
        if key == self.id_key.as_bytes() {
            memory.drop_all();
        } else if let Some(hash) = self.keys.hash_in(key) {
            memory.drop_key(hash);
        }
    }

    fn all_changed(&self) {
        if let Some(memory) = &self.memory {
            memory.drop_all();
        }
    }

    fn proven(&self, at: Instant) {
        if let Some(memory) = &self.memory {
            memory.proven(at);
        }
    }
}

impl Entries {
    pub(super) fn new(
        (shared, link): (Arc<Shared>, Link),
        space: Arc<Space>,
        life: Life,
        compressor: Option<Arc<dyn Compressor>>,
    ) -> Entries {
        shared.id.store(space.id.0, Ordering::SeqCst);
        Entries { shared, link, space, life, compressor, process: this_process() }
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == this_process()
    }

    /// The same in a process that was forked from the one that has these.
    pub(super) fn again(&self, opening: &Opening) -> Result<Entries> {
        Ok(Entries::new(opening.connect()?, self.space.clone(), self.life, self.compressor.clone()))
    }

    /// Does `work` in the namespace with the id it has at present, which it may find to be another.
    pub(super) fn in_namespace<T>(
        &self,
        operation: &'static str,
        mut work: impl FnMut(NamespaceId) -> Result<ControlFlow<T, NamespaceId>>,
    ) -> Result<T> {
        let mut id = self.last_id();
        for _ in 0..TRIES {
            match work(id)? {
                ControlFlow::Break(done) => return Ok(done),
                ControlFlow::Continue(now) => id = now,
            }
        }
        tracing::debug!(operation, "the namespace was cleared again and again");
        Err(self.too_busy())
    }

    pub(super) fn too_busy(&self) -> Error {
        let detail = "it was changed again and again by others meanwhile; try again";
        Error::Busy { path: shown(self.link.address()), detail: detail.into() }
    }

    pub(super) fn one(&self, operation: &'static str, command: &Pipeline) -> Result<Value> {
        let answers =
            self.link.ask_again(command).map_err(|failure| of_read(self.link.address(), failure))?;
        self.accept(operation, answers.into_iter().next().ok_or_else(unexpected)?)
    }

    pub(super) fn values(&self, operation: &'static str, command: &Pipeline) -> Result<Vec<Value>> {
        match self.one(operation, command)? {
            Value::Array(values) => Ok(values),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn accept(&self, operation: &'static str, answer: Value) -> Result<Value> {
        accepted(self.link.address(), operation, answer)
    }

    pub(super) fn last_id(&self) -> NamespaceId {
        NamespaceId(self.shared.id.load(Ordering::SeqCst))
    }

    pub(super) fn present_id(&self) -> Result<NamespaceId> {
        let mut command = redis::pipe();
        command.cmd("GET").arg(&self.shared.id_key);
        let answer = self.one("the look at the namespace", &command)?;
        self.take_id("the look at the namespace", answer)
    }

    /// The namespace's id in an answer.
    pub(super) fn take_id(&self, operation: &'static str, answer: Value) -> Result<NamespaceId> {
        match self.accept(operation, answer)? {
            Value::BulkString(digits) => {
                let id = parse_id(&digits)?;
                self.shared.id.store(id.0, Ordering::SeqCst);
                Ok(id)
            }
            Value::Nil => self.new_id(),
            _ => Err(unexpected()),
        }
    }

    /// The server has lost everything, or evicted the id: the namespace begins anew, under one that it never had.
    fn new_id(&self) -> Result<NamespaceId> {
        let new = next_id(&self.link, &self.shared.keys)?;
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(&self.shared.id_key).arg(new.0.to_string()).arg("NX");
        commands.cmd("GET").arg(&self.shared.id_key);
        let answers =
            self.link.ask_again(&commands).map_err(|failure| of_read(self.link.address(), failure))?;
        let [_, now] = two(answers)?;
        let Value::BulkString(digits) = self.accept("making a namespace", now)? else {
            return Err(unexpected());
        };
        let id = parse_id(&digits)?;
        self.shared.id.store(id.0, Ordering::SeqCst);
        Ok(id)
    }

    pub(super) fn hash(&self, key: &mut KeyBuffer, id: NamespaceId) -> KeyHash {
        key.hash(&self.space.unlocked.hasher, id)
    }

    fn sealing(&self) -> Sealing<'_> {
        let Space { unlocked, cipher, identity, .. } = &*self.space;
        Sealing { unlocked, cipher: &**cipher, identity }
    }

    /// The payload as it is stored, and whether it was compressed.
    pub(super) fn pack<'p>(&self, payload: &'p [u8]) -> Result<(Cow<'p, [u8]>, bool)> {
        let mut packed = Vec::new();
        match &self.compressor {
            Some(compressor) if pack(&**compressor, payload, &mut packed)? => Ok((packed.into(), true)),
            _ => Ok((payload.into(), false)),
        }
    }

    /// An entry as the server keeps it, under its key.
    pub(super) fn seal(
        &self,
        key: &mut KeyBuffer,
        id: NamespaceId,
        header: Header,
        packed: &[u8],
    ) -> Result<(Vec<u8>, KeyHash, Vec<u8>)> {
        let hash = self.hash(key, id);
        let mut header = Header { namespace: id, stamp: new_stamp()?, ..header };
        let mut body = Vec::new();
        self.sealing().seal(&mut header, hash, key.key(), packed, &mut body)?;
        let size = (HEADER_SIZE + body.len()) as u64;
        if size > MOST {
            return Err(Error::TooLarge { size, limit: MOST });
        }
        let mut entry = header.encode(checksum(&body)).to_vec();
        entry.append(&mut body);
        Ok((self.shared.keys.entry(id, hash), hash, entry))
    }

    pub(super) fn open(&self, id: NamespaceId, hash: KeyHash, entry: Vec<u8>) -> Result<Opened> {
        let (header, body) = Header::parse(&entry)?;
        if !Header::checksum_holds(&entry) {
            let is_plain = self.space.unlocked.keys.is_none();
            return Err(if is_plain { Error::damaged(BAD_CHECKSUM) } else { Error::tampered(BAD_CHECKSUM) });
        }
        if header.namespace != id {
            return Err(Error::damaged("an entry is of another namespace than its key"));
        }
        let mut body = body.to_vec();
        let parts = self.sealing().open(&header, hash, &mut body)?;
        let part = |range: Range<usize>| body.get(range).unwrap_or_default().to_vec();
        Ok(Opened { hash, header, key: part(parts.key), payload: part(parts.payload), size: entry.len() })
    }

    pub(super) fn unpacked(&self, opened: Opened) -> Result<Opened> {
        match (opened.header.compressor, &self.compressor) {
            (STAGE_NONE, _) => Ok(opened),
            (STAGE_NAMED, Some(compressor)) => {
                let mut payload = Vec::new();
                unpack(&**compressor, &opened.payload, &mut payload)?;
                Ok(Opened { payload, ..opened })
            }
            (id, _) => Err(Error::UnknownStage { kind: "compressor", name: id.to_string() }),
        }
    }
}

/// Of no other writing, of whatever process.
fn new_stamp() -> Result<Stamp> {
    let random = getrandom::u64().map_err(|e| Error::io("making a stamp", std::io::Error::other(e)))?;
    Ok(Stamp(random))
}

pub(super) fn two(answers: Vec<Value>) -> Result<[Value; 2]> {
    answers.try_into().map_err(|_| unexpected())
}

pub(super) fn new_key(key: &[u8]) -> Result<KeyBuffer> {
    check_key(key)?;
    Ok(KeyBuffer::from_key(key))
}
