//! Commits of this process that changed no value: those that write access times.
//!
//! Without knowing them, each would send all that is in memory to the store for a look, every ten seconds.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which values the store has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// The last committed transaction.
    pub(crate) token: u64,
    /// The oldest snapshot that is known to have the same values.
    pub(crate) since: u64,
}

/// The unbroken run of quiet commits that ends with the newest one.
#[derive(Default)]
pub(crate) struct QuietRun {
    /// The snapshot before the first.
    start: AtomicU64,
    end: AtomicU64,
}

impl QuietRun {
    pub(crate) fn standing(&self, token: u64) -> Standing {
        // `start` is raised before `end`, so with the new end comes the new start; a start that is too new for the token
        // costs a look into the store.
        let since = match token == self.end.load(Ordering::SeqCst) {
            true => self.start.load(Ordering::SeqCst),
            false => token,
        };
        Standing { token, since }
    }

    /// Notes a quiet commit that moved the token on from `before`. To be called before any other writer of this process
    /// goes on.
    pub(crate) fn extend(&self, before: u64, token: u64) {
        if self.end.load(Ordering::SeqCst) != before {
            self.start.store(before, Ordering::SeqCst);
        }
        self.end.store(token, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_back_to_before_its_first_commit_and_any_other_commit_ends_it() {
        let run = QuietRun::default();
        let since = |token| run.standing(token).since;
        assert_eq!(since(7), 7);
        run.extend(7, 8);
        assert_eq!((since(7), since(8), since(9)), (7, 7, 9));
        run.extend(8, 9);
        assert_eq!(since(9), 7);
        // Transaction 10 was somebody else's, or changed something.
        assert_eq!(since(10), 10);
        run.extend(10, 11);
        assert_eq!(since(11), 10);
    }
}
