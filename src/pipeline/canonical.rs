//! The one form of a MessagePack value that is the same for equal values: maps in the order of their keys.
//!
//! What lies in no particular order has another one in each process, and in each instance: a `HashMap` would not be
//! found again by an equal one.

use super::codec::{Malformed, Shape, check, head, payload};

/// Rewrites the value at the end of `out`, from `start` on, in its canonical form. The value was checked before.
///
/// Texts are compared by their bytes, everything else by its encoding, which for numbers that are not negative is their
/// order. So most of what comes out of a `BTreeMap` stays as it is. A struct beside a map
/// has its fields sorted, too, since it is written like one; where there are no maps, `sort_maps` is not called.
pub(super) fn sort_maps(out: &mut Vec<u8>, start: usize) -> Result<(), Malformed> {
    let mut sorted = Vec::with_capacity(out.len().saturating_sub(start));
    let mut rest = out.get(start..).unwrap_or_default();
    copy_sorted(&mut rest, &mut sorted)?;
    out.truncate(start);
    out.append(&mut sorted);
    Ok(())
}

/// Returns whether a type's name contains a set that serde writes as a list, in no fixed order.
pub(super) fn names_unordered_set(name: &str) -> bool {
    ["HashSet<", "IndexSet<"].iter().any(|set| name.contains(set))
}

/// Returns whether a value contains maps. To distinguish them from structs, it is written with structs as lists.
pub(super) fn has_maps(compact: &[u8]) -> Result<bool, Malformed> {
    check(compact).map(|Shape { has_map, .. }| has_map)
}

/// Takes one value off `rest`. It recurses as deep as the value nests, which is bounded by the check.
fn copy_sorted(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let all = *rest;
    let head = head(rest)?;
    *rest = rest.get(head.skip..).ok_or(Malformed::Truncated)?;
    out.extend_from_slice(all.get(..all.len() - rest.len()).unwrap_or_default());
    if !head.is_map {
        return (0..head.items).try_for_each(|_| copy_sorted(rest, out));
    }
    let mut entries = Vec::new();
    for _ in 0..head.items / 2 {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        copy_sorted(rest, &mut key)?;
        copy_sorted(rest, &mut value)?;
        entries.push((key, value));
    }
    entries.sort_by(|(a, _), (b, _)| match (text(a), text(b)) {
        (Some(a), Some(b)) => a.cmp(b),
        _ => a.cmp(b),
    });
    entries.iter().for_each(|(key, value)| out.extend([key.as_slice(), value].concat()));
    Ok(())
}

/// The content of a (checked) text.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.first()? {
        0xa0..=0xbf | 0xd9..=0xdb => payload(bytes),
        _ => None,
    }
}
