//! Parts of a database.

/// Keys from a first one, included, to another, excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Without it: from the least key.
    pub start: Option<Vec<u8>>,
    /// Without it: to the end.
    pub stop: Option<Vec<u8>>,
}

impl Range {
    /// All keys.
    #[must_use]
    pub fn all() -> Range {
        Range::default()
    }

    /// The keys that begin with these bytes.
    ///
    /// ```
    /// use cachemere::rocks::Range;
    ///
    /// assert!(Range::prefix(b"ab").contains(b"abc") && !Range::prefix(b"ab").contains(b"ac"));
    /// assert!(Range::prefix(b"\xff").contains(b"\xff\xff"));
    /// ```
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Range {
        let mut stop = prefix.to_vec();
        // The least that is greater than all of them: counted up, where bytes that cannot be are left out.
        while let Some(last) = stop.pop() {
            if let Some(next) = last.checked_add(1) {
                stop.push(next);
                break;
            }
        }
        Range { start: Some(prefix.to_vec()), stop: if stop.is_empty() { None } else { Some(stop) } }
    }

    /// Whether a key is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_deref().is_none_or(|start| start <= key)
            && self.stop.as_deref().is_none_or(|stop| key < stop)
    }

    /// Whether no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.stop) {
            (_, Some(stop)) if stop.is_empty() => true,
            (Some(start), Some(stop)) => start >= stop,
            _ => false,
        }
    }
}
