//! What the entries in a server are opened with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::address::Address;
use super::entries::{Entries, Opening};
use super::link::Access;
use super::remote::Remote;
use super::space::{Space, Wanted};
use crate::builder::{built_in_compressor, check_stage_name};
use crate::entries::{Life, lifetime};
use crate::error::{Error, Result};
use crate::pipeline::{Cipher, Compressor};
use crate::secret::Secret;
use crate::store::check_namespace_name;

const PASSWORD: &str = "CACHEMERE_VALKEY_PASSWORD";
const PASSWORD_FILE: &str = "CACHEMERE_VALKEY_PASSWORD_FILE";

const USUAL_STALE: Duration = Duration::from_millis(500);
/// Two beats of the link, so that one that is late is not missed.
const LEAST_STALE: Duration = Duration::from_millis(200);
const USUAL_PATIENCE: Duration = Duration::from_secs(2);
const USUAL_MEMORY: u64 = 64 << 20;

/// Describes the entries of a namespace in a server, and opens them. Made by [`Remote::builder`].
#[must_use = "nothing is opened before `open`"]
pub struct RemoteBuilder {
    address: String,
    password: Option<Zeroizing<String>>,
    namespace: String,
    serializer: String,
    ttl: Option<Duration>,
    compression: Option<Option<Arc<dyn Compressor>>>,
    secret: Option<Secret>,
    cipher: Option<Arc<dyn Cipher>>,
    max_stale: Duration,
    memory_bytes: u64,
    patience: Duration,
}

impl Remote {
    /// Starts to describe what to open: `valkey://user@host:6379/0?store=name`. All but scheme and host can be left out.
    pub fn builder(address: impl Into<String>) -> RemoteBuilder {
        RemoteBuilder {
            address: address.into(),
            password: None,
            namespace: crate::builder::DEFAULT_NAMESPACE.to_owned(),
            serializer: "bytes".to_owned(),
            ttl: None,
            compression: None,
            secret: None,
            cipher: None,
            max_stale: USUAL_STALE,
            memory_bytes: USUAL_MEMORY,
            patience: USUAL_PATIENCE,
        }
    }
}

impl RemoteBuilder {
    /// The user's password. Unless set it is that in the environment variable `CACHEMERE_VALKEY_PASSWORD`, or in the file that
    /// `CACHEMERE_VALKEY_PASSWORD_FILE` names. It is never shown.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Zeroizing::new(password.into()));
        self
    }

    /// The namespace (`"default"` unless set).
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// The name under which the caller's own serialization is recorded (`"bytes"` unless set).
    pub fn serializer_name(mut self, name: impl Into<String>) -> Self {
        self.serializer = name.into();
        self
    }

    /// How long an entry lives after it was written. At least a microsecond.
    pub fn time_to_live(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Compresses values where it pays.
    pub fn compression(mut self, compressor: impl Compressor) -> Self {
        self.compression = Some(Some(Arc::new(compressor)));
        self
    }

    /// Compresses nothing, and refuses a namespace that was made with a compressor.
    pub fn no_compression(mut self) -> Self {
        self.compression = Some(None);
        self
    }

    /// The key or passphrase of an encrypted store: the server sees neither keys nor values.
    pub fn encryption(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Encrypts with a stage of your own instead of XChaCha20-Poly1305.
    pub fn cipher(mut self, cipher: impl Cipher) -> Self {
        self.cipher = Some(Arc::new(cipher));
        self
    }

    /// How long after a write has returned on another machine memory may still give what was there before (500 ms unless
    /// set). At least 200 ms; or zero, and the server is asked each time, which costs a trip, but not the payload.
    pub fn max_stale(mut self, longest: Duration) -> Self {
        self.max_stale = longest;
        self
    }

    /// Bytes of payloads that this handle keeps in memory (64 MiB unless set); 0 for none.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// How long an operation waits for the server (2 s unless set).
    pub fn answer_within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens, and makes store and namespace if they do not exist. Starts a thread, which ends with the handle.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] before anything is asked; [`Error::Unreachable`], in whose words a wrong password is told as well;
    /// and as [`Builder::open`](crate::Builder::open) what is of another store or made otherwise.
    pub fn open(self) -> Result<Remote> {
        let address = Address::parse(&self.address)?;
        let life = Life {
            ttl: self.ttl.map_or(Ok(Default::default()), |ttl| lifetime("time_to_live", ttl))?,
            ..Life::default()
        };
        check_namespace_name(&self.namespace)?;
        check_stage_name(&self.serializer)?;
        if let Some(cipher) = &self.cipher {
            check_stage_name(cipher.name())?;
        }
        if !self.max_stale.is_zero() && self.max_stale < LEAST_STALE {
            return Err(Error::invalid("max_stale", format!("it must be zero or at least {LEAST_STALE:?}")));
        }
        if self.patience.is_zero() {
            return Err(Error::invalid("answer_within", "it must not be zero"));
        }
        let compressor = match &self.compression {
            None => None,
            Some(None) => Some(""),
            Some(Some(compressor)) => {
                check_stage_name(compressor.name())?;
                Some(compressor.name())
            }
        };
        let password = match self.password {
            Some(password) => Some(password),
            None => password_from_outside()?,
        };
        let opening = Opening {
            access: Arc::new(Access { address, password, patience: self.patience }),
            namespace: self.namespace,
            memory_bytes: self.memory_bytes,
            max_stale: self.max_stale,
        };
        let (shared, link) = opening.connect()?;
        let space = Space::open(
            &link,
            &shared.keys,
            &Wanted {
                namespace: &opening.namespace,
                serializer: &self.serializer,
                compressor,
                secret: self.secret.as_ref(),
                cipher: self.cipher,
            },
        )?;
        let compressor = match self.compression {
            Some(Some(compressor)) => Some(compressor),
            _ => built_in_compressor(&space.compressor)?,
        };
        let entries = Entries::new((shared, link), Arc::new(space), life, compressor);
        Ok(Remote::new(opening, entries))
    }
}

fn password_from_outside() -> Result<Option<Zeroizing<String>>> {
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(Some(Zeroizing::new(password)));
    }
    let Some(file) = std::env::var_os(PASSWORD_FILE) else { return Ok(None) };
    let read = std::fs::read_to_string(&file).map(Zeroizing::new);
    let text =
        read.map_err(|e| Error::io("reading the file that CACHEMERE_VALKEY_PASSWORD_FILE names", e))?;
    Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}

impl fmt::Debug for RemoteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address as it was given can have a password in it, with which it is refused later.
        let address = Address::parse(&self.address).map(|address| address.to_string()).ok();
        f.debug_struct("RemoteBuilder").field("address", &address).finish_non_exhaustive()
    }
}
