//! What a handle keeps in memory of entries, in whatever form, and whether it may still be given out.
//!
//! What was read is tagged with the snapshot it was read in. It is good as long as the last committed transaction, of
//! whatever process, is that snapshot; asking costs a few nanoseconds and no system call. When the token has moved, the
//! stamp in the entry's header tells whether the value did, without decoding it again.
//!
//! Commits of the same handle need no such look: it knows which keys it wrote. As long as every commit since a value's
//! snapshot was its own, the value is good unless its key was among them, and what is kept of those is ended.
//!
//! Nor do commits of this process that only wrote access times (see `store::quiet`): they count as if they had not been.
//!
//! Three races are closed on the way. LMDB publishes a commit's meta page before the number that readers take their
//! snapshot from, so the token can be newer than a snapshot opened after it was read: tags are always the snapshot's own
//! number. A value read just before a commit of the same handle could be held just after that commit ended what was held
//! of its key: so a value gets its tag only after it is in the ledger, and only if no commit began to end anything since
//! before its snapshot. And a confirmation that comes late cannot bring back what was ended.
//!
//! The values themselves lie elsewhere (in the front, or with the caller of `ByteCache`). What is found of them there, and
//! when, makes no difference to any of this.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::mark::{Chain, Mark, end};
use crate::per_environment::Made;
use crate::store::{Access, Fate, Header, KeyHash, Live, Prefix, Stamp, Standing};
use crate::sync::lock;

/// The claim to have one payload in memory, from [`ByteCache::hold`](crate::ByteCache::hold).
///
/// Dropping it ends the claim.
#[must_use = "the claim ends when it is dropped"]
pub struct Held {
    mark: Mark,
    ledger: Arc<Made<Ledger>>,
}

/// Where and when a payload was read: what is needed to hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) hash: KeyHash,
    pub(crate) header: Header,
    pub(crate) stored_size: usize,
    /// The snapshot it was read in.
    pub(crate) snapshot: u64,
    /// What [`Ledger::drops`] said before that was opened.
    pub(crate) drops: u64,
    pub(crate) environment: u64,
}

/// All that is held of one opened environment by one handle and its clones.
#[derive(Default)]
pub(crate) struct Ledger {
    claims: Mutex<Claims>,
    chain: Chain,
}

#[derive(Default)]
struct Claims {
    of: HashMap<KeyHash, Arc<Access>, Prefix>,
    /// The keys of those that commits ended, and by what, for who wants to free their memory.
    ended: Option<Vec<(KeyHash, Fate)>>,
}

impl Made<Ledger> {
    /// Holds a payload, in place of an older claim to the same key.
    pub(crate) fn hold(self: &Arc<Self>, origin: &Origin) -> Held {
        let mark = Mark::new(origin.hash, &origin.header, origin.stored_size);
        if let Some(old) = self.claims().of.insert(mark.hash, mark.access.clone()) {
            end(&old);
        }
        // What was read from an environment that is gone has to be confirmed.
        if origin.environment == self.environment {
            mark.publish(&self.chain, origin.drops, origin.snapshot);
        }
        Held { mark, ledger: self.clone() }
    }
}

impl Ledger {
    /// `lists_ended`: whether somebody is going to ask for what was [`ended`](Self::take_ended).
    pub(crate) fn new(lists_ended: bool) -> Ledger {
        let claims = Claims { of: HashMap::default(), ended: lists_ended.then(Vec::new) };
        Ledger { claims: Mutex::new(claims), chain: Chain::default() }
    }

    /// To be asked before the snapshot is opened in which a payload to be held is read.
    pub(crate) fn drops(&self) -> u64 {
        self.chain.drops()
    }

    /// Ends what is held of what a commit of this handle wrote. To be called before any other writer of this process goes on.
    /// It found the values of snapshot `found`.
    pub(crate) fn committed(&self, found: u64, token: u64, written: &[(KeyHash, Fate)]) {
        self.chain.begin();
        let mut claims = self.claims();
        let Claims { of, ended } = &mut *claims;
        for (hash, fate) in written {
            if let Some(claim) = of.remove(hash) {
                end(&claim);
                if let Some(ended) = ended {
                    ended.push((*hash, *fate));
                }
            }
        }
        self.chain.extend(found, token);
    }

    /// Ends everything, after a commit that tells no keys. To be called before any other writer of this process goes on.
    pub(crate) fn clear(&self, token: u64) {
        self.chain.begin();
        let mut claims = self.claims();
        for (_, claim) in claims.of.drain() {
            end(&claim);
        }
        claims.ended.iter_mut().for_each(Vec::clear);
        self.chain.restart(token);
    }

    /// The keys of what commits have ended since this was last asked.
    pub(crate) fn take_ended(&self) -> Vec<(KeyHash, Fate)> {
        self.claims().ended.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }
}

impl Held {
    /// Whether the payload is what the store has, its environment standing `at`; it may be expired.
    pub(crate) fn is_current(&self, environment: u64, at: Standing) -> bool {
        self.ledger.environment == environment && self.mark.is_current(&self.ledger.chain, at)
    }

    /// Whether its time is over.
    pub(crate) fn is_expired(&self, live: &Live) -> bool {
        self.mark.is_expired(live)
    }

    /// Whether both are of the same writing of a key.
    pub(crate) fn is_of(&self, other: &Held) -> bool {
        self.mark.stamp == other.mark.stamp
    }

    /// Whether the payload may be given out now.
    pub(super) fn is_good(&self, live: &Live) -> bool {
        self.is_current(live.generation, live.standing()) && !self.is_expired(live)
    }

    /// Which writing of which key it is, if a confirmation would make it current again.
    pub(crate) fn known(&self, environment: u64) -> Option<(KeyHash, Stamp)> {
        let can_be_confirmed = self.ledger.environment == environment && !self.mark.is_dead();
        can_be_confirmed.then_some((self.mark.hash, self.mark.stamp))
    }

    /// Notes that the key still has this payload in a later snapshot.
    pub(crate) fn confirm(&self, snapshot: u64, header: &Header) {
        self.mark.confirm(snapshot, header);
    }

    /// Notes that the payload was given out, unless its access time barely moves by it.
    pub(super) fn note_access(&self, live: &Live) {
        self.mark.note_access(live);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.ledger.is_own() {
            return;
        }
        let mut claims = self.ledger.claims();
        if claims.of.get(&self.mark.hash).is_some_and(|claim| Arc::ptr_eq(claim, &self.mark.access)) {
            claims.of.remove(&self.mark.hash);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store after transaction `token`, which may have changed anything.
    fn at(token: u64) -> Standing {
        Standing { token, since: token }
    }

    const A: KeyHash = KeyHash([1; 16]);
    const B: KeyHash = KeyHash([2; 16]);

    fn ledger() -> Arc<Made<Ledger>> {
        let ledger = Arc::new(Made::new(1, Ledger::new(true)));
        ledger.committed(6, 7, &[]);
        ledger
    }

    fn hold(ledger: &Arc<Made<Ledger>>, drops: u64, hash: KeyHash, snapshot: u64) -> Held {
        ledger.hold(&Origin {
            hash,
            header: Header::of_stamp(snapshot),
            stored_size: 1,
            snapshot,
            drops,
            environment: 1,
        })
    }

    #[test]
    fn a_payload_is_current_in_its_snapshot_only() {
        let ledger = Arc::new(Made::new(1, Ledger::default()));
        let a = hold(&ledger, ledger.drops(), A, 7);
        assert!(a.is_current(1, at(7)) && !a.is_current(2, at(7)));
        // Another process, or a quiet commit of this one, was last.
        assert!(!a.is_current(1, at(8)));
        // A snapshot opened while a commit was being published is older than the token; it must not pass for newer.
        assert!(!a.is_current(1, at(6)));
    }

    #[test]
    fn own_commits_keep_all_payloads_but_those_of_keys_they_wrote() {
        let ledger = ledger();
        let [a, b] = [A, B].map(|hash| hold(&ledger, ledger.drops(), hash, 7));
        ledger.committed(7, 8, &[(B, Fate::Written)]);
        ledger.committed(8, 9, &[]);
        assert!(a.is_current(1, at(9)) && !b.is_current(1, at(9)));
        // Not before the commit that is last is known to have been this handle's own.
        assert!(!a.is_current(1, at(10)));
        assert_eq!((ledger.take_ended(), ledger.take_ended()), (vec![(B, Fate::Written)], vec![]));
    }

    #[test]
    fn commits_of_access_times_keep_all_payloads_and_do_not_break_the_chain() {
        let ledger = ledger();
        let [a, b] = [A, B].map(|hash| hold(&ledger, ledger.drops(), hash, 7));
        let is_current = |held: &Held, token, since| held.is_current(1, Standing { token, since });
        // Transactions 8 and 9 wrote access times.
        assert!(is_current(&a, 9, 7) && !is_current(&a, 9, 8));
        ledger.committed(7, 10, &[(B, Fate::Written)]);
        assert!(is_current(&a, 10, 10) && !is_current(&b, 10, 10));
        // So did 11, then 12 changed something, and 13 wrote access times.
        assert!(is_current(&a, 11, 10) && !is_current(&a, 12, 12) && !is_current(&a, 13, 12));
        ledger.committed(12, 14, &[]);
        assert!(!is_current(&a, 14, 14));
    }

    #[test]
    fn a_commit_of_somebody_else_between_own_ones_breaks_the_chain() {
        let ledger = ledger();
        let a = hold(&ledger, ledger.drops(), A, 7);
        // Transaction 8 was another process's and can have written A.
        ledger.committed(8, 9, &[(B, Fate::Written)]);
        assert!(!a.is_current(1, at(9)));
        // What is read from now on is good, also after further own commits.
        let a = hold(&ledger, ledger.drops(), A, 9);
        ledger.committed(9, 10, &[(B, Fate::Written)]);
        assert!(a.is_current(1, at(10)));
    }

    #[test]
    fn what_is_held_after_a_commit_wrote_its_key_is_not_current_until_confirmed() {
        let ledger = ledger();
        // The reader asks, opens snapshot 7 and reads; the writer commits 8 and ends what is held; the reader holds.
        let drops = ledger.drops();
        ledger.committed(7, 8, &[(A, Fate::Written)]);
        let a = hold(&ledger, drops, A, 7);
        assert!((0..12).all(|token| !a.is_current(1, at(token))));
        // It stays untagged when more is committed: no chain covers it.
        ledger.committed(8, 9, &[(B, Fate::Written)]);
        assert!(!a.is_current(1, at(9)));
        a.confirm(9, &Header::of_stamp(9));
        assert!(a.is_current(1, at(9)) && !a.is_current(1, at(10)));
    }

    #[test]
    fn what_was_overwritten_is_not_brought_back_by_a_late_confirmation() {
        let ledger = ledger();
        let a = hold(&ledger, ledger.drops(), A, 7);
        ledger.committed(7, 8, &[(A, Fate::Written)]);
        // The reader had looked at snapshot 7 before the commit.
        a.confirm(7, &Header::of_stamp(7));
        assert!((6..12).all(|token| !a.is_current(1, at(token))));
        assert_eq!(a.known(1), None);
    }

    #[test]
    fn nothing_from_before_a_clear_is_current() {
        let ledger = ledger();
        let a = hold(&ledger, ledger.drops(), A, 7);
        let drops = ledger.drops();
        ledger.clear(8);
        let b = hold(&ledger, drops, B, 7);
        assert!(!a.is_current(1, at(8)) && !b.is_current(1, at(8)));
        ledger.committed(8, 9, &[]);
        assert!(!a.is_current(1, at(9)) && !b.is_current(1, at(9)));
    }

    #[test]
    fn what_was_read_in_another_environment_has_to_be_confirmed() {
        let ledger = ledger();
        let origin = Origin {
            hash: A,
            header: Header::of_stamp(7),
            stored_size: 1,
            snapshot: 7,
            drops: ledger.drops(),
            environment: 2,
        };
        let a = ledger.hold(&origin);
        assert!(!a.is_current(1, at(7)) && !a.is_current(2, at(7)));
        a.confirm(7, &Header::of_stamp(7));
        assert!(a.is_current(1, at(7)));
    }

    #[test]
    fn the_newest_claim_to_a_key_ends_the_older_one_and_a_dropped_one_is_gone() {
        let ledger = ledger();
        let first = hold(&ledger, ledger.drops(), A, 7);
        let second = hold(&ledger, ledger.drops(), A, 7);
        assert!(!first.is_current(1, at(7)) && second.is_current(1, at(7)));
        drop(first);
        assert_eq!(ledger.claims().of.len(), 1);
        drop(second);
        assert_eq!(ledger.claims().of.len(), 0);
        // Nobody holds it any more, so there is nobody to notify.
        ledger.committed(7, 8, &[(A, Fate::Written)]);
        assert_eq!(ledger.take_ended(), []);
    }
}
