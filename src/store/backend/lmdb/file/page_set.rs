//! Which pages of a file were come to: a bit for each.

#[derive(Default)]
pub(super) struct PageSet(Vec<u64>);

impl PageSet {
    /// One that is empty, for pages below this number.
    pub(super) fn below(pages: u64) -> PageSet {
        PageSet(vec![0; (pages / 64 + 1) as usize])
    }

    /// Adds a page. Returns `true` if it was not in it.
    pub(super) fn insert(&mut self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        match self.0.get_mut((page / 64) as usize) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    pub(super) fn contains(&self, page: u64) -> bool {
        self.0.get((page / 64) as usize).is_some_and(|word| word & (1 << (page % 64)) != 0)
    }
}
