//! Finding the store and a namespace in a server, or making them; what differs from what was asked for is refused by name.

use std::path::PathBuf;
use std::sync::Arc;

use redis::{Pipeline, Value};

use super::address::Address;
use super::keys::Keys;
use super::link::{Failure, Link};
use crate::error::{Error, Result};
use crate::pipeline::{Cipher, XChaCha20Poly1305};
use crate::secret::{DataKey, Envelope, Seals, Secret};
use crate::store::{Identity, NamespaceId, NamespaceRecord, StoreRecord, Unlocked};

/// Of what is written to a server, and the newest that is read.
const VERSION: u32 = 1;

/// A namespace is made by whoever comes first. Others that make it at once find what he has made.
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a str,
    pub(super) serializer: &'a str,
    /// `None`: as it was made, and none for a new one. Empty: none.
    pub(super) compressor: Option<&'a str>,
    pub(super) secret: Option<&'a Secret>,
    pub(super) cipher: Option<Arc<dyn Cipher>>,
}

pub(super) struct Space {
    pub(super) unlocked: Unlocked,
    pub(super) cipher: Arc<dyn Cipher>,
    pub(super) identity: Identity,
    pub(super) id: NamespaceId,
    pub(super) compressor: String,
}

impl Space {
    pub(super) fn open(link: &Link, keys: &Keys, wanted: &Wanted<'_>) -> Result<Space> {
        let (unlocked, cipher) = open_store(link, keys, wanted)?;
        let (record, id) = open_namespace(link, keys, wanted, &unlocked)?;
        Ok(Space {
            identity: record.identity(wanted.namespace),
            unlocked,
            cipher,
            id,
            compressor: record.compressor,
        })
    }
}

/// The address as errors name it.
pub(super) fn shown(address: &Address) -> PathBuf {
    PathBuf::from(address.to_string())
}

fn open_store(link: &Link, keys: &Keys, wanted: &Wanted<'_>) -> Result<(Unlocked, Arc<dyn Cipher>)> {
    let path = || shown(link.address());
    let found = match get(link, keys.store())? {
        Some(found) => found,
        None => {
            if let Some(secret) = wanted.secret {
                secret.check()?;
            }
            let new = new_store(link, wanted)?.encode();
            set_if_absent(link, &[(keys.store(), &new)])?;
            get(link, keys.store())?.ok_or_else(|| Error::damaged("the store's record is gone"))?
        }
    };
    if !StoreRecord::has_magic(&found) {
        let detail = format!("the key {:?} is another program's", keys.store());
        return Err(Error::Foreign { path: path(), detail: detail.into() });
    }
    let record = StoreRecord::decode(&found)?;
    if record.version > VERSION {
        return Err(Error::NewerFormat { found: record.version, supported: VERSION });
    }
    match (wanted.secret, record.envelope.is_empty()) {
        (None, true) => Ok((Unlocked::plain(), Arc::new(XChaCha20Poly1305))),
        (None, false) => Err(Error::MissingSecret { path: path() }),
        (Some(_), true) => Err(Error::NotEncrypted { path: path() }),
        (Some(secret), false) => {
            let cipher: Arc<dyn Cipher> = match &wanted.cipher {
                Some(cipher) => cipher.clone(),
                None if record.cipher == XChaCha20Poly1305.name() => Arc::new(XChaCha20Poly1305),
                None => return Err(Error::UnknownStage { kind: "cipher", name: record.cipher }),
            };
            differs(link, "cipher", &record.cipher, cipher.name())?;
            let envelope = Envelope::decode(&record.envelope)?;
            let data_key = envelope.unlock(secret, &record.head(), &path())?;
            Ok((Unlocked::encrypted(&data_key, envelope.seals()), cipher))
        }
    }
}

fn new_store(link: &Link, wanted: &Wanted<'_>) -> Result<StoreRecord> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| Error::io("making an id", std::io::Error::other(e)))?;
    let mut record = StoreRecord {
        version: VERSION,
        id,
        created: link.now(),
        cipher: String::new(),
        envelope: Vec::new(),
    };
    if let Some(secret) = wanted.secret {
        record.cipher = wanted.cipher.as_ref().map_or(XChaCha20Poly1305.name(), |it| it.name()).to_owned();
        let data_key = DataKey::generate()?;
        Envelope::create(secret, &data_key, Seals::From(0), &record.head())?.encode(&mut record.envelope);
    }
    Ok(record)
}

fn open_namespace(
    link: &Link,
    keys: &Keys,
    wanted: &Wanted<'_>,
    unlocked: &Unlocked,
) -> Result<(NamespaceRecord, NamespaceId)> {
    let (record_key, id_key) = (keys.namespace(wanted.namespace), keys.id(wanted.namespace));
    let found = match get(link, &record_key)? {
        Some(found) => found,
        None => {
            let record = NamespaceRecord {
                // It has a key of its own, since it changes.
                id: NamespaceId(0),
                key_codec: wanted.serializer.to_owned(),
                serializer: wanted.serializer.to_owned(),
                compressor: wanted.compressor.unwrap_or_default().to_owned(),
                max_entries: 0,
            };
            let sealed = unlocked.seal(record_key.as_bytes(), record.encode());
            set_if_absent(link, &[(&record_key, &sealed)])?;
            get(link, &record_key)?.ok_or_else(|| Error::damaged("the record of the namespace is gone"))?
        }
    };
    let record = NamespaceRecord::decode(unlocked.open(record_key.as_bytes(), &found)?)?;
    differs(link, "serializer", &record.serializer, wanted.serializer)?;
    if let Some(asked) = wanted.compressor {
        differs(link, "compressor", &record.compressor, asked)?;
    }
    if get(link, &id_key)?.is_none() {
        let new = next_id(link, keys)?.0.to_string();
        set_if_absent(link, &[(&id_key, new.as_bytes())])?;
    }
    let id = get(link, &id_key)?.ok_or_else(|| Error::damaged("the id of the namespace is gone"))?;
    Ok((record, parse_id(&id)?))
}

fn differs(link: &Link, what: &'static str, stored: &str, asked: &str) -> Result<()> {
    if stored == asked {
        return Ok(());
    }
    let named = |name: &str| if name.is_empty() { "none".to_owned() } else { format!("{name:?}") };
    Err(Error::Incompatible { path: shown(link.address()), what, stored: named(stored), asked: named(asked) })
}

/// An id that no namespace of the store ever had.
pub(super) fn next_id(link: &Link, keys: &Keys) -> Result<NamespaceId> {
    let mut command = redis::pipe();
    command.cmd("INCR").arg(keys.next());
    match one(link, "making a namespace", &command)? {
        Value::Int(number) => u32::try_from(number)
            .map(NamespaceId)
            .map_err(|_| Error::damaged("the store's counter of namespaces has an impossible number")),
        _ => Err(unexpected()),
    }
}

pub(super) fn parse_id(digits: &[u8]) -> Result<NamespaceId> {
    let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.map(NamespaceId).ok_or_else(|| Error::damaged("the id of a namespace is no number"))
}

fn get(link: &Link, key: &str) -> Result<Option<Vec<u8>>> {
    let mut command = redis::pipe();
    command.cmd("GET").arg(key);
    match one(link, "opening the store", &command)? {
        Value::BulkString(found) => Ok(Some(found)),
        Value::Nil => Ok(None),
        _ => Err(unexpected()),
    }
}

fn set_if_absent(link: &Link, pairs: &[(&str, &[u8])]) -> Result<()> {
    let mut commands = redis::pipe();
    for (key, value) in pairs {
        commands.cmd("SET").arg(key).arg(value).arg("NX");
    }
    one(link, "making the store", &commands).map(drop)
}

/// The first answer to what may be done twice.
fn one(link: &Link, operation: &'static str, commands: &Pipeline) -> Result<Value> {
    let answers = link.ask_again(commands).map_err(|failure| of_read(link.address(), failure))?;
    let first = answers.into_iter().next().ok_or_else(unexpected)?;
    accepted(link.address(), operation, first)
}

pub(super) fn unexpected() -> Error {
    Error::damaged("the server has answered something that it should not")
}

/// The answer, unless it is the server's error.
pub(super) fn accepted(address: &Address, operation: &'static str, answer: Value) -> Result<Value> {
    match answer {
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Err(Error::Foreign {
            path: shown(address),
            detail: "one of the store's keys is of another program".into(),
        }),
        Value::ServerError(error) => {
            let detail = redis::RedisError::from(error).to_string();
            Err(Error::Refused { address: address.to_string(), operation, detail })
        }
        answer => Ok(answer),
    }
}

/// Why there is no answer to what changes nothing, or may be done again.
pub(super) fn of_read(address: &Address, failure: Failure) -> Error {
    match failure {
        Failure::Down(detail) | Failure::Lost { detail, .. } => {
            Error::Unreachable { address: address.to_string(), detail: detail.into() }
        }
        Failure::Ended(error) => error,
    }
}

/// Why there is no answer to a change.
pub(super) fn of_change(address: &Address, operation: &'static str, failure: Failure) -> Error {
    match failure {
        Failure::Lost { detail, .. } => {
            Error::Uncertain { address: address.to_string(), operation, detail: detail.into() }
        }
        Failure::Ended(_) => {
            let detail = "it was interrupted while the answer was waited for";
            Error::Uncertain { address: address.to_string(), operation, detail: detail.into() }
        }
        failure => of_read(address, failure),
    }
}
