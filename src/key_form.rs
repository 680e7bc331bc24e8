//! Which types stand for a key in borrowed form.

use serde::Serialize;

/// A type by which a key of type `K` can be looked for, because serde writes both alike: `str` for `String`, `[T]` for `Vec<T>`,
/// references, and tuples, arrays and options of such.
///
/// Another type is none, even if it would be written alike:
///
/// ```compile_fail,E0277
/// # fn main() -> cachemere::Result<()> {
/// let cache: cachemere::Cache<(String, u32), u8> = cachemere::Cache::temporary().open()?;
/// cache.entry_by(&("de", 7u64))?;
/// # Ok(())
/// # }
/// ```
///
/// For a type of one's own, implement it for a struct with the same fields in the same order, where each is a form of the
/// other's. If it is not written like `K`, nothing is found by it.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::{Cache, KeyForm};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Question { model: String, text: String }
///
/// #[derive(Serialize)]
/// struct QuestionRef<'a> { model: &'a str, text: &'a str }
///
/// impl KeyForm<Question> for QuestionRef<'_> {}
///
/// let answers: Cache<Question, u32> = Cache::builder(dir.path().join("answers")).open()?;
/// answers.insert(&Question { model: "m".to_owned(), text: "6 * 7".to_owned() }, &42)?;
/// let asked = QuestionRef { model: "m", text: "6 * 7" };
/// assert_eq!(answers.entry_by(&asked)?.get()?, Some(42));
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no form of the key `{K}`",
    note = "a form has references where the key has what it owns, as `(&str, u32)` for `(String, u32)`; numbers are of the same type"
)]
pub trait KeyForm<K: ?Sized>: Serialize {}

macro_rules! itself {
    ($($of:ty),*) => {
        $(impl KeyForm<$of> for $of {})*
    };
}

itself!(
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    str,
    String,
    (),
    std::time::Duration,
    std::time::SystemTime,
    std::net::IpAddr,
    std::net::Ipv4Addr,
    std::net::Ipv6Addr,
    std::net::SocketAddr
);

impl KeyForm<String> for str {}
impl KeyForm<Box<str>> for str {}
impl<K: ?Sized, Q: KeyForm<K> + ?Sized> KeyForm<K> for &Q {}
impl<K, Q: KeyForm<K>> KeyForm<Vec<K>> for [Q] {}
impl<K, Q: KeyForm<K>> KeyForm<[K]> for [Q] {}
impl<K, Q: KeyForm<K>> KeyForm<Vec<K>> for Vec<Q> {}
impl<K, Q: KeyForm<K>> KeyForm<Option<K>> for Option<Q> {}

macro_rules! arrays {
    ($($len:literal)*) => {
        $(impl<K, Q: KeyForm<K>> KeyForm<[K; $len]> for [Q; $len] {})*
    };
}

// Those that serde knows.
arrays!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);

macro_rules! tuples {
    ($($form:ident $key:ident),*; $($more_form:ident $more_key:ident),*) => {
        impl<$($form: KeyForm<$key>, $key),*> KeyForm<($($key,)*)> for ($($form,)*) {}
        tuples!(@ $($form $key),*; $($more_form $more_key),*);
    };
    (@ $($form:ident $key:ident),*; $next_form:ident $next_key:ident $(, $more_form:ident $more_key:ident)*) => {
        tuples!($($form $key,)* $next_form $next_key; $($more_form $more_key),*);
    };
    (@ $($form:ident $key:ident),*;) => {};
}

tuples!(A K; B L, C M, D N, E O, F P, G Q, H R);
