//! What a cache is opened with.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::bytes::ByteCache;
use crate::cache::Cache;
use crate::clock::{Clock, ClockSource};
use crate::counter::Of;
use crate::entries::{Counts, Entries, Life, Space, lifetime};
use crate::error::{Error, Result};
use crate::front::{FrontKind, FrontOptions, RemovalCause};
use crate::per_environment::PerEnvironment;
use crate::pipeline::{Cipher, Codec, Compressor, MessagePack};
use crate::schema::{Schema, Undecodable};
use crate::secret::Secret;
use crate::store::{
    BackendKind, Durability, Live, Maintenance, Namespace, NamespaceRequest, Request, Store,
    check_namespace_name,
};
use crate::typed::{Listener, Rules, TtlOf};

/// The namespace of a cache that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
/// Bytes the front of one handle may hold unless set.
const DEFAULT_FRONT: u64 = 64 << 20;

/// Describes a cache and opens it. Made by [`Cache::builder`].
///
/// Options of the store as a whole are shared by all handles on one path in a process: the first to open it decides. A
/// later one that asks for another durability, maintenance, limit in bytes, cipher or secret gets an error that names
/// both; its checkpoint interval, map size and clock are not used. An option that is not named means "whatever it has".
///
/// Serializer and compressor belong to the namespace and are recorded when it is made. Opening it with others is
/// [`Error::Incompatible`], and touches nothing.
///
/// Nothing is limited and nothing expires unless asked for.
#[must_use = "nothing is opened before `open`"]
pub struct Builder<K: ?Sized, V, KC = MessagePack, VC = MessagePack> {
    common: Common,
    keys: KC,
    values: VC,
    front: FrontOptions,
    schema: Option<String>,
    on_undecodable: Option<Undecodable>,
    ttl_of: Option<TtlOf<V>>,
    listener: Option<Listener<K, V>>,
    types: PhantomData<fn(&K) -> V>,
}

/// The options that do not depend on types.
#[derive(Clone)]
struct Common {
    request: Request,
    namespace: String,
    ttl: Option<Duration>,
    idle: Option<Duration>,
    max_entries: Option<Option<u64>>,
    compression: Compression,
}

#[derive(Clone)]
enum Compression {
    /// As the namespace was made; none for a new one.
    AsRecorded,
    None,
    With(Arc<dyn Compressor>),
}

impl<K: ?Sized, V> Builder<K, V> {
    pub(crate) fn new(path: &Path) -> Builder<K, V> {
        Builder {
            common: Common::new(path.to_owned()),
            keys: MessagePack,
            values: MessagePack,
            front: FrontOptions { kind: FrontKind::default(), bytes: DEFAULT_FRONT },
            schema: None,
            on_undecodable: None,
            ttl_of: None,
            listener: None,
            types: PhantomData,
        }
    }

    pub(crate) fn temporary() -> Builder<K, V> {
        let mut builder = Builder::new(Path::new(""));
        builder.common.request.is_temporary = true;
        builder
    }

    pub(crate) fn beside(live: &Live) -> Builder<K, V> {
        let mut builder = Builder::new(&live.dir);
        builder.common.request.beside = Some(Arc::downgrade(&live.unlocked));
        builder
    }
}

impl<K: ?Sized, V, KC, VC> Builder<K, V, KC, VC> {
    /// Opens the cache, and makes store and namespace if they do not exist.
    ///
    /// Costs a few milliseconds, however many entries there are; with a passphrase the time of Argon2 (some 0.2 s).
    /// Starts no thread unless something can expire or has a limit.
    ///
    /// # Errors
    ///
    /// Before anything is touched: [`Error::Invalid`], [`Error::NotADirectory`], [`Error::UnsupportedFileSystem`],
    /// [`Error::ForeignOwner`], [`Error::Foreign`], [`Error::NewerFormat`], [`Error::Damaged`], [`Error::WrongSecret`],
    /// [`Error::MissingSecret`], [`Error::NotEncrypted`], [`Error::Incompatible`]; and those of the operating system.
    pub fn open(self) -> Result<Cache<K, V>>
    where
        K: ToOwned + 'static,
        V: Send + Sync + 'static,
        KC: Codec<K>,
        VC: Codec<V, V>,
    {
        let schema = Schema::new(self.schema, self.values.shape())?;
        let rules = Rules { schema, on_undecodable: self.on_undecodable, ttl_of: self.ttl_of };
        let entries = self.common.open(self.keys.name(), self.values.name())?;
        let (keys, values) = (Arc::new(self.keys), Arc::new(self.values));
        Ok(Cache::new(entries, keys, values, self.front, self.listener, rules))
    }

    /// Serializes values with a stage of your own instead of MessagePack.
    pub fn serializer<C: Codec<V, V>>(self, values: C) -> Builder<K, V, KC, C> {
        let Builder { common, keys, front, schema, on_undecodable, ttl_of, listener, types, .. } = self;
        Builder { common, keys, values, front, schema, on_undecodable, ttl_of, listener, types }
    }

    /// Turns keys into canonical bytes with a stage of your own instead of MessagePack. Equal keys must give equal bytes:
    /// see [`Codec::encode_canonical`].
    pub fn key_serializer<C: Codec<K>>(self, keys: C) -> Builder<K, V, C, VC>
    where
        K: ToOwned,
    {
        let Builder { common, values, front, schema, on_undecodable, ttl_of, listener, types, .. } = self;
        Builder { common, keys, values, front, schema, on_undecodable, ttl_of, listener, types }
    }

    /// Names what the values of this handle mean, by any text of 1 to 255 bytes: another one with each change that makes old
    /// values of no use, as `"answer/3"`.
    ///
    /// It is recorded with each entry that is written. One with another schema, or with none, counts as one that cannot be
    /// [decoded](Self::on_undecodable). A handle without a schema reads all. Costs as many bytes an entry, and two.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::Cache;
    ///
    /// let path = dir.path().join("store");
    /// let old: Cache<str, u32> = Cache::builder(&path).schema("price in cents/1").open()?;
    /// old.insert("tea", &250)?;
    ///
    /// let new: Cache<str, u32> = Cache::builder(&path).schema("price without tax/2").open()?;
    /// assert!(new.get("tea").is_err());
    /// // A load replaces it.
    /// assert_eq!(new.get_or_insert_with("tea", || 210)?, 210);
    /// assert_eq!(new.get("tea")?, Some(210));
    /// # Ok(())
    /// # }
    /// ```
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// What is done about an entry whose value cannot be decoded. Unless it is said, what suits the operation: see
    /// [`Undecodable`]. Whatever it is, the entry stays until it is overwritten or removed, it counts in
    /// [`Stats::undecodable`](crate::Stats::undecodable), and the first of a handle is logged.
    pub fn on_undecodable(mut self, what: Undecodable) -> Self {
        self.on_undecodable = Some(what);
        self
    }

    /// Takes the time that a value lives after it was written from the value itself: from the `max-age` of a response, say.
    ///
    /// `None`: as long as [`time_to_live`](Self::time_to_live) has it. One that lives for no time at all is not kept: a load
    /// gives it to who runs it, and an insert comes to a removal. A lifetime that is given with an insert is taken instead;
    /// so are those of [`load`](crate::Cache::load).
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::Cache;
    /// use std::time::Duration;
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Page { body: String, max_age: Option<u64> }
    ///
    /// let pages: Cache<str, Page> = Cache::builder(dir.path().join("pages"))
    ///     .time_to_live(Duration::from_secs(600))
    ///     .time_to_live_of(|page: &Page| page.max_age.map(Duration::from_secs))
    ///     .open()?;
    /// let fetch = || Page { body: "hello".to_owned(), max_age: Some(30) };
    /// assert_eq!(pages.get_shared_or_insert_with("/", fetch)?.body, "hello");
    /// let info = pages.info("/")?.unwrap();
    /// assert_eq!(info.expires, Some(info.created + Duration::from_secs(30)));
    ///
    /// pages.get_shared_or_insert_with("/now", || Page { body: "12:00".to_owned(), max_age: Some(0) })?;
    /// assert!(!pages.contains("/now")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn time_to_live_of(
        mut self,
        ttl_of: impl Fn(&V) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.ttl_of = Some(Arc::new(ttl_of));
        self
    }

    /// Bytes of decoded values that this handle and its clones keep in memory (64 MiB unless set); 0 for no front.
    ///
    /// Values count as many bytes as they have serialized, plus their key, plus some 200 bytes.
    pub fn front_bytes(mut self, bytes: u64) -> Self {
        self.front.bytes = bytes;
        self
    }

    /// Has `listener` called with each value that leaves the memory of this handle and its clones, with its key, and why. For
    /// what goes with a value: a connection, a file, a count. Not called unless the value was in memory, where reads bring it.
    ///
    /// It hears what leaves its own memory, in the process that it is in, and nothing else. Other handles and processes have
    /// theirs. What they do to the entry, and what the store's background thread does, is heard of when the key is next asked for
    /// through this handle, as is that a value's time is over. What is in memory when the last clone is dropped, and in
    /// a forked child, is not told.
    ///
    /// It is called by the operation that found out, in its thread (of an [`AsyncCache`](crate::AsyncCache), one of the store's own),
    /// before that returns and without any lock: it may use the cache. Slow listeners make slow operations. If it panics, that is
    /// logged, the operation goes on, and it is called the next time all the same.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::{Cache, RemovalCause};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let left = Arc::new(Mutex::new(Vec::new()));
    /// let heard = left.clone();
    /// let cache: Cache<str, u32> = Cache::builder(dir.path().join("store"))
    ///     .removal_listener(move |key: &str, value, cause| heard.lock().unwrap().push((key.to_owned(), **value, cause)))
    ///     .open()?;
    /// cache.insert("a", &1)?;
    /// assert_eq!(cache.get("a")?, Some(1));
    /// cache.insert("a", &2)?;
    /// assert_eq!(cache.get("a")?, Some(2));
    /// cache.remove("a")?;
    /// let left = left.lock().unwrap();
    /// assert_eq!(left[0], ("a".to_owned(), 1, RemovalCause::Replaced));
    /// assert_eq!(left[1], ("a".to_owned(), 2, RemovalCause::Removed));
    /// # Ok(())
    /// # }
    /// ```
    pub fn removal_listener(
        mut self,
        listener: impl Fn(&K, &Arc<V>, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// What keeps the decoded values in memory (moka unless set).
    pub fn front(mut self, kind: FrontKind) -> Self {
        self.front.kind = kind;
        self
    }
}

/// Options that the typed and the byte-level builder share, written once.
macro_rules! common_options {
    () => {
        /// The namespace (`"default"` unless set): an independent mapping with entries, pipeline and clear of its own.
        /// Its name has 1 to 255 bytes and is not encrypted.
        pub fn namespace(mut self, name: impl Into<String>) -> Self {
            self.common.namespace = name.into();
            self
        }

        /// How long an entry lives after it was written. For entries written through this handle; each entry keeps the
        /// lifetime it was written with. At least a microsecond.
        pub fn time_to_live(mut self, ttl: Duration) -> Self {
            self.common.ttl = Some(ttl);
            self
        }

        /// How long an entry lives after it was last read or written. For entries written through this handle. At least
        /// a microsecond.
        pub fn time_to_idle(mut self, idle: Duration) -> Self {
            self.common.idle = Some(idle);
            self
        }

        /// The bytes the store may take on the disk, at least 4 MiB; the least recently read entries of all namespaces
        /// make room. `None` takes a recorded limit away.
        ///
        /// The limit is recorded in the store. It can be changed when no other process has the store open.
        pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
            self.common.request.max_bytes = Some(bytes.into());
            self
        }

        /// The number of entries the namespace may have; the least recently read make room. `None` takes a recorded
        /// limit away. Recorded in the store, and then kept by whoever writes to the namespace.
        pub fn max_entries(mut self, entries: impl Into<Option<u64>>) -> Self {
            self.common.max_entries = Some(entries.into());
            self
        }

        /// Compresses values where it pays.
        pub fn compression(mut self, compressor: impl Compressor) -> Self {
            self.common.compression = Compression::With(Arc::new(compressor));
            self
        }

        /// Compresses nothing, and refuses a namespace that was made with a compressor. Unless one of the two is said, a
        /// namespace is opened as it was made, and a new one has no compressor.
        pub fn no_compression(mut self) -> Self {
            self.common.compression = Compression::None;
            self
        }

        /// What keeps the store's records (LMDB unless set). Chosen when the store is made; one that was made with another
        /// is [`Error::Incompatible`].
        pub fn backend(mut self, backend: BackendKind) -> Self {
            self.common.request.backend = Some(backend);
            self
        }

        /// The key or passphrase of an encrypted store. A new store opened with a secret is encrypted.
        pub fn encryption(mut self, secret: Secret) -> Self {
            self.common.request.secret = Some(secret);
            self
        }

        /// Encrypts with a stage of your own instead of XChaCha20-Poly1305.
        pub fn cipher(mut self, cipher: impl Cipher) -> Self {
            self.common.request.cipher = Some(Arc::new(cipher));
            self
        }

        /// When writes are safe from a power loss.
        pub fn durability(mut self, durability: Durability) -> Self {
            self.common.request.durability = Some(durability);
            self
        }

        /// The time between checkpoints while something is written (1 s unless set): what a power loss can cost.
        pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
            self.common.request.checkpoint_interval = Some(interval);
            self
        }

        /// Who does what is due from time to time.
        pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
            self.common.request.maintenance = Some(maintenance);
            self
        }

        /// The size of the memory map (64 GiB unless set): the most the store can ever hold. It takes address space,
        /// not memory. A limit by [`max_bytes`](Self::max_bytes) takes its place.
        pub fn map_size(mut self, bytes: usize) -> Self {
            self.common.request.map_size = Some(bytes);
            self
        }

        /// Refuses all changes through this handle, and makes no store where there is none.
        ///
        /// In a directory this process cannot write to, the store is read without locks, as long as nobody writes to it.
        pub fn read_only(mut self, read_only: bool) -> Self {
            self.common.request.read_only = read_only;
            self
        }

        /// Opens a store that this process may not write for reading, instead of refusing to open it. What writes through
        /// this handle is then an [`Error::ReadOnly`](crate::Error::ReadOnly). A store that is not there is one all the
        /// same.
        pub fn read_only_if_unwritable(mut self, read_only: bool) -> Self {
            self.common.request.read_only_if_unwritable = read_only;
            self
        }

        /// Takes the time from elsewhere, for tests.
        pub fn clock(mut self, clock: Arc<impl Clock>) -> Self {
            self.common.request.clock = Some(ClockSource::Custom(clock));
            self
        }

        /// Opens a store on a file system where memory maps or locks are not coherent between machines.
        pub fn allow_unsupported_file_system(mut self, allow: bool) -> Self {
            self.common.request.allow_unsupported_file_system = allow;
            self
        }

        /// Opens a store whose files belong to another user.
        pub fn allow_foreign_owner(mut self, allow: bool) -> Self {
            self.common.request.allow_foreign_owner = allow;
            self
        }
    };
}

impl<K: ?Sized, V, KC, VC> Builder<K, V, KC, VC> {
    common_options!();
}

/// Describes a byte-level cache and opens it. Made by [`ByteCache::builder`].
#[derive(Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct ByteBuilder {
    common: Common,
    serializer: String,
}

impl ByteBuilder {
    pub(crate) fn new(path: &Path) -> ByteBuilder {
        ByteBuilder { common: Common::new(path.to_owned()), serializer: "bytes".to_owned() }
    }

    pub(crate) fn temporary() -> ByteBuilder {
        let mut builder = ByteBuilder::new(Path::new(""));
        builder.common.request.is_temporary = true;
        builder
    }

    pub(crate) fn beside(live: &Live) -> ByteBuilder {
        let mut builder = ByteBuilder::new(&live.dir);
        builder.common.request.beside = Some(Arc::downgrade(&live.unlocked));
        builder
    }

    /// Opens the cache; see [`Builder::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(self) -> Result<ByteCache> {
        let entries = self.common.open(&self.serializer, &self.serializer)?;
        Ok(ByteCache::new(entries))
    }

    /// The name under which the caller's own serialization is recorded (`"bytes"` unless set).
    pub fn serializer_name(mut self, name: impl Into<String>) -> Self {
        self.serializer = name.into();
        self
    }

    common_options!();
}

impl Common {
    fn new(path: PathBuf) -> Common {
        Common {
            request: store_request(path),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            ttl: None,
            idle: None,
            max_entries: None,
            compression: Compression::AsRecorded,
        }
    }

    fn open(self, key_codec: &str, serializer: &str) -> Result<Entries> {
        // Everything that can be refused is, before anything is touched.
        let life = Life {
            ttl: self.ttl.map_or(Ok(Default::default()), |ttl| lifetime("time_to_live", ttl))?,
            idle: self.idle.map_or(Ok(Default::default()), |idle| lifetime("time_to_idle", idle))?,
        };
        check_namespace_name(&self.namespace)?;
        if self.max_entries == Some(Some(0)) {
            return Err(Error::invalid("max_entries", "it must be at least 1"));
        }
        for name in [key_codec, serializer] {
            check_stage_name(name)?;
        }
        if let Some(cipher) = &self.request.cipher {
            check_stage_name(cipher.name())?;
        }
        let compressor = match &self.compression {
            Compression::AsRecorded => None,
            Compression::None => Some(""),
            Compression::With(compressor) => {
                check_stage_name(compressor.name())?;
                Some(compressor.name())
            }
        };
        let store = Store::open(&self.request)?;
        let namespace = Namespace::open(
            &store,
            &NamespaceRequest {
                name: &self.namespace,
                key_codec,
                serializer,
                compressor,
                max_entries: self.max_entries.map(|most| most.unwrap_or(0)),
                is_known: &|recorded| built_in_compressor(recorded).map(drop),
            },
        )?;
        let compressor = match self.compression {
            Compression::With(compressor) => Some(compressor),
            _ => built_in_compressor(namespace.compressor())?,
        };
        if life.ttl.0 != 0 || life.idle.0 != 0 || namespace.max_entries() != 0 {
            store.need_maintenance()?;
        }
        let live = store.live()?;
        crate::store::saw_idle(&live, life.idle);
        drop(live);
        let counts = Counts::new(Of { store: store.dir(), namespace: Some(&self.namespace) });
        Ok(Entries {
            store,
            space: Space {
                namespace,
                life,
                compressor,
                ledger: PerEnvironment::empty(),
                lists_ended: false,
                counts,
            },
        })
    }
}

/// What an open asks for that says nothing but where.
pub(crate) fn store_request(path: PathBuf) -> Request {
    Request {
        backend: None,
        path,
        is_temporary: false,
        secret: None,
        beside: None,
        cipher: None,
        durability: None,
        maintenance: None,
        checkpoint_interval: None,
        map_size: None,
        max_bytes: None,
        read_only: false,
        read_only_if_unwritable: false,
        clock: None,
        allow_unsupported_file_system: false,
        allow_foreign_owner: false,
    }
}

/// The compressor that a namespace names, of those that need not be given.
pub(crate) fn built_in_compressor(name: &str) -> Result<Option<Arc<dyn Compressor>>> {
    match name {
        "" => Ok(None),
        #[cfg(feature = "zstd")]
        "zstd" => Ok(Some(Arc::new(crate::pipeline::Zstd::default()))),
        _ => Err(Error::UnknownStage { kind: "compressor", name: name.to_owned() }),
    }
}

/// Names are stored with their length in one byte, and an empty one means "none".
pub(crate) fn check_stage_name(name: &str) -> Result<()> {
    match name.len() {
        1..=255 => Ok(()),
        _ => Err(Error::invalid("stage name", "it must have 1 to 255 bytes")),
    }
}

/// Whatever the types of keys and values are.
impl<K: ?Sized, V, KC: Clone, VC: Clone> Clone for Builder<K, V, KC, VC> {
    fn clone(&self) -> Self {
        Builder {
            common: self.common.clone(),
            keys: self.keys.clone(),
            values: self.values.clone(),
            front: self.front,
            schema: self.schema.clone(),
            on_undecodable: self.on_undecodable,
            ttl_of: self.ttl_of.clone(),
            listener: self.listener.clone(),
            types: PhantomData,
        }
    }
}

impl<K: ?Sized, V, KC, VC> fmt::Debug for Builder<K, V, KC, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("path", &self.common.request.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for ByteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBuilder").field("path", &self.common.request.path).finish_non_exhaustive()
    }
}
