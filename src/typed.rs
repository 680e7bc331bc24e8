//! Where types meet bytes: how a typed value is looked for in the front and the store, and how it gets there.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Span;
use crate::entries::{Age, At, Bytes, Change, Entries, Expect, Ledger, Life, Raw, Read, Scratch, Written};
use crate::error::{BoxError, Error, Result};
use crate::front::{Front, FrontOptions, Item, Leaving, RemovalCause};
use crate::per_environment::{PerEnvironment, Present};
use crate::pipeline::Codec;
use crate::schema::{Schema, Undecodable};
use crate::store::Live;

/// What the clones of one handle share.
pub(crate) struct Inner<K: ?Sized + ToOwned, V> {
    pub(crate) entries: Entries,
    pub(crate) keys: Arc<dyn Codec<K>>,
    pub(crate) values: Arc<dyn Codec<V, V>>,
    pub(crate) front: PerEnvironment<Front<V>>,
    front_options: FrontOptions,
    leaving: Option<Arc<Leaving<V>>>,
    pub(crate) rules: Rules<V>,
}

/// Hears what leaves the memory of a handle.
pub(crate) type Listener<K, V> = Arc<dyn Fn(&K, &Arc<V>, RemovalCause) + Send + Sync>;

/// How values are marked and read, and how long they live.
pub(crate) struct Rules<V> {
    pub(crate) schema: Schema,
    /// `None`: as suits the operation.
    pub(crate) on_undecodable: Option<Undecodable>,
    pub(crate) ttl_of: Option<TtlOf<V>>,
}

/// A function that tells how long a value lives, if not as long as the others.
pub(crate) type TtlOf<V> = Arc<dyn Fn(&V) -> Option<Duration> + Send + Sync>;

/// What a lookup came to, before it is counted.
pub(crate) enum Looked<V> {
    /// Found in the front, without looking into the store.
    Front(Arc<Item<V>>),
    /// Found in the store.
    Store(Box<Found<V>>),
    Missing,
}

/// An entry that was found in the store.
pub(crate) enum Found<V> {
    /// With the value that is in the front.
    Known(Read, Arc<Item<V>>),
    /// To be decoded, and added to the front.
    New(Read, Option<(Present<Front<V>>, Present<Ledger>)>),
}

impl<V> Found<V> {
    pub(crate) fn read(&self) -> &Read {
        match self {
            Found::Known(read, _) | Found::New(read, _) => read,
        }
    }
}

impl<K, V> Inner<K, V>
where
    K: ToOwned + ?Sized + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(
        mut entries: Entries,
        keys: Arc<dyn Codec<K>>,
        values: Arc<dyn Codec<V, V>>,
        front_options: FrontOptions,
        listener: Option<Listener<K, V>>,
        rules: Rules<V>,
    ) -> Inner<K, V> {
        entries.space.lists_ended = front_options.bytes != 0;
        let leaving = listener.map(|listener| {
            let keys = keys.clone();
            let tell = move |key: &[u8], value: &Arc<V>, cause: RemovalCause| {
                // It was found by this key, so it can be decoded, unless that is odd.
                if let Ok(key) = keys.decode(key) {
                    listener(key.borrow(), value, cause);
                }
            };
            Arc::new(Leaving::new(Box::new(tell)))
        });
        Inner { entries, keys, values, front: PerEnvironment::empty(), front_options, leaving, rules }
    }

    /// Tells the listener what has left. Runs the user's code: no reference to the store may be held.
    pub(crate) fn tell(&self) {
        if let Some(leaving) = &self.leaving {
            leaving.tell();
        }
    }

    pub(crate) fn encode_key(&self, key: &K, scratch: &mut Scratch) -> Result<()> {
        self.keys.encode_canonical(key, scratch.key.start()).map_err(|e| serialize("key", e))
    }

    pub(crate) fn encode_value(&self, value: &V) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.encode_value_into(value, &mut payload)?;
        Ok(payload)
    }

    pub(crate) fn encode_value_into(&self, value: &V, payload: &mut Vec<u8>) -> Result<()> {
        self.rules.schema.begin(payload);
        self.values.encode(value, payload).map_err(|e| serialize("value", e))
    }

    /// The tag of what this handle writes.
    pub(crate) fn tag(&self) -> u8 {
        self.rules.schema.tag()
    }

    /// The canonical form of a value alone, without what stands before it.
    pub(crate) fn encode_canonical(&self, value: &V) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.values.encode_canonical(value, &mut payload).map_err(|e| serialize("value", e))?;
        Ok(payload)
    }

    /// Whether a stored payload is of the value whose canonical form is given.
    pub(crate) fn is_value(&self, payload: &[u8], tag: u8, canonical: &[u8]) -> bool {
        let Ok(value) = self.rules.schema.value_in(payload, tag) else { return false };
        let canonical_of = |value| self.encode_canonical(&self.values.decode(value).ok()?).ok();
        value == canonical || canonical_of(value).is_some_and(|is| is == canonical)
    }

    pub(crate) fn decode_value(&self, payload: &[u8], tag: u8) -> Result<V> {
        let value = self.rules.schema.value_in(payload, tag).and_then(|value| self.values.decode(value));
        value.map_err(|source| Error::Deserialize { what: "value", source })
    }

    /// What comes of reading a value: `None` if it cannot be decoded and is to be passed over.
    pub(crate) fn decoded<T>(&self, by_default: Undecodable, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error @ Error::Deserialize { .. }) => {
                if self.entries.space.counts.was_undecodable() {
                    let store = self.entries.store.dir().display();
                    tracing::warn!(%error, %store, "an entry cannot be decoded; the handle's others are only counted");
                }
                match self.rules.on_undecodable.unwrap_or(by_default) {
                    Undecodable::Miss => Ok(None),
                    Undecodable::Error => Err(error),
                }
            }
            read => read.map(Some),
        }
    }

    pub(crate) fn decode_value_of(&self, raw: &Raw) -> Result<V> {
        self.decode_value(&raw.payload, raw.info.tag)
    }

    pub(crate) fn decode_key(&self, raw: &Raw) -> Result<K::Owned> {
        self.keys.decode(&raw.key).map_err(|source| Error::Deserialize { what: "key", source })
    }

    pub(crate) fn decode(&self, raw: &Raw) -> Result<(K::Owned, V)> {
        let key = self.decode_key(raw)?;
        Ok((key, self.decode_value(&raw.payload, raw.info.tag)?))
    }

    /// How long a value lives that is written now, unless it is told; `None`: it is over already.
    pub(crate) fn life_of(&self, value: &V) -> Result<Option<Life>> {
        let life = self.entries.space.life;
        match self.rules.ttl_of.as_ref().and_then(|ttl_of| ttl_of(value)) {
            None => Ok(Some(life)),
            Some(ttl) if is_nothing(ttl) => Ok(None),
            Some(ttl) => life.with_ttl(ttl).map(Some),
        }
    }

    /// What a batch does to insert a value.
    pub(crate) fn insertion(&self, value: &V, age: Age) -> Result<Change<Bytes<'static>>> {
        let age = match (age, &self.rules.ttl_of) {
            (Age::New, Some(ttl_of)) => match ttl_of(value) {
                Some(ttl) if is_nothing(ttl) => return Ok(Change::Remove),
                ttl => ttl.map_or(Age::New, Age::Ttl),
            },
            (age, _) => age,
        };
        let payload = self.encode_value(value)?.into();
        Ok(Change::Insert(Bytes { payload, tag: self.tag() }, age))
    }

    /// Writes what was serialized. One that is over already (`None`) takes what is there away.
    pub(crate) fn put_living(
        &self,
        scratch: &mut Scratch,
        payload: &[u8],
        life: Option<Life>,
        expect: Expect,
    ) -> Result<Written> {
        if let Some(life) = life {
            return self.put_payload(scratch, payload, life, expect);
        }
        let is_as_expected = match expect {
            Expect::Anything => self.remove(scratch, expect).map(|_| true)?,
            Expect::Absent => !self.entries.contains(scratch)?,
            Expect::Value(_) => self.remove(scratch, expect)?,
        };
        Ok(if is_as_expected { Written::Inserted } else { Written::Refused })
    }

    pub(crate) fn put_payload(
        &self,
        scratch: &mut Scratch,
        payload: &[u8],
        life: Life,
        expect: Expect,
    ) -> Result<Written> {
        self.freeing(self.entries.put(scratch, payload, self.tag(), life, expect))
    }

    pub(crate) fn remove(&self, scratch: &mut Scratch, expect: Expect) -> Result<bool> {
        self.freeing(self.entries.remove(scratch, expect))
    }

    /// Looks for the key in the scratch, in the front and then in the store.
    pub(crate) fn find(&self, at: &At<'_>, scratch: &mut Scratch) -> Result<Looked<V>> {
        let live = at.live();
        let Some(front) = self.front(live) else {
            let read = at.find(scratch, None)?;
            return Ok(read.map_or(Looked::Missing, |read| Looked::Store(Box::new(Found::New(read, None)))));
        };
        let hash = scratch.key.hash(&live.unlocked.hasher, self.entries.space.namespace.last_id());
        let mut item = front.get(&hash).filter(|item| item.is_of(scratch.key.key()));
        if let Some(item) = item.take_if(|item| at.is_good(&item.held)) {
            return Ok(Looked::Front(item));
        }
        let held = item.as_ref().map(|item| &item.held);
        let Some(read) = at.find(scratch, held)? else {
            if let Some(item) = &item {
                front.lose(item, &hash, live);
            }
            return Ok(Looked::Missing);
        };
        let found = match item.filter(|_| read.is_known()) {
            Some(item) => Found::Known(read, item),
            None => Found::New(read, Some((front, at.ledger()))),
        };
        Ok(Looked::Store(Box::new(found)))
    }

    /// What may be given out without looking into the store. Never waits.
    pub(crate) fn find_in_front(&self, at: &At<'_>, scratch: &mut Scratch) -> Option<Arc<Item<V>>> {
        let live = at.live();
        let front = self.front(live)?;
        let hash = scratch.key.hash(&live.unlocked.hasher, self.entries.space.namespace.last_id());
        front.get(&hash).filter(|item| item.is_of(scratch.key.key()) && at.is_good(&item.held))
    }

    /// The value of what was found, whose payload is still in the scratch. Runs the user's code: no reference to the store may
    /// be held.
    pub(crate) fn decode_found(&self, found: Found<V>, scratch: &Scratch) -> Result<Arc<V>> {
        let (read, memory) = match found {
            Found::Known(_, item) => return Ok(item.value.clone()),
            Found::New(read, memory) => (read, memory),
        };
        let payload = read.payload(scratch);
        let value = Arc::new(self.decode_value(payload, read.origin.header.tag)?);
        if let Some((front, ledger)) = memory {
            let held = ledger.hold(&read.origin);
            front.add(read.origin.hash, held, scratch.key.key(), value.clone(), payload.len());
        }
        self.tell();
        Ok(value)
    }

    fn front(&self, live: &Live) -> Option<Present<Front<V>>> {
        let options = self.front_options;
        (options.bytes != 0)
            .then(|| self.front.get(live.generation, || Front::new(options, self.leaving.clone())))
    }

    /// Hands on what came of a write, and frees the memory of the values that commits of this handle ended.
    pub(crate) fn freeing<T>(&self, written: T) -> T {
        let ended = |ledger: &Ledger| ledger.take_ended();
        self.front.with_own(|front| {
            let ended = self.entries.space.ledger.with_own(ended).unwrap_or_default();
            ended.iter().for_each(|(hash, fate)| front.end(hash, *fate));
        });
        self.tell();
        written
    }

    /// Hands on what came of a write after which nothing in memory is good, and frees that.
    pub(crate) fn freeing_all<T>(&self, written: T) -> T {
        self.front.with_own(Front::clear);
        self.tell();
        written
    }
}

/// A lifetime that ends as it begins.
fn is_nothing(ttl: Duration) -> bool {
    Span::from_duration(ttl) == Span(0)
}

pub(crate) fn serialize(what: &'static str, source: BoxError) -> Error {
    Error::Serialize { what, source }
}
