//! Keys and passphrases, and how a store holds the key that its data is sealed with.
//!
//! ```text
//! passphrase --Argon2id--+
//!                        +--> secret key --BLAKE3--> wrapping key --> seals the data key
//! raw key ---------------+                 `-------> commitment: tells a wrong secret from a damaged store
//!
//! data key (random) --BLAKE3--> values:  seals the entries
//!                   +---------> names:   keyed hash of the entries' keys
//!                   `---------> records: authenticates the store's other records
//! ```
//!
//! The data key never changes, so that changing the secret rewrites one [`Envelope`] and not the data.

use std::fmt;
use std::io;
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};
use crate::pipeline::{Cipher, XChaCha20Poly1305};

/// The key or passphrase that unlocks an encrypted store.
///
/// Its memory is wiped when it is dropped, and it is never printed.
///
/// ```
/// use cachemere::Secret;
///
/// let secret = Secret::passphrase("correct horse battery staple");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::key_from_slice(b"too short").is_err());
/// ```
#[derive(Clone)]
pub struct Secret(Kind);

#[derive(Clone)]
enum Kind {
    Key(Zeroizing<[u8; 32]>),
    Passphrase { text: Zeroizing<String>, params: Argon2Params },
}

impl Secret {
    /// A key of 256 random bits, from a key store or a generator meant for keys. Unlocking takes microseconds.
    ///
    /// Not for passwords, or anything else that could be guessed: see [`passphrase`](Self::passphrase).
    #[must_use]
    pub fn key(key: [u8; 32]) -> Secret {
        Secret(Kind::Key(Zeroizing::new(key)))
    }

    /// Like [`key`](Self::key), of a slice.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] unless it has 32 bytes.
    pub fn key_from_slice(key: &[u8]) -> Result<Secret> {
        let mut array = Zeroizing::new([0; 32]);
        if key.len() != array.len() {
            return Err(Error::invalid("key", format!("it has {} bytes, a key has 32", key.len())));
        }
        array.copy_from_slice(key);
        Ok(Secret(Kind::Key(array)))
    }

    /// A passphrase, with the default [`Argon2Params`]. Unlocking takes about 0.2 seconds and 64 MiB of memory, once
    /// for each open but that of a [`sibling`](crate::Cache::sibling).
    ///
    /// The passphrase counts as its UTF-8 bytes, so `é` typed as one character and as two are different. An empty one
    /// is refused with [`Error::Invalid`] when the store is opened.
    #[must_use]
    pub fn passphrase(text: impl Into<String>) -> Secret {
        Secret::passphrase_with(text, Argon2Params::default())
    }

    /// A passphrase that costs more or less to try.
    ///
    /// The parameters are for making a store, or giving it this as its new secret, which refuse bad ones with
    /// [`Error::Invalid`]. A store remembers them, and opening it uses its own.
    #[must_use]
    pub fn passphrase_with(text: impl Into<String>, params: Argon2Params) -> Secret {
        Secret(Kind::Passphrase { text: Zeroizing::new(text.into()), params })
    }

    /// Whether a store can be made with it.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.0 {
            Kind::Key(_) => Ok(()),
            Kind::Passphrase { text, .. } if text.is_empty() => Err(empty_passphrase()),
            Kind::Passphrase { params, .. } => {
                params.check().map_err(|e| Error::invalid("Argon2 parameters", e))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What one guess at a passphrase costs, as parameters of Argon2id
/// ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)).
///
/// Memory times iterations is at most 8 GiB, which takes about ten seconds: whoever can write to a store's files decides
/// what its next open costs, and so it is for making a store, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argon2Params {
    /// Memory in KiB, from `8 * parallelism` to 2 GiB (2097152).
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 1000.
    pub iterations: u32,
    /// Lanes, 1 to 64. They are computed one after the other here, whatever their number.
    pub parallelism: u32,
}

impl Default for Argon2Params {
    /// The second recommended option of RFC 9106, section 4, for when memory is limited: 64 MiB, 3 passes, 4 lanes.
    /// The first takes 2 GiB, too much for a library inside of other programs.
    fn default() -> Argon2Params {
        Argon2Params { memory_kib: 64 << 10, iterations: 3, parallelism: 4 }
    }
}

impl Argon2Params {
    /// The most memory, in KiB.
    const MEMORY: u32 = 2 << 20;
    /// The most memory times iterations, in KiB.
    const WORK: u64 = 8 << 20;

    /// Whether they are within Argon2's lower limits (RFC 9106, section 3.1) and our upper ones.
    fn check(&self) -> Result<(), String> {
        self.check_form()?;
        let Argon2Params { memory_kib, iterations, .. } = *self;
        if memory_kib > Self::MEMORY {
            Err(format!("memory of {memory_kib} KiB is over the limit of 2 GiB"))
        } else if u64::from(memory_kib) * u64::from(iterations) > Self::WORK {
            Err(format!("{iterations} iterations over {memory_kib} KiB are over the limit of 8 GiB together"))
        } else {
            Ok(())
        }
    }

    /// Whether any version of this crate made a store with them: the first allowed more.
    fn check_form(&self) -> Result<(), String> {
        let Argon2Params { memory_kib, iterations, parallelism } = *self;
        if !(1..=64).contains(&parallelism) {
            Err(format!("parallelism {parallelism} is not within 1 to 64"))
        } else if !(8 * parallelism..=4 << 20).contains(&memory_kib) {
            Err(format!("memory of {memory_kib} KiB is not within {} KiB and 4 GiB", 8 * parallelism))
        } else if !(1..=1000).contains(&iterations) {
            Err(format!("{iterations} iterations are not within 1 to 1000"))
        } else {
            Ok(())
        }
    }

    /// Whether a store with these may be opened by who is ready to pay for `given`.
    fn check_for(&self, given: &Argon2Params) -> Result<()> {
        let is_given = self.memory_kib <= given.memory_kib && self.iterations <= given.iterations;
        match self.check() {
            Err(reason) if !is_given => Err(Error::invalid(
                "Argon2 parameters of the store",
                format!("{reason}; if it was made so, open it with a passphrase that has these parameters"),
            )),
            _ => Ok(()),
        }
    }
}

/// Bytes of salt: what RFC 9106, section 3.1, recommends for passwords.
const SALT: usize = 16;

/// How the secret becomes a key.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kdf {
    /// It is one.
    Raw,
    /// A passphrase, through Argon2id version 0x13.
    Argon2id { params: Argon2Params, salt: [u8; SALT] },
}

impl Kdf {
    /// The key that `secret` stands for; `None` when it is of the other kind.
    fn secret_key(&self, secret: &Secret) -> Result<Option<Zeroizing<[u8; 32]>>> {
        match (self, &secret.0) {
            (_, Kind::Passphrase { text, .. }) if text.is_empty() => Err(empty_passphrase()),
            (Kdf::Raw, Kind::Key(key)) => Ok(Some(key.clone())),
            (Kdf::Argon2id { params, salt }, Kind::Passphrase { text, params: given }) => {
                params.check_for(given)?;
                argon2id(text, params, salt).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn empty_passphrase() -> Error {
    Error::invalid("passphrase", "it is empty; give one that is hard to guess")
}

fn argon2id(text: &str, params: &Argon2Params, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |e: argon2::Error| Error::invalid("passphrase or its parameters", e.to_string());
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(params.memory_kib, params.iterations, params.parallelism, Some(key.len()))
        .map_err(failed)?;
    // The crate would allocate by itself, but not wipe: its last blocks are the key before one more hash.
    let mut memory = Zeroizing::new(Vec::new());
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| Error::io("making a key of the passphrase", io::ErrorKind::OutOfMemory))?;
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(text.as_bytes(), salt, key.as_mut_slice(), memory.as_mut_slice())
        .map_err(failed)?;
    Ok(key)
}

/// What the secret key is used for. It is never used itself, so that the commitment, which anybody can read, says
/// nothing about the wrapping key.
struct Kek {
    wrapping: Zeroizing<[u8; 32]>,
    commitment: [u8; 32],
}

impl Kek {
    fn derive(secret_key: &[u8; 32]) -> Kek {
        Kek {
            wrapping: Zeroizing::new(blake3::derive_key("cachemere v1 key wrapping", secret_key)),
            commitment: blake3::derive_key("cachemere v1 key commitment", secret_key),
        }
    }
}

/// The newest envelope version that this code reads, and the one that it writes.
const VERSION: u8 = 2;
/// Bytes in a commitment.
const COMMITMENT: usize = 32;
/// Bytes in a sealed data key: the key, a tag of 16 bytes, a nonce of 24.
const WRAPPED: usize = 32 + 16 + 24;

/// What the store's metadata holds about encryption: the data key, sealed with the secret.
///
/// As bytes, all numbers little endian:
///
/// ```text
/// offset  bytes
///      0      1  version, 2
///      1      1  how the secret becomes a key: 0 it is one, 1 Argon2id
///                for Argon2id only:
///             4    memory in KiB
///             4    iterations
///             4    parallelism
///            16    salt
///   2 (30)    4  the first namespace id of which all entries are bound to their namespace
///   6 (34)   32  commitment: BLAKE3 derive_key("cachemere v1 key commitment", secret key)
///  38 (66)   72  the data key, sealed with XChaCha20-Poly1305 under derive_key("cachemere v1 key wrapping",
///                secret key), with the store record up to the commitment as associated data:
///                ciphertext (32), tag (16), nonce (24)
/// ```
///
/// Version 1 has no namespace id, and its associated data begins with the version. A data key in it says that the store's
/// other records have no seals yet: so none can be taken away from a store that has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Envelope {
    kdf: Kdf,
    seals: Seals,
    commitment: [u8; COMMITMENT],
    wrapped: Vec<u8>,
}

/// Which records of a store have seals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seals {
    /// None, and entries are bound to the id of their namespace alone: a store that version 1 made.
    None,
    /// All; in the namespaces below this one, from before, entries can still be bound to the id alone.
    From(u32),
}

impl Envelope {
    /// The bytes before the commitment.
    fn encode_head(kdf: &Kdf, seals: Seals, out: &mut Vec<u8>) {
        out.push(match seals {
            Seals::None => 1,
            Seals::From(_) => VERSION,
        });
        match kdf {
            Kdf::Raw => out.push(0),
            Kdf::Argon2id { params, salt } => {
                out.push(1);
                out.extend_from_slice(&params.memory_kib.to_le_bytes());
                out.extend_from_slice(&params.iterations.to_le_bytes());
                out.extend_from_slice(&params.parallelism.to_le_bytes());
                out.extend_from_slice(salt);
            }
        }
        if let Seals::From(first) = seals {
            out.extend_from_slice(&first.to_le_bytes());
        }
    }

    /// What the data key is sealed with: `record` is the store record before the envelope.
    fn associated_data(kdf: &Kdf, seals: Seals, record: &[u8]) -> Vec<u8> {
        let mut out = match seals {
            Seals::None => Vec::new(),
            Seals::From(_) => record.to_vec(),
        };
        Envelope::encode_head(kdf, seals, &mut out);
        out
    }

    /// Which other records of the store have seals. To be believed when the envelope has been unlocked.
    pub(crate) fn seals(&self) -> Seals {
        self.seals
    }

    /// Appends the bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        Envelope::encode_head(&self.kdf, self.seals, out);
        out.extend_from_slice(&self.commitment);
        out.extend_from_slice(&self.wrapped);
    }

    /// The envelope that `bytes`, all of them, stand for.
    ///
    /// [`Error::NewerFormat`] for a newer version; [`Error::Damaged`] for anything else that is wrong, including
    /// Argon2 parameters over the limits of [`Argon2Params`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Envelope> {
        fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N]> {
            let (head, tail) = rest
                .split_first_chunk()
                .ok_or_else(|| Error::damaged("the encryption metadata is cut short"))?;
            *rest = tail;
            Ok(head)
        }

        let mut rest = bytes;
        let [version] = *take(&mut rest)?;
        if version > VERSION {
            return Err(Error::NewerFormat { found: version.into(), supported: VERSION.into() });
        }
        if version == 0 {
            return Err(Error::damaged("the encryption metadata has version 0"));
        }
        let kdf = match *take(&mut rest)? {
            [0] => Kdf::Raw,
            [1] => {
                let params = Argon2Params {
                    memory_kib: u32::from_le_bytes(*take(&mut rest)?),
                    iterations: u32::from_le_bytes(*take(&mut rest)?),
                    parallelism: u32::from_le_bytes(*take(&mut rest)?),
                };
                params.check_form().map_err(|e| Error::damaged(format!("encryption metadata: {e}")))?;
                Kdf::Argon2id { params, salt: *take(&mut rest)? }
            }
            [kind] => {
                return Err(Error::damaged(format!("the encryption metadata has a key of kind {kind}")));
            }
        };
        let seals = match version {
            1 => Seals::None,
            _ => Seals::From(u32::from_le_bytes(*take(&mut rest)?)),
        };
        let commitment = *take(&mut rest)?;
        let wrapped = take::<WRAPPED>(&mut rest)?.to_vec();
        if !rest.is_empty() {
            return Err(Error::damaged("there are bytes after the encryption metadata"));
        }
        Ok(Envelope { kdf, seals, commitment, wrapped })
    }

    /// Seals `data_key` with `secret`, for a store whose record begins with `record`. For a passphrase this takes as long as
    /// its parameters say.
    ///
    /// Another envelope for the same data key, with another secret, is how a store's secret is changed.
    ///
    /// [`Error::Invalid`] for an empty passphrase or parameters out of range.
    pub(crate) fn create(
        secret: &Secret,
        data_key: &DataKey,
        seals: Seals,
        record: &[u8],
    ) -> Result<Envelope> {
        let kdf = match &secret.0 {
            Kind::Key(_) => Kdf::Raw,
            Kind::Passphrase { params, .. } => {
                secret.check()?;
                Kdf::Argon2id { params: *params, salt: random("making a salt")? }
            }
        };
        let Some(secret_key) = kdf.secret_key(secret)? else {
            return Err(Error::invalid("secret", "it is of another kind than its envelope"));
        };
        let kek = Kek::derive(&secret_key);
        let associated = Envelope::associated_data(&kdf, seals, record);
        // With the room for the seal, so that no copy of the key is left behind by a reallocation.
        let mut wrapped = Zeroizing::new(Vec::with_capacity(WRAPPED));
        wrapped.extend_from_slice(&data_key.0);
        XChaCha20Poly1305
            .seal(&kek.wrapping, &associated, &mut wrapped, 0)
            .map_err(|source| Error::Stage { stage: XChaCha20Poly1305.name().to_owned(), source })?;
        Ok(Envelope { kdf, seals, commitment: kek.commitment, wrapped: std::mem::take(&mut *wrapped) })
    }

    /// The data key. For a passphrase this takes as long as the stored parameters say.
    ///
    /// [`Error::WrongSecret`], with `path` as the store, for another secret or another kind of secret;
    /// [`Error::Tampered`] when the secret is right but the sealed key, or the store record that begins with `record`, is
    /// not what was written; [`Error::Invalid`] when the parameters ask for more than the secret's own and our limits.
    pub(crate) fn unlock(&self, secret: &Secret, record: &[u8], path: &Path) -> Result<DataKey> {
        let wrong = || Error::WrongSecret { path: path.to_owned() };
        let secret_key = self.kdf.secret_key(secret)?.ok_or_else(wrong)?;
        let kek = Kek::derive(&secret_key);
        if !bool::from(kek.commitment.ct_eq(&self.commitment)) {
            return Err(wrong());
        }
        let associated = Envelope::associated_data(&self.kdf, self.seals, record);
        let mut data_key = Zeroizing::new(self.wrapped.clone());
        XChaCha20Poly1305
            .open(&kek.wrapping, &associated, &mut data_key)
            .map_err(|_| Error::tampered("the store's record or its sealed key"))?;
        let mut key = DataKey([0; 32]);
        if data_key.len() != key.0.len() {
            return Err(Error::tampered("the length of the store's sealed key"));
        }
        key.0.copy_from_slice(&data_key);
        Ok(key)
    }
}

/// Fresh bytes from the operating system.
fn random<const N: usize>(context: &'static str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::io(context, e.raw_os_error().map_or_else(|| io::Error::other(e), io::Error::from_raw_os_error))
    })?;
    Ok(bytes)
}

/// The random key that everything in a store is derived from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct DataKey([u8; 32]);

impl DataKey {
    /// A new one.
    pub(crate) fn generate() -> Result<DataKey> {
        random("making a key").map(DataKey)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// The keys that a store works with. Separate, so that neither use of them can say anything about the other.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct StoreKeys {
    values: [u8; 32],
    names: [u8; 32],
    records: [u8; 32],
}

impl StoreKeys {
    /// Those of `data_key`.
    pub(crate) fn derive(data_key: &DataKey) -> StoreKeys {
        StoreKeys {
            values: blake3::derive_key("cachemere v1 values", &data_key.0),
            names: blake3::derive_key("cachemere v1 key names", &data_key.0),
            records: blake3::derive_key("cachemere v2 records", &data_key.0),
        }
    }

    /// What values are sealed with.
    pub(crate) fn values(&self) -> &[u8; 32] {
        &self.values
    }

    /// What the entries' keys are hidden with.
    pub(crate) fn names(&self) -> &[u8; 32] {
        &self.names
    }

    /// What the records beside the entries are authenticated with.
    pub(crate) fn records(&self) -> &[u8; 32] {
        &self.records
    }
}

impl fmt::Debug for StoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that Argon2 allows.
    const QUICK: Argon2Params = Argon2Params { memory_kib: 8, iterations: 1, parallelism: 1 };

    fn quick(text: &str) -> Secret {
        Secret::passphrase_with(text, QUICK)
    }

    const RECORD: &[u8] = b"what the store record begins with";

    fn create(secret: &Secret, data_key: &DataKey) -> Result<Envelope> {
        Envelope::create(secret, data_key, Seals::From(7), RECORD)
    }

    fn unlock(envelope: &Envelope, secret: &Secret) -> Result<DataKey> {
        envelope.unlock(secret, RECORD, Path::new("/the/store"))
    }

    fn bytes(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        envelope.encode(&mut out);
        out
    }

    #[test]
    fn round_trips() {
        let data_key = DataKey::generate().unwrap();
        for (secret, size) in [(Secret::key([1; 32]), 110), (quick("pass"), 138)] {
            let envelope = create(&secret, &data_key).unwrap();
            let mut encoded = b"head".to_vec();
            envelope.encode(&mut encoded);
            assert_eq!(encoded.len(), 4 + size, "encode appends");
            let decoded = Envelope::decode(&encoded[4..]).unwrap();
            assert_eq!(decoded, envelope);
            assert_eq!(unlock(&decoded, &secret.clone()).unwrap().0, data_key.0);
            let plain = encoded.windows(32).any(|w| w == data_key.0 || w == [1; 32]);
            assert!(!plain, "no key is in the open");
        }
        assert_ne!(data_key.0, DataKey::generate().unwrap().0);
    }

    #[test]
    fn the_layout_is_what_is_documented() {
        let params = Argon2Params { memory_kib: 16, iterations: 2, parallelism: 1 };
        let envelope = create(&Secret::passphrase_with("p", params), &DataKey::generate().unwrap()).unwrap();
        let encoded = bytes(&envelope);
        assert_eq!(encoded[..14], [2, 1, 16, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(encoded[30..34], [7, 0, 0, 0]);
        assert_eq!(encoded[34..66], envelope.commitment);
        assert_eq!(encoded[66..], envelope.wrapped);
        let secret_key = argon2id("p", &params, &encoded[14..30]).unwrap();
        assert_eq!(envelope.commitment, blake3::derive_key("cachemere v1 key commitment", &*secret_key));
    }

    #[test]
    fn another_secret_for_the_same_data_key() {
        let data_key = DataKey::generate().unwrap();
        let old = create(&quick("old"), &data_key).unwrap();
        let unlocked = unlock(&old, &quick("old")).unwrap();
        let new = create(&quick("new"), &unlocked).unwrap();
        assert_eq!(unlock(&new, &quick("new")).unwrap().0, data_key.0);
        assert!(unlock(&new, &quick("old")).unwrap_err().is_wrong_secret());
        // The same secret again is still another salt and nonce.
        let again = create(&quick("new"), &data_key).unwrap();
        assert_ne!(again.kdf, new.kdf);
        assert_ne!(again.commitment, new.commitment);
        assert_ne!(again.wrapped, new.wrapped);
    }

    #[test]
    fn wrong_secrets() {
        let data_key = DataKey::generate().unwrap();
        let raw = create(&Secret::key([1; 32]), &data_key).unwrap();
        let pass = create(&quick("pass"), &data_key).unwrap();
        for (envelope, secret) in [
            (&raw, Secret::key([2; 32])),
            (&raw, quick("pass")),
            (&pass, quick("Pass")),
            (&pass, quick("pass ")),
            (&pass, Secret::key([1; 32])),
        ] {
            let error = unlock(envelope, &secret).unwrap_err();
            assert!(
                matches!(&error, Error::WrongSecret { path } if path == Path::new("/the/store")),
                "{error:?}"
            );
        }
        // The store's parameters count, not those of the secret that opens it.
        assert!(unlock(&pass, &Secret::passphrase("pass")).is_ok());
    }

    #[test]
    fn invalid_secrets() {
        let data_key = DataKey::generate().unwrap();
        assert!(create(&quick(""), &data_key).unwrap_err().is_invalid());
        let envelope = create(&quick("pass"), &data_key).unwrap();
        assert!(unlock(&envelope, &quick("")).unwrap_err().is_invalid());

        for len in [0, 31, 33, 64] {
            assert!(Secret::key_from_slice(&vec![0; len]).unwrap_err().is_invalid());
        }
        let raw = create(&Secret::key([5; 32]), &data_key).unwrap();
        assert!(unlock(&raw, &Secret::key_from_slice(&[5; 32]).unwrap()).is_ok());

        for bad in bad_params() {
            let error = create(&Secret::passphrase_with("pass", bad), &data_key).unwrap_err();
            assert!(error.is_invalid(), "{bad:?}: {error:?}");
        }
    }

    fn bad_params() -> [Argon2Params; 9] {
        [
            Argon2Params { memory_kib: 7, ..QUICK },
            Argon2Params { memory_kib: 0, ..QUICK },
            Argon2Params { memory_kib: 31, parallelism: 4, ..QUICK },
            Argon2Params { memory_kib: (4 << 20) + 1, ..QUICK },
            Argon2Params { memory_kib: u32::MAX, iterations: u32::MAX, parallelism: u32::MAX },
            Argon2Params { iterations: 0, ..QUICK },
            Argon2Params { iterations: 1001, ..QUICK },
            Argon2Params { parallelism: 0, ..QUICK },
            Argon2Params { memory_kib: 4096, parallelism: 65, ..QUICK },
        ]
    }

    #[test]
    fn hostile_metadata() {
        let data_key = DataKey::generate().unwrap();
        let envelope = create(&quick("pass"), &data_key).unwrap();
        for params in bad_params() {
            let hostile = Envelope { kdf: Kdf::Argon2id { params, salt: [0; 16] }, ..envelope.clone() };
            assert!(Envelope::decode(&bytes(&hostile)).unwrap_err().is_damaged(), "{params:?}");
        }
        let raw = create(&Secret::key([1; 32]), &data_key).unwrap();
        for envelope in [envelope, raw] {
            let good = bytes(&envelope);
            for len in 0..good.len() {
                assert!(Envelope::decode(&good[..len]).unwrap_err().is_damaged(), "cut to {len}");
            }
            let mut long = good.clone();
            long.push(0);
            assert!(Envelope::decode(&long).unwrap_err().is_damaged());
            for (version, newer) in [(0, false), (3, true), (255, true)] {
                let mut other = good.clone();
                other[0] = version;
                let error = Envelope::decode(&other).unwrap_err();
                assert_eq!(matches!(error, Error::NewerFormat { supported: 2, .. }), newer);
                assert_eq!(error.is_damaged(), !newer);
            }
            let mut other = good;
            other[1] = 2;
            assert!(Envelope::decode(&other).unwrap_err().is_damaged());
        }
        // A newer version is told apart even when it has another length.
        assert!(matches!(Envelope::decode(&[7]).unwrap_err(), Error::NewerFormat { found: 7, .. }));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let data_key = DataKey::generate().unwrap();
        for secret in [Secret::key([1; 32]), quick("pass")] {
            let envelope = create(&secret, &data_key).unwrap();
            let good = bytes(&envelope);
            let sealed_from = good.len() - WRAPPED;
            let seals_at = sealed_from - COMMITMENT - 4;
            for i in 0..good.len() {
                let mut changed = good.clone();
                changed[i] ^= 1;
                let error = match Envelope::decode(&changed) {
                    Err(error) => error,
                    Ok(envelope) => unlock(&envelope, &secret).unwrap_err(),
                };
                let is_first_namespace = (seals_at..seals_at + 4).contains(&i);
                if i >= sealed_from || is_first_namespace {
                    assert!(error.is_tampered(), "byte {i}: {error:?}");
                } else {
                    let refused = error.is_damaged() || error.is_wrong_secret();
                    assert!(refused || matches!(error, Error::NewerFormat { .. }), "byte {i}: {error:?}");
                }
            }
        }
    }

    #[test]
    fn the_head_is_authenticated() {
        // The same secret key under another head: only the associated data tells.
        let data_key = DataKey::generate().unwrap();
        let pass = create(&quick("pass"), &data_key).unwrap();
        let secret_key = pass.kdf.secret_key(&quick("pass")).unwrap().unwrap();
        let moved = Envelope { kdf: Kdf::Raw, ..pass };
        assert!(unlock(&moved, &Secret::key(*secret_key)).unwrap_err().is_tampered());
        // And a sealed key of another length, as only somebody who has the secret can make it.
        let raw = create(&Secret::key([1; 32]), &data_key).unwrap();
        let mut wrapped = vec![0; 31];
        let associated = [RECORD, &[2, 0, 7, 0, 0, 0]].concat();
        XChaCha20Poly1305.seal(&Kek::derive(&[1; 32]).wrapping, &associated, &mut wrapped, 0).unwrap();
        assert!(unlock(&Envelope { wrapped, ..raw }, &Secret::key([1; 32])).unwrap_err().is_tampered());
    }

    #[test]
    fn the_store_record_is_authenticated_and_seals_cannot_be_taken_away() {
        let (key, path) = (Secret::key([1; 32]), Path::new("/the/store"));
        let data_key = DataKey::generate().unwrap();
        let sealed = create(&key, &data_key).unwrap();
        assert!(sealed.unlock(&key, b"another record", path).unwrap_err().is_tampered());
        for seals in [Seals::None, Seals::From(0), Seals::From(8)] {
            let forged = Envelope { seals, ..sealed.clone() };
            assert!(unlock(&forged, &key).unwrap_err().is_tampered());
        }
        // As version 1 made it: without the record.
        let old = Envelope::create(&key, &data_key, Seals::None, RECORD).unwrap();
        assert_eq!((bytes(&old).len(), bytes(&old)[0]), (106, 1));
        assert_eq!(Envelope::decode(&bytes(&old)).unwrap(), old);
        assert_eq!(old.unlock(&key, b"any", path).unwrap().0, data_key.0);
        assert!(unlock(&Envelope { seals: Seals::From(7), ..old }, &key).unwrap_err().is_tampered());
    }

    /// What is over the limits is refused before any memory is asked for, and what is at them is not.
    #[test]
    fn a_store_that_asks_for_too_much_is_refused() {
        let (gib, most) = (1 << 20, 1000);
        let params = |memory_kib, iterations| Argon2Params { memory_kib, iterations, parallelism: 1 };
        let pass = create(&quick("pass"), &DataKey::generate().unwrap()).unwrap();
        let at = [params(2 * gib, 4), params(gib, 8), params(8389, 999), params(8388, most), params(8, most)];
        let above = [
            params(2 * gib, 5),
            params(2 * gib + 1, 1),
            params(4 * gib, most),
            params(8389, most),
            params(gib, 9),
        ];
        for (params, is_above) in at.map(|at| (at, false)).into_iter().chain(above.map(|it| (it, true))) {
            assert_eq!(params.check().is_err(), is_above, "{params:?}");
            let asking = Envelope { kdf: Kdf::Argon2id { params, salt: [0; 16] }, ..pass.clone() };
            let asking = Envelope::decode(&bytes(&asking)).unwrap();
            if is_above {
                let error = unlock(&asking, &quick("pass")).unwrap_err();
                assert!(error.is_invalid() && error.to_string().contains("limit"), "{error}");
                assert!(create(&Secret::passphrase_with("pass", params), &DataKey([1; 32])).is_err());
            }
            // Who says that he pays for it may open what version 1 made.
            assert!(params.check_for(&params).is_ok());
            assert_eq!(
                params.check_for(&Argon2Params { iterations: params.iterations - 1, ..params }).is_err(),
                is_above
            );
        }
        let slow = Envelope { kdf: Kdf::Argon2id { params: params(64, most), salt: [0; 16] }, ..pass };
        assert!(unlock(&slow, &quick("pass")).unwrap_err().is_wrong_secret(), "below the limits it is tried");
    }

    #[test]
    fn store_keys_are_separate_and_stable() {
        let keys = StoreKeys::derive(&DataKey([3; 32]));
        assert_ne!(keys.values(), keys.names());
        assert_eq!(*keys.records(), blake3::derive_key("cachemere v2 records", &[3; 32]));
        assert_eq!(*keys.values(), blake3::derive_key("cachemere v1 values", &[3; 32]));
        assert_eq!(*keys.names(), blake3::derive_key("cachemere v1 key names", &[3; 32]));
        let kek = Kek::derive(&[3; 32]);
        assert_ne!(*kek.wrapping, kek.commitment);
        assert_ne!(*kek.wrapping, *keys.values());
    }

    #[test]
    fn nothing_is_printed() {
        assert_eq!(format!("{:?}", Secret::key([1; 32])), "Secret(..)");
        assert_eq!(format!("{:#?}", Secret::passphrase("hunter2")), "Secret(..)");
        assert_eq!(format!("{:?}", DataKey([1; 32])), "DataKey(..)");
        assert_eq!(format!("{:?}", StoreKeys::derive(&DataKey([1; 32]))), "StoreKeys(..)");
    }

    #[test]
    fn secrets_cross_threads() {
        fn assert<T: Send + Sync + 'static>() {}
        assert::<Secret>();
        assert::<StoreKeys>();
    }

    /// A vector of the reference implementation (phc-winner-argon2, src/test.c, version 0x13 of Argon2id).
    #[test]
    fn argon2id_known_answer() {
        let params = Argon2Params { memory_kib: 256, iterations: 2, parallelism: 1 };
        let key = argon2id("password", &params, b"somesalt").unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }
}
