//! Writing: inserting, replacing under a condition, removing.

use std::ops::ControlFlow;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::entries::{Entries, TRIES, new_key, two};
use super::link::Failure;
use super::script::{self, PUT_IF, REMOVE_IF, Script};
use super::space::{of_change, unexpected};
use crate::bytes::{Condition, Version};
use crate::clock::{Span, Time};
use crate::entries::{Life, lifetime, new_header};
use crate::error::Result;
use crate::store::{Header, KeyBuffer, KeyHash, NamespaceId};

impl Entries {
    pub(super) fn insert(&self, key: &[u8], payload: &[u8], tag: u8, ttl: Option<Duration>) -> Result<()> {
        let mut key = new_key(key)?;
        let life = self.life_with(ttl)?;
        let (packed, is_packed) = self.pack(payload)?;
        let header = new_header(self.link.now(), life, tag, is_packed);
        self.in_namespace("the insertion", |id| {
            let (entry_key, hash, entry) = self.seal(&mut key, id, header, &packed)?;
            let mut commands = redis::pipe();
            let set = commands.cmd("SET").arg(&entry_key).arg(&entry);
            if life.ttl != Span(0) {
                set.arg("PX").arg(milliseconds(life.ttl));
            }
            commands.cmd("GET").arg(&self.shared.id_key);
            let answers = self.change("the insertion", hash, &commands, true)?;
            let [done, now] = two(answers)?;
            self.accept("the insertion", done)?;
            let now = self.take_id("the insertion", now)?;
            if now != id {
                // It was written into what had been cleared, where nobody finds it, nor should have to remove it.
                let mut remove = redis::pipe();
                remove.cmd("UNLINK").arg(&entry_key);
                drop(self.link.ask(&remove));
                return Ok(ControlFlow::Continue(now));
            }
            Ok(ControlFlow::Break(()))
        })
    }

    pub(super) fn insert_if(
        &self,
        key: &[u8],
        payload: &[u8],
        tag: u8,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool> {
        let mut key = new_key(key)?;
        let life = self.life_with(ttl)?;
        let (packed, is_packed) = self.pack(payload)?;
        let header = new_header(self.link.now(), life, tag, is_packed);
        self.put_if("the conditional insertion", &mut key, header, &packed, condition)
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<bool> {
        let mut key = new_key(key)?;
        self.in_namespace("the removal", |id| {
            let hash = self.hash(&mut key, id);
            let mut commands = redis::pipe();
            commands.cmd("UNLINK").arg(self.shared.keys.entry(id, hash));
            commands.cmd("GET").arg(&self.shared.id_key);
            let [removed, now] = two(self.change("the removal", hash, &commands, true)?)?;
            let removed = self.accept("the removal", removed)?;
            let now = self.take_id("the removal", now)?;
            Ok(if now == id {
                ControlFlow::Break(removed == Value::Int(1))
            } else {
                ControlFlow::Continue(now)
            })
        })
    }

    pub(super) fn remove_if(&self, key: &[u8], version: Version) -> Result<bool> {
        let mut key = new_key(key)?;
        self.in_namespace("the conditional removal", |id| {
            let hash = self.hash(&mut key, id);
            let arguments = [id.0.to_string().into_bytes(), version.stamp().0.to_le_bytes().to_vec()];
            self.run("the conditional removal", &REMOVE_IF, id, hash, &arguments)
        })
    }

    pub(super) fn touch(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let mut key = new_key(key)?;
        let life = Life { ttl: ttl.map_or(Ok(Span(0)), |ttl| lifetime("ttl", ttl))?, idle: Span(0) };
        for _ in 0..TRIES {
            let Some(found) =
                self.read_packed(std::slice::from_mut(&mut key))?.pop().flatten().transpose()?
            else {
                return Ok(false);
            };
            let Header { tag, modified, compressor, stamp, .. } = found.header;
            let header = Header { modified, compressor, ..new_header(self.link.now(), life, tag, false) };
            let condition = Condition::Version(Version::new(found.hash, stamp));
            if self.put_if("the new lifetime", &mut key, header, &found.payload, condition)? {
                return Ok(true);
            }
        }
        Err(self.too_busy())
    }

    pub(super) fn put_if(
        &self,
        operation: &'static str,
        key: &mut KeyBuffer,
        header: Header,
        packed: &[u8],
        condition: Condition,
    ) -> Result<bool> {
        let expected = match condition {
            Condition::Absent => Vec::new(),
            Condition::Version(version) => version.stamp().0.to_le_bytes().to_vec(),
        };
        self.in_namespace(operation, |id| {
            let (_, hash, entry) = self.seal(key, id, header, packed)?;
            let ttl = if header.expires == Time::ZERO {
                0
            } else {
                milliseconds(header.expires.since(header.created))
            };
            let arguments =
                [id.0.to_string().into_bytes(), expected.clone(), entry, ttl.to_string().into_bytes()];
            self.run(operation, &PUT_IF, id, hash, &arguments)
        })
    }

    /// Runs a script on an entry.
    pub(super) fn run(
        &self,
        operation: &'static str,
        script: &Script,
        id: NamespaceId,
        hash: KeyHash,
        arguments: &[Vec<u8>],
    ) -> Result<ControlFlow<bool, NamespaceId>> {
        let commands = |is_known| {
            let mut command = script.command(is_known);
            command.arg(self.shared.keys.entry(id, hash)).arg(&self.shared.id_key).arg(arguments);
            let mut commands = redis::pipe();
            commands.add_command(command);
            commands
        };
        let first = |answers: Vec<Value>| answers.into_iter().next().ok_or_else(unexpected);
        let mut answer = first(self.change(operation, hash, &commands(true), false)?)?;
        if script::is_unknown(&answer) {
            answer = first(self.change(operation, hash, &commands(false), false)?)?;
        }
        match self.accept(operation, answer)? {
            Value::Int(-1) => Ok(ControlFlow::Continue(self.present_id()?)),
            Value::Int(done) => Ok(ControlFlow::Break(done == 1)),
            _ => Err(unexpected()),
        }
    }

    /// Sends a change, and drops what memory has of the key before anybody learns that it was done, or may have been.
    pub(super) fn change(
        &self,
        operation: &'static str,
        hash: KeyHash,
        commands: &Pipeline,
        may_be_done_twice: bool,
    ) -> Result<Vec<Value>> {
        let answers = if may_be_done_twice { self.link.ask_again(commands) } else { self.link.ask(commands) };
        if let (Some(memory), false) = (&self.shared.memory, matches!(answers, Err(Failure::Down(_)))) {
            memory.drop_key(hash);
        }
        answers.map_err(|failure| of_change(self.link.address(), operation, failure))
    }

    pub(super) fn life_with(&self, ttl: Option<Duration>) -> Result<Life> {
        ttl.map_or(Ok(self.life), |ttl| self.life.with_ttl(ttl))
    }
}

/// The server counts in these; at least one, which an entry that is to live for less has, too.
fn milliseconds(span: Span) -> u64 {
    // More than that it refuses.
    span.0.div_ceil(1000).clamp(1, 1 << 50)
}
