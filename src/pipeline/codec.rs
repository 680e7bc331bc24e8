//! The serializer stage: a value to bytes and back.

use std::any::{Any, TypeId, type_name};
use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rmp_serde::config::BytesMode;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::watched::Watched;
use super::{canonical, shape};
use crate::error::BoxError;

/// Turns values of type `T` into bytes and back. What it reads is an `O`: `T` itself for values, for keys their owned form, as
/// `String` for `str`.
///
/// Later versions of the program and other processes read the bytes, so they must depend on nothing but the value.
/// `decode` sees whatever is on the disk: on bytes that `encode` never wrote, it must fail and not panic.
///
/// ```
/// use cachemere::{BoxError, Codec};
///
/// /// Numbers as eight bytes.
/// struct BigEndian;
///
/// impl Codec<u64> for BigEndian {
///     fn name(&self) -> &str {
///         "u64-be"
///     }
///
///     fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         out.extend_from_slice(&value.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<u64, BoxError> {
///         Ok(u64::from_be_bytes(bytes.try_into()?))
///     }
/// }
/// ```
pub trait Codec<T: ?Sized, O = <T as ToOwned>::Owned>: Send + Sync + 'static {
    /// Returns the name that the store records. It stands for one byte format, for ever.
    fn name(&self) -> &str;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    ///
    /// When the value has no representation. `out` then holds an unspecified tail, which the caller drops.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Appends the canonical bytes of `value` to `out`: the same for all equal values. An entry is found by those of its
    /// key. Implement it if [`encode`](Self::encode), the default, gives equal values different bytes.
    ///
    /// # Errors
    ///
    /// Those of `encode`, and when the value has no canonical bytes.
    fn encode_canonical(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encode(value, out)
    }

    /// As [`encode_canonical`](Self::encode_canonical) for a key in [borrowed form](crate::KeyForm), with the same bytes. To be
    /// implemented by what writes keys as serde shows them.
    ///
    /// # Errors
    ///
    /// As there; unless it is implemented, always.
    fn encode_borrowed(&self, key: BorrowedKey<'_>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let (_, _) = (key, out);
        Err(format!("the serializer {:?} takes no keys in borrowed form", self.name()).into())
    }

    /// Returns the value that `bytes` stand for, all of them.
    ///
    /// # Errors
    ///
    /// When `bytes` are not exactly one value of the type.
    fn decode(&self, bytes: &[u8]) -> Result<O, BoxError>;

    /// Returns a number from 1 to 127 that says what kind of value the type is and never changes, or 0 (the default) for no
    /// such number. Implement it for types whose bytes could be mistaken for each other's: the number is recorded with each
    /// entry, and an entry of another kind is not decoded. See [`Undecodable`](crate::Undecodable).
    fn shape(&self) -> u8 {
        0
    }
}

/// Every type that serde knows, as [MessagePack](https://msgpack.org). The default serializer, named `msgpack`.
///
/// Structs are written as maps with field names, not as bare arrays. A cache outlives the program version that filled
/// it, and with names a struct can have its fields reordered, gain fields that have `#[serde(default)]`, and lose
/// fields, and still read its old entries. The names cost a few bytes per field, most of which compression takes back.
///
/// A number is never read as a number of another type or as a text, and neither are lists of numbers, although MessagePack
/// would allow some of that: a `Cache<str, f64>` does not read the 7 of a `Cache<str, u32>` as 7.0. Types are compared by
/// what they ask serde for, so it makes no difference if a type is renamed or moved, or which compiler is used. Fields of
/// structs are not compared: they are read by their names.
///
/// `[u8]` and `Vec<u8>` as the cached type are stored as they are. Inside other types they are arrays of numbers, as
/// serde has them (up to 2 bytes per byte, and slow): use `serde_bytes` there.
///
/// The maps in keys, and in values that are compared, are sorted, so an equal `HashMap` finds the entry. serde does not
/// distinguish sets from lists: a `HashSet` in a key's type is refused where it can be seen, which it cannot as the field of
/// a struct. Use a `BTreeSet` there.
///
/// What could not be read back is refused when it is written:
///
/// - `Some(None)` and `Some(())`, which would come back as `None`;
/// - what nests more than 128 deep (an enum variant with data counts as one, or two if it has several or named fields), since
///   nothing bounds the stack that reading it would take;
/// - numbers of 128 bits, structs without fields (`struct Unit;`) and types that have a form for people and another for
///   machines, as `IpAddr`, where serde cannot read them: inside of `#[serde(flatten)]`, `#[serde(tag = "…")]` and
///   `#[serde(untagged)]`. What has any of these anywhere, and is not one of them as a whole, is read once when it is
///   written, to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

/// How deep arrays and maps may nest: what serde_json allows, and far from the end of a 2 MiB thread stack.
const MAX_DEPTH: usize = 128;

impl<T, O> Codec<T, O> for MessagePack
where
    T: Serialize + ?Sized + 'static,
    O: Borrow<T> + DeserializeOwned + 'static,
{
    fn name(&self) -> &str {
        "msgpack"
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.write::<T, O, T>(value, out).map(drop)
    }

    fn encode_canonical(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.write_canonical::<T, O, T>(value, out)
    }

    fn encode_borrowed(&self, key: BorrowedKey<'_>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.write_canonical::<T, O, dyn Written + '_>(key.0, out)
    }

    fn shape(&self) -> u8 {
        shape::of::<O>()
    }

    fn decode(&self, bytes: &[u8]) -> Result<O, BoxError> {
        check(bytes)?;
        if let Some(content) = binary(bytes) {
            // serde would push the bytes one by one.
            let mut value: Option<O> = None;
            if let Some(slot) = (&mut value as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
                *slot = Some(content.to_vec());
            }
            if let Some(value) = value {
                return Ok(value);
            }
        }
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        let value = O::deserialize(&mut deserializer)?;
        // `check` saw exactly one value, but an odd `Deserialize` may have left a part of it unread.
        match IgnoredAny::deserialize(&mut deserializer) {
            Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(Malformed::Trailing.into()),
        }
    }
}

/// What can be written as MessagePack, whatever its type.
trait Written {
    /// Appends it, with structs as maps, and tells what it has, and whether it may not be readable for all that.
    fn write(&self, is_bytes: bool, out: &mut Vec<u8>) -> Result<(Shape, bool), BoxError>;

    /// Appends it, with structs as lists.
    fn write_compact(&self, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

impl<T: Serialize + ?Sized> Written for T {
    fn write(&self, is_bytes: bool, out: &mut Vec<u8>) -> Result<(Shape, bool), BoxError> {
        let start = out.len();
        let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map();
        let doubt = Cell::new(false);
        if is_bytes {
            self.serialize(&mut serializer.with_bytes(BytesMode::ForceIterables))?;
        } else {
            self.serialize(Watched::new(&mut serializer, &doubt))?;
        }
        // The serializer has no depth limit and believes the lengths that `Serialize` implementations announce; what
        // could not be read back must fail now, while the caller still has the value.
        let shape = check(out.get(start..).unwrap_or_default())?;
        Ok((shape, doubt.get()))
    }

    fn write_compact(&self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(rmp_serde::encode::write(out, self)?)
    }
}

/// A key in [borrowed form](crate::KeyForm), on its way to [`Codec::encode_borrowed`]; what implements that can hand it on to
/// [`MessagePack`].
pub struct BorrowedKey<'k>(&'k dyn Written);

impl<'k> BorrowedKey<'k> {
    pub(crate) fn new(key: &'k impl Serialize) -> BorrowedKey<'k> {
        BorrowedKey(key)
    }
}

impl fmt::Debug for BorrowedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowedKey").finish_non_exhaustive()
    }
}

impl MessagePack {
    /// Appends a `T` that can be read back as an `O`, and tells what it has.
    fn write<T, O, W>(&self, value: &W, out: &mut Vec<u8>) -> Result<Shape, BoxError>
    where
        T: Serialize + ?Sized + 'static,
        O: Borrow<T> + DeserializeOwned + 'static,
        W: Written + ?Sized,
    {
        let start = out.len();
        let of = TypeId::of::<T>();
        // Only for bytes as the whole value: inside flattened structs and untagged enums, serde cannot read a
        // `Vec<u8>` back from the binary type.
        let is_bytes = of == TypeId::of::<[u8]>() || of == TypeId::of::<Vec<u8>>();
        let result = value.write(is_bytes, out).and_then(|(shape, doubt)| {
            if doubt && !is_read_as_it_is(of) {
                Codec::<T, O>::decode(self, out.get(start..).unwrap_or_default())
                    .map_err(|error| format!("it could not be read back: {error}"))?;
            }
            Ok(shape)
        });
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// As [`write`](Self::write), with the same bytes for all that are equal.
    fn write_canonical<T, O, W>(&self, value: &W, out: &mut Vec<u8>) -> Result<(), BoxError>
    where
        T: Serialize + ?Sized + 'static,
        O: Borrow<T> + DeserializeOwned + 'static,
        W: Written + ?Sized,
    {
        let start = out.len();
        let shape = self.write::<T, O, W>(value, out)?;
        make_canonical(value, (type_name::<T>(), shape), out, start)
    }
}

/// Appends what several values together are told apart by: equal ones have equal bytes. They are never read back.
#[cfg(feature = "macros")]
pub(crate) fn canonical_parts<T: Serialize>(parts: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
    let start = out.len();
    match parts.write(false, out) {
        Ok((shape, _)) => make_canonical(parts, (type_name::<T>(), shape), out, start),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Gives what was written, from `start` on, the bytes that it has for all equal values.
fn make_canonical<W: Written + ?Sized>(
    value: &W,
    (of, shape): (&str, Shape),
    out: &mut Vec<u8>,
    start: usize,
) -> Result<(), BoxError> {
    let refused =
        || BoxError::from("a hash set is in no order by which it could be found again: use a BTreeSet");
    let sorted = match shape {
        Shape { has_list: true, .. } if canonical::names_unordered_set(of) => Err(refused()),
        Shape { has_map: false, .. } => Ok(()),
        // Structs look like maps, and stay as they are.
        Shape { has_map: true, .. } => {
            let mut compact = Vec::new();
            let written = value.write_compact(&mut compact);
            match written.and_then(|()| Ok(canonical::has_maps(&compact)?)) {
                Ok(true) => canonical::sort_maps(out, start).map_err(BoxError::from),
                done => done.map(drop),
            }
        }
    };
    if sorted.is_err() {
        out.truncate(start);
    }
    sorted
}

/// Whether nothing but the deserializer itself reads a type of which there would be doubt.
fn is_read_as_it_is(of: TypeId) -> bool {
    let types = [
        TypeId::of::<u128>(),
        TypeId::of::<i128>(),
        TypeId::of::<IpAddr>(),
        TypeId::of::<Ipv4Addr>(),
        TypeId::of::<Ipv6Addr>(),
        TypeId::of::<SocketAddr>(),
        TypeId::of::<SocketAddrV4>(),
        TypeId::of::<SocketAddrV6>(),
    ];
    types.contains(&of)
}

/// Why bytes are not one MessagePack value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Truncated,
    Trailing,
    TooDeep,
    Reserved,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated => f.write_str("the MessagePack value is cut short"),
            Malformed::Trailing => f.write_str("there are bytes after the MessagePack value"),
            Malformed::TooDeep => write!(f, "the MessagePack value nests deeper than {MAX_DEPTH} levels"),
            Malformed::Reserved => f.write_str("0xc1 is not a MessagePack type"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Takes the first `N` bytes off `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn take_u8(rest: &mut &[u8]) -> Result<u64, Malformed> {
    Ok(u8::from_be_bytes(take(rest)?).into())
}

fn take_u16(rest: &mut &[u8]) -> Result<u64, Malformed> {
    Ok(u16::from_be_bytes(take(rest)?).into())
}

fn take_u32(rest: &mut &[u8]) -> Result<u64, Malformed> {
    Ok(u32::from_be_bytes(take(rest)?).into())
}

/// How a value begins.
pub(super) struct Head {
    /// Bytes of its own that follow.
    pub(super) skip: usize,
    /// Values in it that follow, keys among them.
    pub(super) items: u64,
    pub(super) is_map: bool,
}

/// Takes the marker of a value off `rest`, with its length.
///
/// The type bytes are those of <https://github.com/msgpack/msgpack/blob/master/spec.md>.
#[inline(always)]
pub(super) fn head(rest: &mut &[u8]) -> Result<Head, Malformed> {
    let [marker] = take(rest)?;
    let (skip, items) = match marker {
        // Small integers, nil and booleans.
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
        // Maps, arrays and strings with the length in the marker.
        0x80..=0x8f => (0, u64::from(marker & 0x0f) * 2),
        0x90..=0x9f => (0, u64::from(marker & 0x0f)),
        0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
        // Binary and strings.
        0xc4 | 0xd9 => (take_u8(rest)?, 0),
        0xc5 | 0xda => (take_u16(rest)?, 0),
        0xc6 | 0xdb => (take_u32(rest)?, 0),
        // Extensions: a type byte is not counted in the length.
        0xc7 => (take_u8(rest)? + 1, 0),
        0xc8 => (take_u16(rest)? + 1, 0),
        0xc9 => (take_u32(rest)? + 1, 0),
        0xd4 => (2, 0),
        0xd5 => (3, 0),
        0xd6 => (5, 0),
        0xd7 => (9, 0),
        0xd8 => (17, 0),
        // Numbers.
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        // Arrays and maps.
        0xdc => (0, take_u16(rest)?),
        0xdd => (0, take_u32(rest)?),
        0xde => (0, take_u16(rest)? * 2),
        0xdf => (0, take_u32(rest)? * 2),
        0xc1 => return Err(Malformed::Reserved),
    };
    let skip = usize::try_from(skip).map_err(|_| Malformed::Truncated)?;
    Ok(Head { skip, items, is_map: matches!(marker, 0x80..=0x8f | 0xde | 0xdf) })
}

/// What a value has somewhere in it.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A map or a struct with more than one entry.
    pub(super) has_map: bool,
    /// A list with more than one item.
    pub(super) has_list: bool,
}

/// Checks that `bytes` are exactly one MessagePack value, at most `MAX_DEPTH` deep, whose lengths all fit.
///
/// rmp-serde 1.3 alone does not make hostile bytes safe: its depth limit counts arrays and maps but not enum variants,
/// so that a recursive enum exhausts the stack, which aborts the process; and it hands lengths to `Deserialize`
/// implementations as capacity hints unchecked, which serde's own types cap but others may not. One pass over the
/// markers, about a nanosecond each, settles both before any of that code runs.
pub(super) fn check(bytes: &[u8]) -> Result<Shape, Malformed> {
    let mut rest = bytes;
    let mut shape = Shape::default();
    // The values still to come in the innermost container, and in those around it.
    let mut left: u64 = 1;
    let mut outer = [0u64; MAX_DEPTH];
    let mut depth = 0;
    loop {
        while left == 0 {
            if depth == 0 {
                return if rest.is_empty() { Ok(shape) } else { Err(Malformed::Trailing) };
            }
            depth -= 1;
            left = outer.get(depth).copied().unwrap_or_default();
        }
        left -= 1;
        let Head { skip, items, is_map } = head(&mut rest)?;
        if skip > 0 {
            rest = rest.get(skip..).ok_or(Malformed::Truncated)?;
        }
        if items > 0 {
            // One has no order.
            shape.has_map |= is_map && items > 2;
            shape.has_list |= !is_map && items > 1;
            // Each value takes a byte at least.
            if items > rest.len() as u64 {
                return Err(Malformed::Truncated);
            }
            *outer.get_mut(depth).ok_or(Malformed::TooDeep)? = left;
            depth += 1;
            left = items;
        }
    }
}

/// The content, if these (checked) bytes are a value of the binary type.
fn binary(bytes: &[u8]) -> Option<&[u8]> {
    matches!(bytes.first()?, 0xc4..=0xc6).then(|| payload(bytes)).flatten()
}

/// What follows behind the head of a (checked) value that is alone.
pub(super) fn payload(mut bytes: &[u8]) -> Option<&[u8]> {
    head(&mut bytes).ok().map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn encode<T>(value: &T) -> Result<Vec<u8>, BoxError>
    where
        T: Serialize + ToOwned + ?Sized + 'static,
        T::Owned: DeserializeOwned + 'static,
    {
        let mut out = Vec::new();
        Codec::<T, T::Owned>::encode(&MessagePack, value, &mut out)?;
        Ok(out)
    }

    fn encode_into<T>(value: &T, out: &mut Vec<u8>) -> Result<(), BoxError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        Codec::<T, T>::encode(&MessagePack, value, out)
    }

    fn decode<T: Clone + Serialize + DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, BoxError> {
        Codec::<T>::decode(&MessagePack, bytes)
    }

    fn round<T: Clone + Serialize + DeserializeOwned + PartialEq + fmt::Debug + 'static>(value: T) {
        assert_eq!(decode::<T>(&encode(&value).unwrap()).unwrap(), value);
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
        count: u32,
        gone: bool,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        count: u32,
        #[serde(default)]
        added: Vec<u8>,
        name: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        One(Box<Tree>),
        Two(Box<Tree>, Box<Tree>),
        Named { inner: Box<Tree> },
        List(Vec<Tree>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Bytes { bytes: Vec<u8> },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: Untagged,
    }

    #[test]
    fn round_trips() {
        round(0u64);
        round(u64::MAX);
        round(i64::MIN);
        round(i128::MIN);
        round(u128::MAX);
        round(1.5f64);
        round(f32::MIN_POSITIVE);
        round('\u{1f980}');
        round(true);
        round(());
        round(String::from("text"));
        round("x".repeat(70_000));
        round(Some(3u8));
        round(None::<u8>);
        round((1u8, String::from("a"), vec![1.0f32]));
        round([7u16; 20]);
        round(vec![vec![1u8, 200], vec![]]);
        round((0..70_000u32).collect::<Vec<_>>());
        round(BTreeMap::from([(1u8, "one".to_owned()), (2, "two".to_owned())]));
        round(std::net::IpAddr::from([127, 0, 0, 1]));
        round(std::time::Duration::new(5, 6));
        round(Tree::Two(
            Box::new(Tree::One(Box::new(Tree::Leaf))),
            Box::new(Tree::Named { inner: Box::new(Tree::List(vec![Tree::Leaf, Tree::Leaf])) }),
        ));
        round(Flat { id: 1, rest: Untagged::Bytes { bytes: vec![0, 255] } });
        round(Flat { id: 1, rest: Untagged::Bytes { bytes: vec![] } });
        round(Untagged::Number(9));
    }

    #[test]
    fn unsized_types_and_trait_objects() {
        let text: Box<dyn Codec<str>> = Box::new(MessagePack);
        let mut out = b"before".to_vec();
        text.encode("hé", &mut out).unwrap();
        assert_eq!(text.name(), "msgpack");
        assert_eq!(out.get(..6), Some(&b"before"[..]), "encode appends");
        assert_eq!(text.decode(&out[6..]).unwrap(), "hé");

        let bytes: Box<dyn Codec<[u8]>> = Box::new(MessagePack);
        for len in [0, 1, 255, 256, 65_535, 65_536, 100_000] {
            let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = Vec::new();
            bytes.encode(&value, &mut out).unwrap();
            assert!(out.len() <= value.len() + 5, "bytes are stored as they are");
            assert_eq!(out, encode(&value).unwrap(), "[u8] and Vec<u8> agree");
            assert_eq!(bytes.decode(&out).unwrap(), value);
            assert!(bytes.decode(&out[..out.len() - 1]).is_err());
        }
        // An array of numbers is read as bytes too.
        assert_eq!(bytes.decode(&[0x92, 1, 0xcc, 255]).unwrap(), [1, 255]);
        // But bytes are nothing else than bytes.
        assert!(decode::<String>(&encode::<[u8]>(&[0xff, 0xfe]).unwrap()).is_err());
        assert!(decode::<u64>(&encode::<[u8]>(&[1]).unwrap()).is_err());
    }

    fn canonical<T>(value: &T) -> Result<Vec<u8>, BoxError>
    where
        T: Serialize + ToOwned + ?Sized + 'static,
        T::Owned: DeserializeOwned + 'static,
    {
        let mut out = b"before".to_vec();
        let done = Codec::<T, T::Owned>::encode_canonical(&MessagePack, value, &mut out);
        assert_eq!(out.get(..6), Some(&b"before"[..]));
        assert!(done.is_ok() || out.len() == 6);
        done.map(|()| out.split_off(6))
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Tagged {
        name: String,
        labels: HashMap<String, u8>,
    }

    #[test]
    fn only_real_maps_are_sorted() {
        // As they were always written, so that entries of older stores are found.
        let old = Old { name: "n".into(), count: 3, gone: true };
        assert_eq!(canonical(&old).unwrap(), encode(&old).unwrap());
        let tree = Tree::Two(Box::new(Tree::Leaf), Box::new(Tree::Named { inner: Box::new(Tree::Leaf) }));
        assert_eq!(canonical(&tree).unwrap(), encode(&tree).unwrap());
        assert_eq!(canonical("text").unwrap(), encode("text").unwrap());
        assert_eq!(canonical(&vec![2u8, 1]).unwrap(), encode(&vec![2u8, 1]).unwrap());
        let ordered: BTreeMap<String, u64> =
            (0..300).map(|n| (format!("{n:x}").repeat(n % 40), n as u64)).collect();
        assert_eq!(canonical(&ordered).unwrap(), encode(&ordered).unwrap());
        let ordered: BTreeMap<u64, ()> = (0..40).map(|n| (1 << n, ())).collect();
        assert_eq!(canonical(&ordered).unwrap(), encode(&ordered).unwrap());
    }

    #[test]
    fn a_set_without_order_is_no_key() {
        let set = HashSet::from([1u32, 2]);
        assert!(canonical(&set).unwrap_err().to_string().contains("BTreeSet"));
        assert!(canonical(&(1u8, Some(set.clone()))).is_err());
        assert!(canonical(&HashSet::from([1u32])).is_ok(), "one has no order");
        assert!(encode(&set).is_ok(), "as a value it is as good as any");
        assert!(canonical(&BTreeSet::from([1u32, 2])).is_ok());
    }

    #[test]
    fn structs_may_change() {
        let old = Old { name: "n".into(), count: 3, gone: true };
        let new: New = decode(&encode(&old).unwrap()).unwrap();
        assert_eq!(new, New { count: 3, added: vec![], name: "n".into() });
        assert!(decode::<Old>(&encode(&new).unwrap()).is_err(), "`gone` has no default");
    }

    #[test]
    fn every_byte_counts() {
        let good = encode(&Old { name: "n".into(), count: 70_000, gone: false }).unwrap();
        for len in 0..good.len() {
            assert!(decode::<Old>(&good[..len]).is_err(), "cut to {len}");
        }
        let mut long = good;
        long.push(0xc0);
        assert!(decode::<Old>(&long).unwrap_err().to_string().contains("after"));
        assert!(decode::<u64>(&[]).is_err());
        assert!(decode::<u64>(&[0xc1]).is_err());
        assert!(decode::<u64>(&[0xa1, b'x']).is_err());
        assert!(decode::<(u8, u8)>(&[0x93, 1, 2, 3]).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_both_ways() {
        // A newtype variant in a newtype variant...: rmp-serde alone overflows the stack here.
        let mut hostile = Vec::new();
        for _ in 0..1_000_000 {
            hostile.extend_from_slice(b"\x81\xa3One");
        }
        hostile.extend_from_slice(b"\xa4Leaf");
        assert!(decode::<Tree>(&hostile).unwrap_err().to_string().contains("deeper"));
        assert_eq!(check(&vec![0x91; 1_000_000]), Err(Malformed::TooDeep));
        // Nested in something that the type ignores.
        let mut ignored = b"\x84\xa4name\xa1n\xa5count\x01\xa4gone\xc2\xa4more".to_vec();
        ignored.extend(std::iter::repeat_n(0x91, 1_000_000));
        ignored.push(0xc0);
        assert!(decode::<Old>(&ignored).is_err());

        let nested = |depth| (0..depth).fold(Tree::Leaf, |tree, _| Tree::One(Box::new(tree)));
        round(nested(MAX_DEPTH));
        let mut out = b"kept".to_vec();
        assert!(encode_into(&nested(MAX_DEPTH + 1), &mut out).is_err());
        assert_eq!(out, b"kept");
        let doubly = |depth| (0..depth).fold(Tree::Leaf, |tree, _| Tree::Named { inner: Box::new(tree) });
        round(doubly(MAX_DEPTH / 2));
        assert!(encode(&doubly(MAX_DEPTH / 2 + 1)).is_err());
    }

    /// Allocates what the size hint says, as some collections do.
    #[derive(Clone, Debug, Serialize)]
    struct Greedy;

    impl<'de> Deserialize<'de> for Greedy {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Greedy, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Greedy;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a sequence")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Greedy, A::Error> {
                    assert!(seq.size_hint().is_none_or(|hint| hint < 100));
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    Ok(Greedy)
                }
            }
            deserializer.deserialize_seq(Visitor)
        }
    }

    #[test]
    fn bogus_lengths_reach_nobody() {
        for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
            let bytes = [marker, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
            assert_eq!(check(&bytes), Err(Malformed::Truncated));
            assert!(decode::<Greedy>(&bytes).is_err());
            assert!(decode::<Vec<u64>>(&bytes).is_err());
            assert!(decode::<Vec<u8>>(&bytes).is_err());
            assert!(decode::<String>(&bytes).is_err());
            assert!(decode::<BTreeMap<u8, u8>>(&bytes).is_err());
        }
        assert!(decode::<Greedy>(&[0x93, 1, 2, 3]).is_ok());
    }

    /// Announces three elements and writes two.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Liar(u8);

    impl Serialize for Liar {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(Some(3))?;
            seq.serialize_element(&1)?;
            seq.serialize_element(&2)?;
            seq.end()
        }
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Refuses(u8);

    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        assert!(encode(&Liar(0)).is_err());
        let mut out = b"kept".to_vec();
        let refused = encode_into(&(1u8, Refuses(0)), &mut out).unwrap_err();
        assert!(refused.to_string().contains("no"));
        assert_eq!(out, b"kept");
    }

    type Mixed = BTreeMap<String, (i64, Option<f64>, Vec<u16>, [u8; 3])>;

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Tree>(&bytes);
            let _ = decode::<Old>(&bytes);
            let _ = decode::<Flat>(&bytes);
            let _ = decode::<Vec<u8>>(&bytes);
            let _ = decode::<BTreeMap<String, Option<f64>>>(&bytes);
        }

        #[test]
        fn equal_maps_have_one_canonical_form(pairs: Vec<(String, Vec<(i64, Option<String>)>)>, turn: prop::sample::Index) {
            type Nested = HashMap<String, HashMap<i64, Option<String>>>;
            let one: Nested =
                pairs.iter().map(|(key, inner)| (key.clone(), inner.iter().cloned().collect())).collect();
            // The same map, made in another order by another hasher.
            let mut entries: Vec<_> = one.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            if !entries.is_empty() {
                let turn = turn.index(entries.len());
                entries.rotate_left(turn);
            }
            let other: Nested = entries
                .into_iter()
                .map(|(key, inner)| {
                    let mut inner: Vec<_> = inner.clone().into_iter().collect();
                    inner.sort();
                    (key.clone(), inner.into_iter().collect())
                })
                .collect();
            prop_assert_eq!(&one, &other);
            let bytes = canonical(&one).unwrap();
            prop_assert_eq!(&bytes, &canonical(&other).unwrap());
            prop_assert_eq!(decode::<Nested>(&bytes).unwrap(), one.clone());
            prop_assert_eq!(bytes.len(), encode(&one).unwrap().len());
            let tagged = one.into_iter().map(|(name, inner)| Tagged {
                name,
                labels: inner.into_iter().map(|(key, value)| (value.unwrap_or_default(), key as u8)).collect(),
            });
            for tagged in tagged {
                let mut again = tagged.clone();
                again.labels = again.labels.into_iter().collect();
                let bytes = canonical(&tagged).unwrap();
                prop_assert_eq!(&bytes, &canonical(&again).unwrap());
                prop_assert_eq!(decode::<Tagged>(&bytes).unwrap(), tagged);
            }
        }

        #[test]
        fn what_is_written_passes_the_check(value: Mixed) {
            let bytes = encode(&value).unwrap();
            prop_assert!(check(&bytes).is_ok());
            prop_assert_eq!(decode::<Mixed>(&bytes).unwrap(), value);
        }
    }
}
