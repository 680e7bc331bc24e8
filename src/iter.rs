//! Going through the entries in the order of insertion.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

use crate::entries::{Direction, Position, Raw};
use crate::error::Result;
use crate::typed::Inner;

/// The iterator of [`Cache::iter`](crate::Cache::iter).
#[must_use = "iterators read nothing before they are asked"]
pub struct Iter<K: ?Sized + ToOwned, V> {
    inner: Arc<Inner<K, V>>,
    position: Position,
    /// Read but not handed out yet, oldest first: from the front end, and from the back end.
    oldest: VecDeque<Result<Raw>>,
    newest: VecDeque<Result<Raw>>,
    /// The position cannot be read; nothing more will come.
    failed: bool,
}

impl<K, V> Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(inner: Arc<Inner<K, V>>) -> Iter<K, V> {
        Iter {
            inner,
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

    fn decode(&self, raw: Result<Raw>) -> Result<(K::Owned, V)> {
        self.inner.decode(&raw?)
    }
}

impl<K, V> Iterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Item = Result<(K::Owned, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.oldest.is_empty()
            && let Err(error) = self.fill(Direction::Oldest)
        {
            return Some(Err(error));
        }
        let raw = self.oldest.pop_front().or_else(|| self.newest.pop_front())?;
        Some(self.decode(raw))
    }
}

impl<K, V> DoubleEndedIterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.newest.is_empty()
            && let Err(error) = self.fill(Direction::Newest)
        {
            return Some(Err(error));
        }
        let raw = self.newest.pop_back().or_else(|| self.oldest.pop_back())?;
        Some(self.decode(raw))
    }
}

impl<K, V> FusedIterator for Iter<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Clone + Send + Sync + 'static,
{
}

impl<K: ?Sized + ToOwned, V> fmt::Debug for Iter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
