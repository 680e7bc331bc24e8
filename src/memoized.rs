//! What `#[memoize]` makes of functions: from the arguments of a call to the key of its result, and from there to the result.

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use crate::async_cache::AsyncCache;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::loading::FoundOrLead;
use crate::pipeline::canonical_parts;
use crate::typed::serialize;

/// Which function was called with which arguments: the key of results that [`memoize`](crate::memoize) keeps.
///
/// A cache of such keys can hold the results of any number of functions that return the same type.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("store");
/// use cachemere::{Cache, CallKey, memoize};
///
/// #[memoize(cache = cache, key_fn = length_key)]
/// fn length(text: &str, cache: &Cache<CallKey, usize>) -> usize {
///     text.len()
/// }
///
/// let cache: Cache<CallKey, usize> = Cache::builder(path).open()?;
/// assert_eq!((length("two", &cache), length("three", &cache)), (3, 5));
/// // One result is removed by its key, and all of a function by its name.
/// assert!(cache.remove(&length_key("two", &cache)?)?);
/// assert_eq!(cache.retain(|call, _| !call.function().ends_with("::length"))?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(SmallVec<[u8; 128]>);

impl CallKey {
    /// The path of the function, as `program::module::function`, with the types that it was called with if it is generic;
    /// or the `name` that it was given.
    #[must_use]
    pub fn function(&self) -> &str {
        // The first of several parts.
        let parts = self.0.get(1..).unwrap_or_default();
        <&str>::deserialize(&mut rmp_serde::Deserializer::from_read_ref(parts)).unwrap_or_default()
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallKey").field(&self.function()).finish_non_exhaustive()
    }
}

impl Serialize for CallKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for CallKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<CallKey, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = CallKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a call's key")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<CallKey, E> {
                Ok(CallKey(SmallVec::from_slice(bytes)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> std::result::Result<CallKey, A::Error> {
                let mut key = SmallVec::new();
                while let Some(byte) = bytes.next_element()? {
                    key.push(byte);
                }
                Ok(CallKey(key))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// By what a function is told from others.
pub struct Name {
    /// The type of a closure in it.
    pub of: &'static str,
    /// What the function is called, if the closure is in another one beside it.
    pub called: Option<&'static str>,
    /// What stands for its path.
    pub given: Option<&'static str>,
}

impl Name {
    /// The name, and what else it takes to tell one generic function's instances apart.
    fn parts(&self) -> (Cow<'static, str>, &'static str) {
        let path = self.of.trim_end_matches("::{{closure}}");
        if let Some(given) = self.given {
            let types = path.find('<').zip(path.rfind('>')).and_then(|(from, to)| path.get(from..=to));
            return (given.into(), types.unwrap_or_default());
        }
        let Some(called) = self.called else { return (path.into(), "") };
        // The types of the function itself stand behind its name.
        let end = match path.strip_suffix('>') {
            Some(_) => opening(path),
            None => path.len(),
        };
        let (before, types) = path.split_at(end);
        let module = before.rfind("::").map_or("", |at| before.get(..at + 2).unwrap_or_default());
        (format!("{module}{called}{types}").into(), "")
    }
}

/// Where the `<` is that the last `>` closes.
fn opening(path: &str) -> usize {
    let mut open = 0;
    for (at, char) in path.char_indices().rev() {
        match char {
            '>' if !path.get(..at).is_some_and(|before| before.ends_with('-')) => open += 1,
            '<' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    path.len()
}

/// Makes a key. `edition`: which code of the function it is, as far as that counts.
///
/// # Errors
///
/// [`Error::Serialize`].
pub fn key(name: Name, edition: &impl Serialize, arguments: &impl Serialize) -> Result<CallKey> {
    thread_local! {
        static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, since serializing runs code of the user's, which may call a memoized function.
    let mut written = WRITTEN.take();
    written.clear();
    let (function, types) = name.parts();
    let made = canonical_parts(&(&*function, types, edition, arguments), &mut written);
    let key = CallKey(SmallVec::from_slice(&written));
    if written.capacity() <= 64 << 10 {
        WRITTEN.set(written);
    }
    made.map(|()| key).map_err(|source| serialize("key", source))
}

/// What may be in the key of a memoized call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in the key of a memoized call, as it is not `serde::Serialize`",
    label = "the result is taken to depend on it",
    note = "derive `serde::Serialize` for it, or say by `key = …` what the result depends on, or leave it out by `ignore(…)`"
)]
pub trait Part: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Part for T {}

/// Says so if it may not.
pub fn part<T: Part + ?Sized>(part: &T) -> &T {
    part
}

/// What an error of the cache can be returned as.
///
/// ```compile_fail
/// // error: an error of the cache cannot be returned as `Failed`
/// # use cachemere::{Cache, CallKey, memoize};
/// struct Failed;
///
/// #[memoize(cache = cache)]
/// fn ask(question: &str, cache: &Cache<CallKey, String>) -> Result<String, Failed> {
///     Err(Failed)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "an error of the cache cannot be returned as `{Self}`",
    label = "`{Self}` is not `From<cachemere::Error>`",
    note = "implement `From<cachemere::Error>` for it, or have the function called when the cache fails: `on_error = \"bypass\"`"
)]
pub trait Raised: From<Error> {}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Raised for E {}

/// Makes an error of the function's own.
pub fn raise<E: Raised>(error: Error) -> E {
    E::from(error)
}

/// For functions that cannot fail.
pub fn sure<T>(got: std::result::Result<T, Infallible>) -> T {
    let Ok(value) = got;
    value
}

/// For what is never called, and only tells a type.
pub fn never<T>() -> T {
    unreachable!("it stands where nobody comes")
}

/// Tells whether a type is a `Result`: what stands here for those is found before what stands in [`NoResult`].
pub struct Returned<T>(PhantomData<T>);

impl<T, E> Returned<std::result::Result<T, E>> {
    /// It is.
    pub const IS_RESULT: bool = true;
}

/// For all other types.
///
/// ```compile_fail
/// // error: this is another name for a `Result`: write `Result<T, E>`, so that errors are not kept
/// # use cachemere::{Cache, CallKey, memoize};
/// type Answer = Result<String, u32>;
///
/// #[memoize(cache = cache)]
/// fn ask(question: &str, cache: &Cache<CallKey, Answer>) -> Answer {
///     Err(1)
/// }
/// ```
pub trait NoResult {
    /// It is not.
    const IS_RESULT: bool = false;
}

impl<T> NoResult for Returned<T> {}

/// How the results of a call are kept.
pub struct Plan<K, E> {
    /// How long, if not as the cache says.
    ttl: Option<Duration>,
    /// Which.
    keeps: K,
    /// What an error of the cache is returned as; `None`: the function is called.
    raise: Option<fn(Error) -> E>,
}

impl<K, E> Plan<K, E> {
    /// One for results of type `V`.
    pub fn new<V>(ttl: Option<Duration>, keeps: K, raise: Option<fn(Error) -> E>) -> Plan<K, E>
    where
        K: FnOnce(&V) -> bool,
    {
        Plan { ttl, keeps, raise }
    }
}

/// A memoized function.
#[derive(Debug, Default)]
pub struct Function {
    has_warned: AtomicBool,
}

impl Function {
    /// One that has not been called.
    #[must_use]
    pub const fn new() -> Function {
        Function { has_warned: AtomicBool::new(false) }
    }

    /// Finds the result of a call, or computes it.
    pub fn call<V, E>(
        &self,
        cache: &Cache<CallKey, V>,
        key: Result<CallKey>,
        plan: Plan<impl FnOnce(&V) -> bool, E>,
        compute: impl FnOnce() -> std::result::Result<Arc<V>, E>,
    ) -> std::result::Result<Arc<V>, E>
    where
        V: Send + Sync + 'static,
    {
        let (key, lead) = match key.and_then(|key| cache.find_or_lead(&key).map(|found| (key, found))) {
            Ok((_, FoundOrLead::Found(value))) => return Ok(value),
            Ok((key, FoundOrLead::Lead(lead))) => (key, lead),
            Err(error) => {
                self.pass_by(error, plan.raise)?;
                return compute();
            }
        };
        cache.inner().entries.space.counts.loads.add(1);
        let value = compute()?;
        if (plan.keeps)(&value) {
            match keep(cache, &key, &value, plan.ttl) {
                Ok(true) => lead.land(),
                Ok(false) => {}
                Err(error) => self.not_kept(error, plan.raise)?,
            }
        }
        Ok(value)
    }

    /// As [`call`](Self::call), without blocking.
    pub async fn call_async<V, E>(
        &self,
        cache: &AsyncCache<CallKey, V>,
        key: Result<CallKey>,
        plan: Plan<impl FnOnce(&V) -> bool, E>,
        compute: impl Future<Output = std::result::Result<Arc<V>, E>>,
    ) -> std::result::Result<Arc<V>, E>
    where
        V: Send + Sync + 'static,
    {
        let found = match key {
            Ok(key) => cache.find_or_lead(&key).await.map(|found| (key, found)),
            Err(error) => Err(error),
        };
        let (key, lead) = match found {
            Ok((_, FoundOrLead::Found(value))) => return Ok(value),
            Ok((key, FoundOrLead::Lead(lead))) => (key, lead),
            Err(error) => {
                self.pass_by(error, plan.raise)?;
                return compute.await;
            }
        };
        cache.blocking().inner().entries.space.counts.loads.add(1);
        let value = lead.run(|| compute).await?;
        if (plan.keeps)(&value) {
            let ttl = plan.ttl;
            let keep =
                move |cache: &Cache<CallKey, V>, key: &CallKey, value: &V| keep(cache, key, value, ttl);
            if let Err(error) = cache.keep_loaded(lead, &key, value.clone(), keep).await {
                self.not_kept(error, plan.raise)?;
            }
        }
        Ok(value)
    }

    /// Goes on without the cache, if that is wanted.
    fn pass_by<E>(&self, error: Error, raise: Option<fn(Error) -> E>) -> std::result::Result<(), E> {
        match raise {
            Some(raise) => Err(raise(error)),
            None => {
                self.warn(&error, "a memoized function is called without its cache");
                Ok(())
            }
        }
    }

    /// What was computed, perhaps at a price, is worth more than word of why it cannot be kept.
    fn not_kept<E>(&self, error: Error, raise: Option<fn(Error) -> E>) -> std::result::Result<(), E> {
        let is_of_value =
            error.is_full() || matches!(error, Error::Serialize { .. } | Error::TooLarge { .. });
        let raise = raise.filter(|_| !is_of_value);
        match raise {
            Some(raise) => Err(raise(error)),
            None => {
                self.warn(&error, "the result of a memoized function could not be kept");
                Ok(())
            }
        }
    }

    fn warn(&self, error: &Error, what: &'static str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "{what}; more of this function are not told");
        }
    }
}

/// Inserts a result; whether that can be done.
fn keep<V>(cache: &Cache<CallKey, V>, key: &CallKey, value: &V, ttl: Option<Duration>) -> Result<bool>
where
    V: Send + Sync + 'static,
{
    if cache.is_read_only() {
        return Ok(false);
    }
    match ttl {
        Some(ttl) => cache.insert_with_ttl(key, value, ttl),
        None => cache.insert(key, value),
    }?;
    Ok(true)
}
