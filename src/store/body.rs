//! How a key and its payload become an entry's body, and back.
//!
//! Plain: `key | payload`. Encrypted: the cipher's form of `key length (4 bytes) | key | payload`.

use std::ops::Range;

use super::format::header::{
    BAD_CHECKSUM, ENTRY_VERSION_1, ENTRY_VERSION_2, Header, STAGE_NAMED, STAGE_NONE,
};
use super::format::layout::KeyHash;
use super::format::records::Identity;
use super::transaction::Found;
use super::unlocked::Unlocked;
use crate::error::{Error, Result};
use crate::pipeline::Cipher;

/// Where key and payload lie in an opened body.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) key: Range<usize>,
    pub(crate) payload: Range<usize>,
}

/// What bodies are made with in a namespace.
#[derive(Clone, Copy)]
pub(crate) struct Sealing<'a> {
    pub(crate) unlocked: &'a Unlocked,
    pub(crate) cipher: &'a dyn Cipher,
    pub(crate) identity: &'a Identity,
}

impl Sealing<'_> {
    /// Builds the body for an entry into `body`, and sets the header's fields that depend on it.
    ///
    /// The header must already have everything a cipher authenticates: times, namespace, tag and compressor.
    pub(crate) fn seal(
        &self,
        header: &mut Header,
        hash: KeyHash,
        key: &[u8],
        payload: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<()> {
        body.clear();
        let key_len = u32::try_from(key.len())
            .map_err(|_| Error::TooLarge { size: key.len() as u64, limit: crate::pipeline::MAX_ENTRY })?;
        let Some(keys) = &self.unlocked.keys else {
            header.version = ENTRY_VERSION_1;
            header.cipher = STAGE_NONE;
            header.key_len = key_len;
            body.reserve(key.len() + payload.len());
            body.extend_from_slice(key);
            body.extend_from_slice(payload);
            return Ok(());
        };
        header.version = ENTRY_VERSION_2;
        header.cipher = STAGE_NAMED;
        header.key_len = 0;
        body.reserve(4 + key.len() + payload.len() + self.cipher.overhead());
        body.extend_from_slice(&key_len.to_le_bytes());
        body.extend_from_slice(key);
        body.extend_from_slice(payload);
        let associated = header.associated_data(hash, self.identity);
        let sealed = self.cipher.seal(keys.values(), associated.as_slice(), body, 0);
        sealed.map_err(|source| Error::Stage { stage: self.cipher.name().to_owned(), source })
    }

    /// Copies an entry's body out of the tree, after checking it for damage.
    pub(crate) fn copy(&self, found: &Found<'_>, body: &mut Vec<u8>) -> Result<()> {
        self.unlocked.check(found)?;
        body.clear();
        body.extend_from_slice(found.body);
        Ok(())
    }

    /// Makes a copied body plain, in place.
    pub(crate) fn open(&self, header: &Header, hash: KeyHash, body: &mut Vec<u8>) -> Result<Parts> {
        match (header.cipher, &self.unlocked.keys) {
            (STAGE_NONE, None) => {
                let key = header.key_len as usize;
                Ok(Parts { key: 0..key, payload: key..body.len() })
            }
            // In an encrypted store nobody but a forger writes plain entries.
            (STAGE_NONE, Some(_)) => Err(Error::tampered("a plain entry in an encrypted store")),
            (_, Some(keys)) => {
                if header.version == ENTRY_VERSION_1 && !self.unlocked.has_version_1(header.namespace) {
                    return Err(Error::tampered("an entry of an older format than its namespace"));
                }
                let associated = header.associated_data(hash, self.identity);
                let opened = self.cipher.open(keys.values(), associated.as_slice(), body);
                opened.map_err(|_| Error::tampered("an entry is not authentic"))?;
                let key = body.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize);
                let key = key.filter(|key| 4 + key <= body.len());
                let key = key.ok_or_else(|| Error::tampered("an entry's key is longer than the entry"))?;
                Ok(Parts { key: 4..4 + key, payload: 4 + key..body.len() })
            }
            (_, None) => Err(Error::damaged("an encrypted entry in a plain store")),
        }
    }
}

impl Unlocked {
    /// Whether an entry is what was written, but for intent.
    pub(crate) fn check(&self, found: &Found<'_>) -> Result<()> {
        match (Header::checksum_holds(found.bytes), &self.keys) {
            (true, _) => Ok(()),
            (false, None) => Err(Error::damaged(BAD_CHECKSUM)),
            (false, Some(_)) => Err(Error::tampered(BAD_CHECKSUM)),
        }
    }
}
