//! How a key and its payload become an entry's body, and back.
//!
//! Plain: `key | payload`. Encrypted: the cipher's form of `key length (4 bytes) | key | payload`.

use std::ops::Range;

use super::header::{Header, STAGE_NAMED, STAGE_NONE};
use super::layout::KeyHash;
use super::live::Unlocked;
use super::transaction::Found;
use crate::error::{Error, Result};
use crate::pipeline::Cipher;

/// Where key and payload lie in an opened body.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) key: Range<usize>,
    pub(crate) payload: Range<usize>,
}

/// Builds the body for an entry into `body`, and sets the header's fields that depend on it.
///
/// The header must already have everything a cipher authenticates: times, namespace, tag and compressor.
pub(crate) fn seal(
    unlocked: &Unlocked,
    cipher: &dyn Cipher,
    header: &mut Header,
    hash: KeyHash,
    key: &[u8],
    payload: &[u8],
    body: &mut Vec<u8>,
) -> Result<()> {
    body.clear();
    let key_len = u32::try_from(key.len())
        .map_err(|_| Error::TooLarge { size: key.len() as u64, limit: crate::pipeline::MAX_ENTRY })?;
    let Some(keys) = &unlocked.keys else {
        header.cipher = STAGE_NONE;
        header.key_len = key_len;
        body.reserve(key.len() + payload.len());
        body.extend_from_slice(key);
        body.extend_from_slice(payload);
        return Ok(());
    };
    header.cipher = STAGE_NAMED;
    header.key_len = 0;
    body.reserve(4 + key.len() + payload.len() + cipher.overhead());
    body.extend_from_slice(&key_len.to_le_bytes());
    body.extend_from_slice(key);
    body.extend_from_slice(payload);
    let sealed = cipher.seal(keys.values(), &header.associated_data(hash), body, 0);
    sealed.map_err(|source| Error::Stage { stage: cipher.name().to_owned(), source })
}

/// Copies an entry's body out of the tree, after checking it for damage.
pub(crate) fn copy(found: &Found<'_>, body: &mut Vec<u8>) -> Result<()> {
    if !Header::checksum_holds(found.bytes) {
        return Err(match found.header.cipher {
            STAGE_NONE => Error::damaged("an entry's checksum does not match"),
            _ => Error::tampered("the checksum does not match"),
        });
    }
    body.clear();
    body.extend_from_slice(found.body);
    Ok(())
}

/// Makes a copied body plain, in place.
pub(crate) fn open(
    unlocked: &Unlocked,
    cipher: &dyn Cipher,
    header: &Header,
    hash: KeyHash,
    body: &mut Vec<u8>,
) -> Result<Parts> {
    match (header.cipher, &unlocked.keys) {
        (STAGE_NONE, None) => {
            let key = header.key_len as usize;
            Ok(Parts { key: 0..key, payload: key..body.len() })
        }
        // In an encrypted store nobody but a forger writes plain entries.
        (STAGE_NONE, Some(_)) => Err(Error::tampered("a plain entry in an encrypted store")),
        (STAGE_NAMED, Some(keys)) => {
            let opened = cipher.open(keys.values(), &header.associated_data(hash), body);
            opened.map_err(|_| Error::tampered("it is not authentic"))?;
            let key = body.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize);
            let key = key.filter(|key| 4 + key <= body.len());
            let key = key.ok_or_else(|| Error::tampered("its key is longer than the entry"))?;
            Ok(Parts { key: 4..4 + key, payload: 4 + key..body.len() })
        }
        (STAGE_NAMED, None) => Err(Error::damaged("an encrypted entry in a plain store")),
        (id, _) => Err(Error::UnknownStage { kind: "cipher", name: id.to_string() }),
    }
}
