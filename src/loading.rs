//! Loading what is missing: of all threads, tasks and processes that miss a key at once, one runs the function.

use std::sync::Arc;

use crate::cache::Cache;
use crate::entries::{Expect, Scratch};
use crate::error::{Error, Result};
use crate::schema::Undecodable;
use crate::store::{Flights, KeyHash, Lead, Turn};
use crate::typed::Inner;

/// What becomes of a key that is to be loaded if it has no value.
pub(crate) enum FoundOrLead<V> {
    Found(Arc<V>),
    Lead(Lead),
}

impl<K, V> Cache<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// The key's value; if it has none, that of `load`, which is inserted.
    ///
    /// Of all threads and processes that miss the key at once, one runs `load` and the others wait for its value. If it
    /// panics or its process is killed, another takes over at once. No lock of the store is held meanwhile. `load` may
    /// use this cache and itself be waited for: where that would be a deadlock, it is run twice.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert), but for a full disk or store: the value is returned.
    pub fn get_or_insert_with(&self, key: &K, load: impl FnOnce() -> V) -> Result<V>
    where
        V: Clone,
    {
        self.try_get_or_insert_with(key, || Ok(load()))
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for a `load` that can fail. An error is not kept: one of
    /// those that waited runs its own `load`.
    ///
    /// A loaded value is returned even if it cannot be kept because disk or store are full (a warning is logged), or
    /// because the handle is read-only.
    ///
    /// # Errors
    ///
    /// Those of `load`, and as [`get_or_insert_with`](Self::get_or_insert_with).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let answers: cachemere::Cache<str, String> = cachemere::Cache::builder(dir.path().join("s")).open()?;
    /// let ask = || Err::<String, _>(std::io::Error::other("no network"));
    /// let failed: Result<String, Box<dyn std::error::Error>> =
    ///     answers.try_get_or_insert_with("question", || Ok(ask()?));
    /// assert!(failed.is_err());
    /// assert_eq!(answers.get_or_insert_with("question", || "42".to_owned())?, "42");
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_get_or_insert_with<E: From<Error>>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E>
    where
        V: Clone,
    {
        self.try_get_shared_or_insert_with(key, load).map(Arc::unwrap_or_clone)
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), without cloning the value: it is shared with the front.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_shared_or_insert_with(&self, key: &K, load: impl FnOnce() -> V) -> Result<Arc<V>> {
        self.try_get_shared_or_insert_with(key, || Ok(load()))
    }

    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with), without cloning the value: it is shared with the front.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_get_shared_or_insert_with<E: From<Error>>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        self.entry(key)?.try_or_insert_with(load)
    }

    /// The key's value, or the right to load it. Waits for those who have that.
    #[cfg(feature = "macros")]
    pub(crate) fn find_or_lead(&self, key: &K) -> Result<FoundOrLead<V>> {
        self.with_key(key, Inner::find_or_lead)
    }

    /// Inserts what was loaded, if that can be; whether it did.
    pub(crate) fn keep_loaded(&self, key: &K, value: &V) -> Result<bool> {
        self.with_key(key, |inner, scratch| inner.keep_loaded(scratch, value))
    }

    /// Where single flight for this key is agreed upon.
    pub(crate) fn flight(&self, key: &K) -> Result<(Arc<Flights>, KeyHash)> {
        self.with_key(key, |inner, scratch| inner.entries.flight(scratch))
    }

    /// The value, without counting a hit or an access.
    pub(crate) fn peek(&self, key: &K) -> Result<Option<Arc<V>>> {
        self.with_key(key, Inner::peek)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.inner().entries.store.is_read_only()
    }
}

impl<K, V> Inner<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    /// The value of the key in the scratch, or else what `load` gives, which is kept.
    pub(crate) fn load<E: From<Error>>(
        &self,
        scratch: &mut Scratch,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        if let Some(value) = self.look_up(scratch, Undecodable::Miss)? {
            return Ok(value);
        }
        let store = self.entries.store.dir().display();
        let _span = tracing::debug_span!("cachemere::load", %store).entered();
        let lead = match self.wait_or_lead(scratch)? {
            FoundOrLead::Found(value) => return Ok(value),
            FoundOrLead::Lead(lead) => lead,
        };
        self.entries.space.counts.loads.add(1);
        let value = Arc::new(load()?);
        if self.keep_loaded(scratch, &value)? {
            lead.land();
        }
        Ok(value)
    }

    /// The value of the key in the scratch, or the right to load it. Waits for those who have that.
    #[cfg(feature = "macros")]
    fn find_or_lead(&self, scratch: &mut Scratch) -> Result<FoundOrLead<V>> {
        match self.look_up(scratch, Undecodable::Miss)? {
            Some(value) => Ok(FoundOrLead::Found(value)),
            None => self.wait_or_lead(scratch),
        }
    }

    /// For a key that was found to have no value: that of another who loads it, or the right to.
    pub(crate) fn wait_or_lead(&self, scratch: &mut Scratch) -> Result<FoundOrLead<V>> {
        loop {
            let lead = match self.enter_flight(scratch)? {
                Turn::Lead(lead) => lead,
                Turn::Waited | Turn::Failed(_) => match self.look_up(scratch, Undecodable::Miss)? {
                    Some(value) => return Ok(FoundOrLead::Found(value)),
                    None => continue,
                },
                Turn::GivenUp => return Err(Error::Interrupted),
            };
            // Another process can have landed just before. (Looked up without being counted again.)
            return Ok(match self.peek(scratch)? {
                Some(value) => {
                    lead.land();
                    FoundOrLead::Found(value)
                }
                None => FoundOrLead::Lead(lead),
            });
        }
    }

    fn enter_flight(&self, scratch: &mut Scratch) -> Result<Turn> {
        let (flights, hash) = self.entries.flight(scratch)?;
        flights.enter(hash, &|| crate::waiting::go_on_waiting().is_err())
    }

    fn keep_loaded(&self, scratch: &mut Scratch, value: &V) -> Result<bool> {
        if self.entries.store.is_read_only() {
            return Ok(false);
        }
        match self.put(scratch, value, self.life_of(value)?, Expect::Anything) {
            // What was just loaded, perhaps at a price, is worth more than word of a full disk.
            Err(error) if error.is_disk_full() || error.is_store_full() => {
                tracing::warn!(%error, "a loaded value could not be kept");
                Ok(false)
            }
            inserted => inserted.map(|_| true),
        }
    }
}
