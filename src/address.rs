//! What a path says that names no directory: an address of somewhere else.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The scheme of a path that is written as an address, `scheme://…`. `None`: it is meant as a path.
pub(crate) fn scheme(path: &Path) -> Option<&str> {
    let text = path.as_os_str().as_bytes();
    let end = text.windows(3).position(|three| three == b"://")?;
    let scheme = str::from_utf8(text.get(..end)?).ok()?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_one = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_part);
    is_one.then_some(scheme)
}

/// Refuses an address where a directory is to be. A directory of its name, `./valkey:/`, is what nobody means.
pub(crate) fn refuse(what: &'static str, path: &Path) -> Result<()> {
    // Of the address nothing but the scheme is told: behind it there can be a password.
    let Some(scheme) = scheme(path) else { return Ok(()) };
    let advice = match scheme.to_ascii_lowercase().as_str() {
        "file" => "write the path without it",
        _ => {
            "only directories on this machine are supported; one of such a name is written with ./ before it"
        }
    };
    Err(Error::invalid(what, format!("it is an address that begins with {scheme}://; {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        for (text, expected) in [
            ("valkey://host", Some("valkey")),
            ("VALKEY://", Some("VALKEY")),
            ("redis+unix://s", Some("redis+unix")),
            ("s3://bucket/a://b", Some("s3")),
            ("file:///tmp/a", Some("file")),
            ("valkey:/host", None),
            ("./valkey://host", None),
            ("/tmp/valkey://host", None),
            ("://host", None),
            ("3s://bucket", None),
            ("a b://c", None),
            ("é://c", None),
            ("store", None),
            ("", None),
        ] {
            assert_eq!(scheme(Path::new(text)), expected, "{text}");
        }
    }
}
