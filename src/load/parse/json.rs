//! Finding key and value in lines of JSON, without building what else is in them.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::record::{Field, Record, Refusal};

/// Where key and value are.
pub(crate) struct Paths {
    key: Path,
    value: Option<Path>,
    /// Lines are lists of two, the first for the key's path, the second for the value's.
    pairs: bool,
    /// Whether numbers can be others than JSON has.
    non_finite: bool,
}

/// Names of members from the outside in, as given and taken apart.
struct Path {
    whole: String,
    steps: Vec<String>,
}

impl Path {
    fn new(whole: &str) -> Path {
        Path { whole: whole.to_owned(), steps: whole.split('.').map(str::to_owned).collect() }
    }

    fn none() -> Path {
        Path { whole: String::new(), steps: Vec::new() }
    }

    fn missing(&self) -> Refusal {
        Refusal::record(format!("there is no {:?} in it", self.whole))
    }
}

impl Paths {
    pub(crate) fn of_lines(key: &str, value: Option<&str>, non_finite: bool) -> Paths {
        Paths { key: Path::new(key), value: value.map(Path::new), pairs: false, non_finite }
    }

    pub(crate) fn of_pairs(key: Option<&str>, value: Option<&str>, non_finite: bool) -> Paths {
        let path = |path: Option<&str>| path.map_or_else(Path::none, Path::new);
        Paths { key: path(key), value: Some(path(value)), pairs: true, non_finite }
    }

    pub(super) fn find<'a>(&self, line: &'a [u8]) -> Result<Record<'a>, Refusal> {
        let line = std::str::from_utf8(line).map_err(|_| Refusal::record("it is not UTF-8"))?;
        let (key, value) = match self.parts(line) {
            Err(refused) if self.non_finite => match finite(line) {
                Some(masked) => {
                    let (key, value) = self.parts(&masked)?;
                    let place = |part| same_place(&masked, part, line);
                    place(key).zip(place(value)).ok_or(refused)?
                }
                None => return Err(refused),
            },
            found => found?,
        };
        let value = if self.value.is_some() { Field::Json(value) } else { Field::Line(value) };
        Ok(Record { key: Field::Json(key), value })
    }

    fn parts<'a>(&self, line: &'a str) -> Result<(&'a str, &'a str), Refusal> {
        if self.pairs { self.in_pair(line) } else { self.in_object(line) }
    }

    fn in_pair<'a>(&self, line: &'a str) -> Result<(&'a str, &'a str), Refusal> {
        let (first, second) = serde_json::from_str::<(&RawValue, &RawValue)>(line).map_err(broken)?;
        let value = match &self.value {
            Some(path) => follow(second.get(), path, &path.steps)?,
            None => second.get(),
        };
        Ok((follow(first.get(), &self.key, &self.key.steps)?, value))
    }

    fn in_object<'a>(&self, line: &'a str) -> Result<(&'a str, &'a str), Refusal> {
        let (key_name, key_rest) = self.key.steps.split_first().ok_or_else(|| self.key.missing())?;
        let value = self.value.as_ref().and_then(|path| Some((path, path.steps.split_first()?)));
        let names = [Some(key_name.as_str()), value.map(|(_, (name, _))| name.as_str())];
        let [key, found] = members(line, names)?;
        let key = follow(key.ok_or_else(|| self.key.missing())?, &self.key, key_rest)?;
        match value {
            Some((path, (_, rest))) => Ok((key, follow(found.ok_or_else(|| path.missing())?, path, rest)?)),
            None => Ok((key, line)),
        }
    }
}

/// JSON in whose place `NaN`, `Infinity` and `-Infinity` can stand, with numbers of the same length for them; `None` if there
/// are none.
pub fn finite(json: &str) -> Option<String> {
    let mut masked = String::new();
    let mut rest = json;
    while let Some(at) = rest.find(['"', 'N', 'I']) {
        let (before, after) = rest.split_at_checked(at)?;
        masked.push_str(before);
        let taken = if after.starts_with('"') {
            let length = quoted(after)?;
            masked.push_str(after.get(..length)?);
            length
        } else {
            let word = ["NaN", "Infinity"].into_iter().find(|word| after.starts_with(word))?;
            masked.extend(std::iter::repeat_n('1', word.len()));
            word.len()
        };
        rest = after.get(taken..)?;
    }
    masked.push_str(rest);
    (masked != json).then_some(masked)
}

/// The length of the string of JSON at the start, with its quotes.
fn quoted(json: &str) -> Option<usize> {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(end + 2)
}

/// What lies in `other` where `part` lies in `whole`.
fn same_place<'o>(whole: &str, part: &str, other: &'o str) -> Option<&'o str> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    other.get(start..start + part.len())
}

fn broken(error: serde_json::Error) -> Refusal {
    let told = error.to_string();
    // The line that it counts is always the first.
    let told = told.rsplit_once(" at line ").map_or(told.as_str(), |(told, _)| told);
    Refusal::record(format!("it is not the JSON expected: {told}, at column {}", error.column()))
}

/// Goes down the steps of a path.
fn follow<'a>(mut json: &'a str, path: &Path, steps: &[String]) -> Result<&'a str, Refusal> {
    for step in steps {
        let [found, _] = members(json, [Some(step), None])?;
        json = found.ok_or_else(|| path.missing())?;
    }
    Ok(json)
}

/// The members of these names in an object, or the items of these numbers in a list; of several the last.
fn members<'a>(json: &'a str, names: [Option<&str>; 2]) -> Result<[Option<&'a str>; 2], Refusal> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_any(Members { names }).map_err(broken)?;
    reader.end().map_err(broken)?;
    Ok(found)
}

struct Members<'n> {
    names: [Option<&'n str>; 2],
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = [Option<&'de str>; 2];

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] = self.names;
        write!(f, "an object with {:?}", first.unwrap_or_default())?;
        match second {
            Some(second) => write!(f, " and {second:?}"),
            None => Ok(()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; 2];
        while let Some(wanted) = map.next_key_seed(Wanted { names: self.names })? {
            if wanted == [false; 2] {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let json = map.next_value::<&'de RawValue>()?.get();
            for (found, wanted) in found.iter_mut().zip(wanted) {
                if wanted {
                    *found = Some(json);
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let numbers = self.names.map(|name| name.and_then(|name| name.parse::<usize>().ok()));
        if numbers == [None; 2] {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let (mut found, mut at) = ([None; 2], 0);
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            for (found, number) in found.iter_mut().zip(numbers) {
                if number == Some(at) {
                    *found = Some(item.get());
                }
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Reads a member's name only to compare it.
struct Wanted<'n> {
    names: [Option<&'n str>; 2],
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = [bool; 2];

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<[bool; 2], D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = [bool; 2];

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<[bool; 2], E> {
        Ok(self.names.map(|wanted| wanted == Some(name)))
    }
}
