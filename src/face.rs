//! What the typed and the byte-level face have in common, written once.

/// Operations on the store as a whole, of a face that has its entries in `self.$entries`.
macro_rules! store_operations {
    ($($entries:ident).+) => {
        /// The number of entries that are not expired. Constant time, but for expired entries that are not swept yet.
        ///
        /// # Errors
        ///
        /// [`Error::Damaged`](crate::Error::Damaged) if what counts the entries is.
        pub fn len(&self) -> $crate::Result<u64> {
            self.$($entries).+.len()
        }

        /// Whether there is no entry that is not expired.
        ///
        /// # Errors
        ///
        /// As [`len`](Self::len).
        pub fn is_empty(&self) -> $crate::Result<bool> {
            Ok(self.len()? == 0)
        }

        /// All namespaces of the store, this one among them, in the order of their names. Makes none. Costs a lookup for each,
        /// and one for each expired entry that is not removed yet.
        ///
        /// # Errors
        ///
        /// As [`len`](Self::len).
        ///
        /// ```
        /// # fn main() -> cachemere::Result<()> {
        /// # let dir = tempfile::tempdir().unwrap();
        /// use cachemere::Cache;
        ///
        /// let path = dir.path().join("store");
        /// let answers: Cache<str, String> = Cache::builder(&path).namespace("answers").open()?;
        /// let numbers: Cache<str, u32> = Cache::builder(&path).namespace("numbers").open()?;
        /// numbers.insert("a", &1)?;
        /// let found = answers.namespaces()?;
        /// let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.entries)).collect();
        /// assert_eq!(found, [("answers", 0), ("numbers", 1)]);
        /// assert_eq!(answers.namespaces()?[1].serializer, "msgpack");
        /// # Ok(())
        /// # }
        /// ```
        pub fn namespaces(&self) -> $crate::Result<Vec<$crate::NamespaceInfo>> {
            self.$($entries).+.namespaces()
        }

        /// What the store is: its backend, format, cipher and limit, when it was made. Costs two lookups.
        ///
        /// # Errors
        ///
        /// [`Error::Damaged`](crate::Error::Damaged) if what describes the store is.
        ///
        /// ```
        /// # fn main() -> cachemere::Result<()> {
        /// # let dir = tempfile::tempdir().unwrap();
        /// use cachemere::{BackendKind, Cache};
        ///
        /// let cache: Cache<str, u32> = Cache::builder(dir.path().join("store")).max_bytes(16 << 20).open()?;
        /// let store = cache.store_info()?;
        /// assert_eq!((store.backend, store.format_version), (BackendKind::Lmdb, 2));
        /// assert_eq!((store.cipher, store.max_bytes), (None, Some(16 << 20)));
        /// # Ok(())
        /// # }
        /// ```
        pub fn store_info(&self) -> $crate::Result<$crate::StoreInfo> {
            self.$($entries).+.store_info()
        }

        /// Removes all expired entries of the store now; returns how many. The background thread does it by itself.
        ///
        /// # Errors
        ///
        /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::DiskFull`](crate::Error::DiskFull).
        pub fn sweep(&self) -> $crate::Result<u64> {
            self.$($entries).+.sweep()
        }

        /// Makes everything written so far safe from a power loss, and writes access times. Costs one or two syncs.
        ///
        /// # Errors
        ///
        /// [`Error::Io`](crate::Error::Io) or [`Error::DiskFull`](crate::Error::DiskFull) if it cannot be written.
        pub fn checkpoint(&self) -> $crate::Result<()> {
            self.$($entries).+.checkpoint()
        }

        /// Rewrites the data file without free pages and gives the space back to the file system.
        ///
        /// # Errors
        ///
        /// [`Error::Busy`](crate::Error::Busy) if another process has the store open. Operations of other threads wait.
        pub fn compact(&self) -> $crate::Result<()> {
            self.$($entries).+.store.compact()
        }

        /// Copies a snapshot of the store, compacted, into a new directory, while it is in use.
        ///
        /// The copy is complete or absent. While it is made, space that writers free cannot be used again.
        ///
        /// # Errors
        ///
        /// [`Error::Invalid`](crate::Error::Invalid) if `to` exists and is not an empty directory.
        pub fn backup(&self, to: impl AsRef<std::path::Path>) -> $crate::Result<()> {
            self.$($entries).+.store.backup(to.as_ref())
        }

        /// Reads the whole store in one snapshot and checks pages, checksums, indexes and counters against each other.
        ///
        /// # Errors
        ///
        /// Those of reading the files. What is damaged is told in the report.
        pub fn verify(&self) -> $crate::Result<$crate::VerifyReport> {
            self.$($entries).+.verify()
        }

        /// Changes the key or passphrase of an encrypted store. Entries are not rewritten, so whoever had the old secret
        /// *and* a copy of the store can still read that; [`reencrypt`](Self::reencrypt) makes new entries unreadable too.
        ///
        /// # Errors
        ///
        /// [`Error::WrongSecret`](crate::Error::WrongSecret) if `old` is not the present secret.
        pub fn change_secret(&self, old: &$crate::Secret, new: &$crate::Secret) -> $crate::Result<()> {
            self.$($entries).+.store.change_secret(old, new)
        }

        /// Encrypts all entries anew with a new data key, under a new secret.
        ///
        /// # Errors
        ///
        /// [`Error::WrongSecret`](crate::Error::WrongSecret) if `old` is not the present secret, [`Error::Busy`](crate::Error::Busy) if another process has the store open.
        pub fn reencrypt(&self, old: &$crate::Secret, new: &$crate::Secret) -> $crate::Result<()> {
            self.$($entries).+.store.reencrypt(old, new)
        }

        /// Encrypts a store that is in plain text, in place: all entries under a new data key, which `secret` guards. Handles
        /// of this process go on; whoever opens it from now on needs the secret.
        ///
        /// A process that is killed meanwhile leaves the store as it was. The old data file is deleted when the new one is in
        /// its place; what the disk keeps of it, and backups, stay in plain text. The cipher is the built-in one, or that
        /// which this process opened the store [with](crate::Builder::cipher).
        ///
        /// # Errors
        ///
        /// [`Error::Invalid`](crate::Error::Invalid) if it is encrypted already (see [`reencrypt`](Self::reencrypt)) or the passphrase is empty,
        /// [`Error::Busy`](crate::Error::Busy) if another process has the store open. Nothing was changed.
        ///
        /// ```
        /// # fn main() -> cachemere::Result<()> {
        /// # let dir = tempfile::tempdir().unwrap();
        /// use cachemere::{Cache, Secret};
        ///
        /// let path = dir.path().join("store");
        /// let cache: Cache<str, String> = Cache::builder(&path).open()?;
        /// cache.insert("a", &"in plain text".to_owned())?;
        /// cache.encrypt(&Secret::key([7; 32]))?;
        /// assert_eq!(cache.get("a")?.as_deref(), Some("in plain text"));
        /// drop(cache);
        ///
        /// let opened = Cache::<str, String>::builder(&path).open();
        /// assert!(opened.is_err_and(|error| error.is_wrong_secret()));
        /// # Ok(())
        /// # }
        /// ```
        pub fn encrypt(&self, secret: &$crate::Secret) -> $crate::Result<()> {
            self.$($entries).+.store.encrypt(secret)
        }

        /// Closes this handle and all its clones: operations on them are [`Error::Closed`](crate::Error::Closed) from now on.
        ///
        /// Writes access times and makes everything safe from a power loss. The last handle of the process closes the
        /// store. Dropping the last clone does the same, but cannot tell of an error.
        ///
        /// # Errors
        ///
        /// [`Error::Io`](crate::Error::Io) or [`Error::DiskFull`](crate::Error::DiskFull) if it cannot be written. The handle is closed all the same.
        pub fn close(&self) -> $crate::Result<()> {
            self.$($entries).+.store.close()
        }

        /// The store's directory.
        #[must_use]
        pub fn path(&self) -> &std::path::Path {
            self.$($entries).+.store.dir()
        }
    };
}

pub(crate) use store_operations;
