//! What is written can be read: over serde's data model, and over all ways in which serde nests it.
//!
//! A type is made of a leaf and of what holds it; values are drawn from numbers that proptest gives and shrinks. Of each the
//! promise is: it is refused when it is written, or it comes back as it was. What may be refused is known by the type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{Codec, Error, MessagePack};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Numbers to make a value of.
struct Numbers<'n>(std::slice::Iter<'n, u64>);

impl Numbers<'_> {
    fn next(&mut self) -> u64 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Which values of a type may be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Refused {
    /// Those within `Some` that are written as nil.
    nil: bool,
    /// Those that serde reads from a copy it made.
    copied: bool,
}

impl Refused {
    const NONE: Refused = Refused { nil: false, copied: false };
    const COPIED: Refused = Refused { nil: false, copied: true };
    const NIL: Refused = Refused { nil: true, copied: false };
}

trait Value: Clone + Debug + PartialEq + Serialize + DeserializeOwned + 'static {
    /// What makes it doubtful, if it stands where it matters.
    const ODD: Refused = Refused::NONE;
    /// Whether some may be refused.
    const REFUSED: bool = false;

    fn draw(numbers: &mut Numbers<'_>) -> Self;
}

macro_rules! leaves {
    ($($of:ty, $odd:expr, $numbers:ident => $draw:expr;)*) => {
        $(impl Value for $of {
            const ODD: Refused = $odd;

            fn draw($numbers: &mut Numbers<'_>) -> Self {
                $draw
            }
        })*
    };
}

fn wide(numbers: &mut Numbers<'_>) -> u128 {
    u128::from(numbers.next()) << (numbers.below(3) * 32) | u128::from(numbers.next())
}

fn text(numbers: &mut Numbers<'_>) -> String {
    let len = [0, 1, 3, 31, 40, 300][numbers.below(6) as usize];
    (0..len).map(|_| char::draw(numbers)).collect()
}

leaves! {
    u8, Refused::NONE, numbers => numbers.next() as u8;
    u32, Refused::NONE, numbers => numbers.next() as u32;
    u64, Refused::NONE, numbers => numbers.next();
    u128, Refused::COPIED, numbers => wide(numbers);
    i128, Refused::COPIED, numbers => wide(numbers) as i128 * if numbers.below(2) == 0 { 1 } else { -1 };
    f64, Refused::NONE, numbers => numbers.next() as i64 as f64 / 3.0;
    char, Refused::NONE, numbers => ['a', 'ß', '\u{0}', '🦀', '"'][numbers.below(5) as usize];
    (), Refused::NIL, numbers => { numbers.next(); };
    Unit, Refused::COPIED, numbers => { numbers.next(); Unit };
    Bytes, Refused::NONE, numbers => Bytes(text(numbers).into_bytes());
    IpAddr, Refused::COPIED, numbers => match numbers.below(2) {
        0 => IpAddr::V4(Ipv4Addr::from(numbers.next() as u32)),
        _ => IpAddr::V6(wide(numbers).into()),
    };
    serde_json::Value, Refused::NIL, numbers => match numbers.below(6) {
        0 => serde_json::Value::Null,
        1 => numbers.next().into(),
        2 => (numbers.next() as i64).into(),
        3 => f64::draw(numbers).into(),
        4 => text(numbers).into(),
        _ => serde_json::json!({"a": [numbers.next(), null], "": {"b": text(numbers)}}),
    };
}

/// What is never odd, each once: a type for each would take minutes to compile in all places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    whole: (bool, u8, u16, u32, u64, i8, i16, i32, i64),
    real: (f32, f64),
    text: (char, String),
    bytes: Bytes,
    empty: (Empty, [u8; 0], External<()>),
    list: [u16; 3],
    map: BTreeMap<i16, Option<bool>>,
    outcome: Result<(), String>,
    time: (Duration, SystemTime),
}

impl Value for Plain {
    fn draw(numbers: &mut Numbers<'_>) -> Self {
        let n = [(); 9].map(|()| numbers.next());
        let whole = (
            n[0] % 2 == 1,
            n[1] as u8,
            n[2] as u16,
            n[3] as u32,
            n[4],
            n[5] as i8,
            n[6] as i16,
            n[7] as i32,
            n[8] as i64,
        );
        Plain {
            whole,
            real: (n[0] as i16 as f32 / 8.0, n[1] as i64 as f64 / 3.0),
            text: (char::draw(numbers), text(numbers)),
            bytes: Bytes::draw(numbers),
            empty: (Empty {}, [], External::draw(numbers)),
            list: [n[2] as u16, n[3] as u16, n[4] as u16],
            map: [(n[5] as i16, (n[5] % 3 > 0).then_some(n[6] % 2 == 1))].into(),
            outcome: if n[7] % 2 == 0 { Ok(()) } else { Err(text(numbers)) },
            time: (
                Duration::new(n[8] >> 1, (n[7] % 1_000_000_000) as u32),
                UNIX_EPOCH + Duration::from_nanos(n[6] >> 2),
            ),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Empty {}

/// The binary type.
#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// What holds others and reads them as they are.
macro_rules! holders {
    ($($of:ty, $numbers:ident => $draw:expr;)*) => {
        $(impl<T: Value> Value for $of {
            const ODD: Refused = Refused { copied: T::ODD.copied, nil: false };
            const REFUSED: bool = T::REFUSED;

            fn draw($numbers: &mut Numbers<'_>) -> Self {
                $draw
            }
        })*
    };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair<T>(T, T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named<T> {
    first: T,
    second: T,
}

/// An absent field is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LeftOut<T> {
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    some_of_it: Vec<T>,
    the_rest: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External<T> {
    Unit,
    None(),
    One(T),
    Two(T, T),
    Named { one: T },
    Empty {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent<T> {
    Unit,
    One(T),
    Two(T, T),
    Named { one: T },
}

fn some<T: Value, C: FromIterator<T>>(numbers: &mut Numbers<'_>) -> C {
    let len = [0, 1, 2, 17][numbers.below(4) as usize];
    (0..len).map(|_| T::draw(numbers)).collect()
}

holders! {
    Vec<T>, numbers => some(numbers);
    (T, u8, T), numbers => (T::draw(numbers), 7, T::draw(numbers));
    Pair<T>, numbers => Pair(T::draw(numbers), T::draw(numbers));
    Named<T>, numbers => Named { first: T::draw(numbers), second: T::draw(numbers) };
    LeftOut<T>, numbers => LeftOut { some_of_it: some(numbers), the_rest: T::draw(numbers) };
    BTreeMap<String, T>, numbers => {
        let values: Vec<T> = some(numbers);
        values.into_iter().map(|value| (text(numbers), value)).collect()
    };
    Adjacent<T>, numbers => match numbers.below(4) {
        0 => Adjacent::Unit,
        1 => Adjacent::One(T::draw(numbers)),
        2 => Adjacent::Two(T::draw(numbers), T::draw(numbers)),
        _ => Adjacent::Named { one: T::draw(numbers) },
    };
    External<T>, numbers => match numbers.below(6) {
        0 => External::Unit,
        1 => External::None(),
        2 => External::One(T::draw(numbers)),
        3 => External::Two(T::draw(numbers), T::draw(numbers)),
        4 => External::Named { one: T::draw(numbers) },
        _ => External::Empty {},
    };
    Keyed<T>, numbers => {
        let keys: Vec<T> = some(numbers);
        Keyed(keys.into_iter().map(|key| (numbers.next() as u32, key)).collect())
    };
}

/// A map with values as its keys, as a list of pairs.
#[derive(Clone, Debug, PartialEq)]
struct Keyed<T>(Vec<(u32, T)>);

impl<T: Value> Serialize for Keyed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(value, key)| (key, value)))
    }
}

impl<'de, T: Value> Deserialize<'de> for Keyed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Value> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Keyed<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keyed<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    pairs.push((value, key));
                }
                Ok(Keyed(pairs))
            }
        }
        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

/// What is written as what it has.
macro_rules! see_through {
    ($($of:ty, $numbers:ident => $draw:expr;)*) => {
        $(impl<T: Value> Value for $of {
            const ODD: Refused = T::ODD;
            const REFUSED: bool = T::REFUSED;

            fn draw($numbers: &mut Numbers<'_>) -> Self {
                $draw
            }
        })*
    };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

see_through! {
    Newtype<T>, numbers => Newtype(T::draw(numbers));
    Box<T>, numbers => Box::new(T::draw(numbers));
}

impl<T: Value> Value for Option<T> {
    const ODD: Refused = Refused { nil: true, ..T::ODD };
    const REFUSED: bool = T::REFUSED || T::ODD.nil;

    fn draw(numbers: &mut Numbers<'_>) -> Self {
        (numbers.below(3) > 0).then(|| T::draw(numbers))
    }
}

/// What serde reads from a copy.
macro_rules! copied {
    ($($of:ty, $numbers:ident => $draw:expr;)*) => {
        $(impl<T: Value> Value for $of {
            const ODD: Refused = Refused { copied: T::ODD.copied, nil: false };
            const REFUSED: bool = T::REFUSED || T::ODD.copied;

            fn draw($numbers: &mut Numbers<'_>) -> Self {
                $draw
            }
        })*
    };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    id: u8,
    #[serde(flatten)]
    rest: Named<T>,
    last: Option<T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open<T> {
    known: u8,
    #[serde(flatten)]
    others: BTreeMap<String, T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal<T> {
    Unit,
    One(Named<T>),
    Named { one: T },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Named { one: T },
    Two(T, T),
}

impl<T: Value> Value for Flat<T> {
    const ODD: Refused = Refused { copied: T::ODD.copied, nil: false };
    const REFUSED: bool = T::REFUSED || T::ODD.copied || T::ODD.nil;

    fn draw(numbers: &mut Numbers<'_>) -> Self {
        Flat { id: u8::draw(numbers), rest: Named::draw(numbers), last: Option::draw(numbers) }
    }
}

copied! {
    Open<T>, numbers => {
        let mut others: BTreeMap<String, T> = BTreeMap::draw(numbers);
        others.remove("known");
        Open { known: u8::draw(numbers), others }
    };
    Internal<T>, numbers => match numbers.below(3) {
        0 => Internal::Unit,
        1 => Internal::One(Named::draw(numbers)),
        _ => Internal::Named { one: T::draw(numbers) },
    };
    Untagged<T>, numbers => match numbers.below(2) {
        0 => Untagged::Named { one: T::draw(numbers) },
        _ => Untagged::Two(T::draw(numbers), T::draw(numbers)),
    };
}

/// What came of writing and reading values of a type.
#[derive(Default)]
struct Counts {
    written: u64,
    refused: u64,
}

fn check<T: Value>(numbers: &[u64], counts: &mut Counts) -> Result<(), TestCaseError> {
    let of = std::any::type_name::<T>();
    let value = T::draw(&mut Numbers(numbers.iter()));
    let mut bytes = b"before".to_vec();
    let mut canonical = Vec::new();
    let written = Codec::<T, T>::encode(&MessagePack, &value, &mut bytes);
    let as_key = Codec::<T, T>::encode_canonical(&MessagePack, &value, &mut canonical);
    match written {
        Err(error) => {
            prop_assert!(T::REFUSED, "{of} is refused: {error}: {value:?}");
            prop_assert_eq!(&bytes, b"before");
            prop_assert!(as_key.is_err() && canonical.is_empty());
            counts.refused += 1;
        }
        Ok(()) => {
            let read = Codec::<T, T>::decode(&MessagePack, &bytes[6..]);
            prop_assert!(read.is_ok(), "{of}: {value:?} is not read: {}", read.unwrap_err());
            prop_assert_eq!(&read.unwrap(), &value, "{}", of);
            prop_assert!(as_key.is_ok());
            let read = Codec::<T, T>::decode(&MessagePack, &canonical);
            prop_assert!(read.is_ok(), "{of} as a key: {value:?} is not read: {}", read.unwrap_err());
            counts.written += 1;
        }
    }
    Ok(())
}

type Check = fn(&[u64], &mut Counts) -> Result<(), TestCaseError>;

macro_rules! held {
    ($checks:ident, $($leaf:ty),*; $($holder:ident),*) => {
        held!(@ $checks, [$($leaf),*] [$($holder),*]);
    };
    (@ $checks:ident, [$($leaf:ty),*] $holders:tt) => {
        $($checks.extend([check::<$leaf> as Check]); held!(@@ $checks, $leaf, $holders);)*
    };
    (@@ $checks:ident, $leaf:ty, [$($holder:ident),*]) => {
        $($checks.extend([check::<$holder<$leaf>> as Check]);)*
    };
}

type Names<T> = BTreeMap<String, T>;
type Mixed<T> = (T, u8, T);

/// Each leaf in each holder.
fn leaves_held() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    held!(checks,
        Plain, u64, char, u128, (), Unit, Bytes, IpAddr, serde_json::Value;
        Vec, Mixed, Named, LeftOut, Names, External, Adjacent, Keyed, Newtype, Option, Flat, Open, Internal, Untagged);
    checks
}

/// Holders in holders, of what is odd.
fn holders_held() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    held!(checks,
        Option<u128>, Newtype<Option<()>>, External<IpAddr>, Internal<Option<Unit>>, Flat<Bytes>;
        Vec, Names, External, Adjacent, Newtype, Option, Flat, Internal, Untagged);
    checks
}

fn all_come_back_or_are_refused(checks: &[Check], cases: u32) -> Counts {
    let mut counts = Counts::default();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    for check in checks {
        let totals = std::cell::RefCell::new(&mut counts);
        let numbers = prop::collection::vec(prop_oneof![0..4u64, any::<u64>()], 0..60);
        let run = TestRunner::new(config.clone())
            .run(&numbers, |numbers| check(&numbers, &mut totals.borrow_mut()));
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }
    counts
}

#[test]
fn every_type_comes_back_from_every_place_or_is_refused_there() {
    let counts = all_come_back_or_are_refused(&leaves_held(), 60);
    assert!(counts.written > 10 * counts.refused && counts.refused > 500, "{} refused", counts.refused);
}

#[test]
fn what_is_odd_comes_back_from_places_in_places_or_is_refused_there() {
    let counts = all_come_back_or_are_refused(&holders_held(), 60);
    assert!(counts.written > counts.refused && counts.refused > 500, "{} refused", counts.refused);
}

fn refusal<T: Value>(value: T) -> String {
    let error = Codec::<T, T>::encode(&MessagePack, &value, &mut Vec::new()).unwrap_err().to_string();
    let as_key =
        Codec::<T, T>::encode_canonical(&MessagePack, &value, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, as_key);
    error
}

fn comes_back<T: Value>(value: T) {
    let mut bytes = Vec::new();
    Codec::<T, T>::encode(&MessagePack, &value, &mut bytes).unwrap();
    assert_eq!(Codec::<T, T>::decode(&MessagePack, &bytes).unwrap(), value);
}

#[test]
fn some_of_nothing_is_refused_and_says_what_to_do() {
    assert!(refusal(Some(())).contains("use an enum"));
    refusal(Some(None::<u8>));
    refusal(vec![(1u8, String::new())].into_iter().map(|_| Some(Newtype(Newtype(())))).collect::<Vec<_>>());
    refusal(Some(serde_json::Value::Null));
    refusal(BTreeMap::from([("a".to_owned(), Named { first: Some(Box::new(None::<u8>)), second: None })]));
    comes_back(Some(Some(1u8)));
    comes_back(None::<Option<u8>>);
    comes_back(Some(Unit));
    comes_back(Some(External::One(())));
    comes_back(Some(vec![None::<u8>]));
}

#[test]
fn what_serde_reads_from_a_copy_is_refused_there_alone() {
    assert!(
        refusal(Flat { id: 1, rest: Named { first: 1u128, second: 2 }, last: None }).contains("read back")
    );
    refusal(Internal::Named { one: 1i128 });
    refusal(Untagged::Two(1u128, 2));
    let local = IpAddr::from([127, 0, 0, 1]);
    refusal(Internal::Named { one: local });
    refusal(Open { known: 1, others: BTreeMap::from([("a".to_owned(), local)]) });
    comes_back(Internal::<u128>::Unit);
    // Beside what is copied.
    comes_back(Flat { id: 1, rest: Named { first: 1u8, second: 2 }, last: None });
    comes_back((1u8, 7u8, 2u8));
    comes_back(Pair(u128::MAX, 1));
    comes_back(Named { first: local, second: local });
}

#[test]
fn keys_that_are_not_equal_are_not_taken_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let cache: cachemere::Cache<Option<Option<u8>>, u8> =
        cachemere::Cache::builder(dir.path().join("store")).open().unwrap();
    cache.insert(&None, &1).unwrap();
    cache.insert(&Some(Some(0)), &2).unwrap();
    assert!(matches!(cache.insert(&Some(None), &3), Err(Error::Serialize { what: "key", .. })));
    assert!(matches!(cache.get(&Some(None)), Err(Error::Serialize { what: "key", .. })));
    let keys: BTreeSet<_> = cache.keys().map(Result::unwrap).collect();
    assert_eq!(keys, BTreeSet::from([None, Some(Some(0))]));
}

#[test]
fn a_value_that_could_not_be_read_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache: cachemere::Cache<str, Untagged<u128>> =
        cachemere::Cache::builder(dir.path().join("store")).open().unwrap();
    let value = Untagged::Two(1, 2);
    assert!(matches!(cache.insert("a", &value), Err(Error::Serialize { what: "value", .. })));
    assert!(matches!(cache.insert_many([("a", &value)]), Err(Error::Serialize { .. })));
    assert!(matches!(cache.update("a", |_| Some(value.clone())), Err(Error::Serialize { .. })));
    assert!(cache.is_empty().unwrap());
}
