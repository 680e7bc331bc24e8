//! What is done with the entry of one key, whose bytes are in the scratch: by operations of the cache that are given a key,
//! and by an [`Entry`](crate::Entry).

use std::sync::Arc;

use crate::entries::{Expect, Life, Read, Scratch, Written};
use crate::error::{Error, Result};
use crate::schema::Undecodable;
use crate::typed::{Inner, Looked};

impl<K, V> Inner<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// The value, in memory or in the store. Counts and is an access.
    #[inline]
    pub(crate) fn look_up(&self, scratch: &mut Scratch, undecodable: Undecodable) -> Result<Option<Arc<V>>> {
        let at = self.entries.at()?;
        Ok(match self.find(&at, scratch)? {
            Looked::Front(item) => {
                at.was_given(&item.held);
                Some(item.value.clone())
            }
            Looked::Store(found) => {
                at.note_read(found.read());
                drop(at);
                let value = self.decoded(undecodable, self.decode_found(*found, scratch))?;
                self.entries.space.count(value.is_some());
                value
            }
            Looked::Missing => {
                drop(at);
                self.entries.space.count(false);
                self.tell();
                None
            }
        })
    }

    /// The value, without counting a hit or an access.
    pub(crate) fn peek(&self, scratch: &mut Scratch) -> Result<Option<Arc<V>>> {
        let looked = self.find(&self.entries.at()?, scratch)?;
        Ok(match looked {
            Looked::Front(item) => Some(item.value.clone()),
            Looked::Store(found) => self.decoded(Undecodable::Miss, self.decode_found(*found, scratch))?,
            Looked::Missing => None,
        })
    }

    /// Writes a value. `life` is `None` for one that is over already.
    pub(crate) fn put(
        &self,
        scratch: &mut Scratch,
        value: &V,
        life: Option<Life>,
        expect: Expect,
    ) -> Result<Written> {
        // Taken out, since what is written is lent beside the other buffers.
        let mut encoded = std::mem::take(&mut scratch.encoded);
        encoded.clear();
        self.encode_value_into(value, &mut encoded)?;
        let written = self.put_living(scratch, &encoded, life, expect);
        scratch.encoded = encoded;
        written
    }

    /// Removes the entry and returns its value.
    pub(crate) fn take(&self, scratch: &mut Scratch) -> Result<Option<V>> {
        loop {
            let Some(read) = self.entries.find(scratch)? else { return Ok(None) };
            let value = self.decode_value(read.payload(scratch), read.origin.header.tag);
            let Some(value) = self.decoded(Undecodable::Error, value)? else { return Ok(None) };
            let expect = Read::expectation(Some(&read));
            if self.remove(scratch, expect)? {
                return Ok(Some(value));
            }
        }
    }

    /// Writes a function of the present value, or removes it.
    pub(crate) fn update(
        &self,
        scratch: &mut Scratch,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>> {
        loop {
            let read = self.entries.find(scratch)?;
            let decode = |read: &Read| self.decode_value(read.payload(scratch), read.origin.header.tag);
            let present = match read.as_ref().map(decode) {
                Some(value) => self.decoded(Undecodable::Error, value)?,
                None => None,
            };
            let expect = Read::expectation(read.as_ref());
            let new = change(present);
            let done = match &new {
                Some(value) => {
                    let payload = self.encode_value(value)?;
                    self.put_living(scratch, &payload, self.life_of(value)?, expect)? != Written::Refused
                }
                None => read.is_none() || self.remove(scratch, expect)?,
            };
            if done {
                return Ok(new);
            }
        }
    }

    /// Writes `new`, or removes the entry, if its value is `expected`; whether it was.
    pub(crate) fn compare_and_set(
        &self,
        scratch: &mut Scratch,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<bool> {
        let expected = expected.map(|value| self.encode_canonical(value)).transpose()?;
        let new = new.map(|value| Ok::<_, Error>((self.encode_value(value)?, self.life_of(value)?)));
        let new = new.transpose()?;
        loop {
            let read = self.entries.find(scratch)?;
            let is_expected = match (&read, &expected) {
                (Some(read), Some(expected)) => {
                    self.is_value(read.payload(scratch), read.origin.header.tag, expected)
                }
                (read, expected) => read.is_none() && expected.is_none(),
            };
            if !is_expected {
                return Ok(false);
            }
            let expect = Read::expectation(read.as_ref());
            let done = match &new {
                Some((payload, life)) => {
                    self.put_living(scratch, payload, *life, expect)? != Written::Refused
                }
                None => read.is_none() || self.remove(scratch, expect)?,
            };
            if done {
                return Ok(true);
            }
        }
    }

    /// Lets the entry live from now on as if just inserted; whether there is one.
    pub(crate) fn touch(&self, scratch: &mut Scratch) -> Result<bool> {
        if self.rules.ttl_of.is_none() {
            return self.touch_for(scratch, self.entries.space.life);
        }
        // For as long as the value says.
        while let Some(read) = self.entries.find(scratch)? {
            let value = self.decode_value(read.payload(scratch), read.origin.header.tag);
            let Some(value) = self.decoded(Undecodable::Error, value)? else { break };
            let expect = Read::expectation(Some(&read));
            let done = match self.life_of(&value)? {
                Some(life) => self.freeing(self.entries.touch(scratch, life, expect))?,
                None => self.remove(scratch, expect)?,
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn touch_for(&self, scratch: &mut Scratch, life: Life) -> Result<bool> {
        self.freeing(self.entries.touch(scratch, life, Expect::Anything))
    }
}
