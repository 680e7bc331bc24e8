//! Going through the entries in the order of insertion.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

use crate::entries::{Direction, Position, Raw};
use crate::error::Result;
use crate::schema::Undecodable;
use crate::typed::Inner;

/// The iterator of [`Cache::iter`](crate::Cache::iter).
#[must_use = "iterators read nothing before they are asked"]
pub struct Iter<K: ?Sized + ToOwned, V>(Walk<K, V, (K::Owned, V)>);

/// A walk of which each entry is decoded to a `T`.
pub(crate) struct Walk<K: ?Sized + ToOwned, V, T> {
    inner: Arc<Inner<K, V>>,
    decode: fn(&Inner<K, V>, &Raw) -> Result<T>,
    /// Unless the handle has it otherwise.
    on_undecodable: Undecodable,
    position: Position,
    /// Read but not handed out yet, oldest first: from the front end, and from the back end.
    oldest: VecDeque<Result<Raw>>,
    newest: VecDeque<Result<Raw>>,
    /// The position cannot be read; nothing more will come.
    failed: bool,
}

impl<K, V, T> Walk<K, V, T>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(
        inner: Arc<Inner<K, V>>,
        on_undecodable: Undecodable,
        decode: fn(&Inner<K, V>, &Raw) -> Result<T>,
    ) -> Walk<K, V, T> {
        Walk {
            inner,
            decode,
            on_undecodable,
            position: Position::START,
            oldest: VecDeque::new(),
            newest: VecDeque::new(),
            failed: false,
        }
    }

    fn fill(&mut self, direction: Direction) -> Result<()> {
        if self.failed {
            return Ok(());
        }
        let chunk = self.inner.entries.walk(&mut self.position, direction, usize::MAX);
        match (chunk, direction) {
            (Ok(chunk), Direction::Oldest) => self.oldest.extend(chunk),
            (Ok(chunk), Direction::Newest) => chunk.into_iter().for_each(|raw| self.newest.push_front(raw)),
            (Err(error), _) => {
                self.failed = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// `None`: it is to be passed over.
    fn decode(&self, raw: Result<Raw>) -> Result<Option<T>> {
        self.inner.decoded(self.on_undecodable, (self.decode)(&self.inner, &raw?))
    }
}

impl<K, V, T> Iterator for Walk<K, V, T>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if self.oldest.is_empty()
                && let Err(error) = self.fill(Direction::Oldest)
            {
                return Some(Err(error));
            }
            let raw = self.oldest.pop_front().or_else(|| self.newest.pop_front())?;
            if let Some(decoded) = self.decode(raw).transpose() {
                return Some(decoded);
            }
        }
    }
}

impl<K, V, T> DoubleEndedIterator for Walk<K, V, T>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    fn next_back(&mut self) -> Option<Result<T>> {
        loop {
            if self.newest.is_empty()
                && let Err(error) = self.fill(Direction::Newest)
            {
                return Some(Err(error));
            }
            let raw = self.newest.pop_back().or_else(|| self.oldest.pop_back())?;
            if let Some(decoded) = self.decode(raw).transpose() {
                return Some(decoded);
            }
        }
    }
}

impl<K, V, T> FusedIterator for Walk<K, V, T>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
}

impl<K, V> Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(inner: Arc<Inner<K, V>>) -> Iter<K, V> {
        Iter(Walk::new(inner, Undecodable::Error, Inner::decode))
    }
}

impl<K, V> Iterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    type Item = Result<(K::Owned, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<K, V> DoubleEndedIterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl<K, V> FusedIterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
}

impl<K: ?Sized + ToOwned, V> fmt::Debug for Iter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
