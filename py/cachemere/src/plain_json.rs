//! From JSON to the safe form of the plain data that it means, as `json.loads` has it.

use cachemere::load::{Refusal, finite};

use crate::form::{BIG, DEPTH, DICT, FALSE, FLOAT, INT, LIST, NONE, STR, TRUE, put_bytes, put_length};

/// Longer integers take too long to convert; Python itself has a limit.
const MOST_DIGITS: usize = 4300;

/// Whether valid JSON is a number without a fraction or exponent.
pub(crate) fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes the form of valid JSON, in which numbers can be `NaN`, `Infinity` and `-Infinity`.
pub(crate) fn put(json: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut reader = Reader { rest: json };
    reader.value(out, 0)
}

/// Writes the form of what may be JSON.
pub(crate) fn put_unchecked(text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let check = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text);
    let checked = match (check(text), finite(text)) {
        (Err(_), Some(masked)) => check(&masked),
        (checked, _) => checked,
    };
    checked.map_err(|error| Refusal::record(format!("its value is no JSON: {error}")))?;
    put(text, out)
}

/// Numbers that JSON does not have, as Python writes them.
const NON_FINITE: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

fn put_float(number: f64, out: &mut Vec<u8>) {
    out.push(FLOAT);
    out.extend_from_slice(&number.to_le_bytes());
}

/// What is left of text that is known to be JSON.
struct Reader<'a> {
    rest: &'a str,
}

fn broken() -> Refusal {
    Refusal::record("it is no valid JSON")
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// The next byte that is not white space, which stays.
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.bytes().next()
    }

    /// Takes this character if it comes next.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Refusal> {
        self.rest = self.rest.strip_prefix(word).ok_or_else(broken)?;
        Ok(())
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), Refusal> {
        if depth > DEPTH {
            return Err(Refusal::record(format!("its value is nested more than {DEPTH} deep")));
        }
        match self.peek() {
            Some(b'"') => self.string(out),
            Some(b'{') => self.items(DICT, ('{', '}'), out, |reader, out| {
                reader.skip_space();
                reader.string(out)?;
                if !reader.takes(':') {
                    return Err(broken());
                }
                reader.value(out, depth + 1)
            }),
            Some(b'[') => self.items(LIST, ('[', ']'), out, |reader, out| reader.value(out, depth + 1)),
            Some(b't') => {
                out.push(TRUE);
                self.word("true")
            }
            Some(b'f') => {
                out.push(FALSE);
                self.word("false")
            }
            Some(b'n') => {
                out.push(NONE);
                self.word("null")
            }
            _ => match NON_FINITE.into_iter().find(|(word, _)| self.rest.starts_with(word)) {
                Some((word, number)) => {
                    put_float(number, out);
                    self.word(word)
                }
                None => self.number(out),
            },
        }
    }

    /// The number of items goes before them, and is known behind them.
    fn items(
        &mut self,
        tag: u8,
        (open, close): (char, char),
        out: &mut Vec<u8>,
        item: impl Fn(&mut Reader<'a>, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if !self.takes(open) {
            return Err(broken());
        }
        out.push(tag);
        let start = out.len();
        let mut count = 0;
        while !self.takes(close) {
            if count > 0 && !self.takes(',') {
                return Err(broken());
            }
            item(self, out)?;
            count += 1;
        }
        let mut length = Vec::new();
        put_length(&mut length, count);
        out.splice(start..start, length);
        Ok(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let inner = self.rest.strip_prefix('"').ok_or_else(broken)?;
        let (mut end, mut is_escaped) = (0, false);
        let bytes = inner.as_bytes();
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return Err(broken()),
            }
        }
        let (text, after) = inner.split_at_checked(end).ok_or_else(broken)?;
        if is_escaped {
            let quoted = self.rest.get(..end + 2).ok_or_else(broken)?;
            let text: String = serde_json::from_str(quoted)
                .map_err(|error| Refusal::record(format!("it has a string that is no text: {error}")))?;
            put_bytes(out, STR, text.as_bytes());
        } else {
            put_bytes(out, STR, text.as_bytes());
        }
        self.rest = after.get(1..).ok_or_else(broken)?;
        Ok(())
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end).ok_or_else(broken)?;
        self.rest = rest;
        if !is_integer(text) {
            let number: f64 = text.parse().map_err(|_| broken())?;
            put_float(number, out);
        } else if let Ok(number) = text.parse::<i64>() {
            out.push(INT);
            out.extend_from_slice(&number.to_le_bytes());
        } else if text.len() > MOST_DIGITS {
            return Err(Refusal::record(format!("it has an integer of more than {MOST_DIGITS} digits")));
        } else {
            put_bytes(out, BIG, &big_bytes(text));
        }
        Ok(())
    }
}

/// An integer as little-endian two's complement: as many bytes as its bits take, and one bit for the sign.
fn big_bytes(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for digit in text.bytes().filter(u8::is_ascii_digit) {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    if bytes.last().is_some_and(|top| *top >= 0x80) {
        bytes.push(0);
    }
    if text.starts_with('-') {
        let mut carry = true;
        for byte in &mut bytes {
            let (negated, overflows) = (!*byte).overflowing_add(u8::from(carry));
            *byte = negated;
            carry = overflows;
        }
    }
    bytes
}
