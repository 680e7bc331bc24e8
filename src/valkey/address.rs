//! Where a store is: `valkey://user@host:port/database?store=name`.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::error::{Error, Result};

const SCHEME: &str = "valkey";
const USUAL_PORT: u16 = 6379;
const USUAL_STORE: &str = "default";
const LONGEST_STORE: usize = 64;

/// A server, a database in it, and a store in that. Has no password, so it can be shown to anybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u16,
    pub(super) user: Option<String>,
    pub(super) store: String,
}

impl Address {
    /// Reads what a user has written.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], which shows nothing of it where a password can be.
    pub(super) fn parse(text: &str) -> Result<Address> {
        let refused = |reason: String| Error::invalid("address", reason);
        let form = "an address is written valkey://user@host:6379/0?store=name, and all but valkey://host can be left out";
        let Some((scheme, _)) = text.split_once("://") else { return Err(refused(form.to_owned())) };
        match scheme.to_ascii_lowercase().as_str() {
            SCHEME => {}
            "valkeys" | "rediss" => {
                return Err(refused("TLS is not supported yet; use valkey:// through a tunnel".to_owned()));
            }
            "redis" => {
                return Err(refused("write valkey:// in place of redis://, for Redis, too".to_owned()));
            }
            _ => return Err(refused(form.to_owned())),
        }
        let url = Url::parse(text).map_err(|error| refused(format!("{error}; {form}")))?;
        if url.password().is_some() {
            let places = "give it by itself, or in the environment variable CACHEMERE_VALKEY_PASSWORD or \
                          CACHEMERE_VALKEY_PASSWORD_FILE";
            return Err(refused(format!(
                "it has a password in it, which would be seen wherever it is shown: {places}"
            )));
        }
        if url.fragment().is_some() {
            return Err(refused(format!("it has a fragment, #…; {form}")));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => {
                decoded(name).ok_or_else(|| refused("its host is no text".to_owned()))?
            }
            Some(Host::Ipv4(number)) => number.to_string(),
            Some(Host::Ipv6(number)) => number.to_string(),
            _ => return Err(refused(format!("it names no host; {form}"))),
        };
        let user = match url.username() {
            "" => None,
            name => Some(decoded(name).ok_or_else(|| refused("its user is no text".to_owned()))?),
        };
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| {
                refused(format!("the part behind the host is a database's number, and {number:?} is none"))
            })?,
        };
        let mut store = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "store" if store.is_none() => store = Some(value.into_owned()),
                "store" => return Err(refused("it names two stores".to_owned())),
                other => return Err(refused(format!("it has a part {other:?}, which is not known; {form}"))),
            }
        }
        let store = store.unwrap_or_else(|| USUAL_STORE.to_owned());
        check_store(&store)?;
        Ok(Address { host, port: url.port().unwrap_or(USUAL_PORT), database, user, store })
    }
}

/// The name is part of patterns, and of what people read in the server's own tools.
fn check_store(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match name.len() {
        1..=LONGEST_STORE if name.bytes().all(is_plain) => Ok(()),
        _ => Err(Error::invalid(
            "address",
            format!(
                "the name of a store has 1 to {LONGEST_STORE} of letters, digits, '_', '-' and '.', which {name:?} has not"
            ),
        )),
    }
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port, database, store, .. } = self;
        match host.contains(':') {
            true => write!(f, "{SCHEME}://[{host}]:{port}/{database}?store={store}"),
            false => write!(f, "{SCHEME}://{host}:{port}/{database}?store={store}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_usual() {
        let plain = Address::parse("valkey://cache").unwrap();
        assert_eq!(plain.to_string(), "valkey://cache:6379/0?store=default");
        assert_eq!(plain.user, None);
        let full = Address::parse("VALKEY://app%40x@[::1]:7000/3?store=a.b").unwrap();
        assert_eq!(full.to_string(), "valkey://[::1]:7000/3?store=a.b");
        assert_eq!((full.user.as_deref(), full.host.as_str()), (Some("app@x"), "::1"));
        assert_eq!(Address::parse(&full.to_string()).unwrap(), Address { user: None, ..full });
    }

    #[test]
    fn what_cannot_be_is_refused_and_no_password_is_shown() {
        for (text, said) in [
            ("valkey://user:hidden@host", "a password"),
            ("valkey://:hidden@host", "a password"),
            ("redis://user:hidden@host", "valkey:// in place"),
            ("valkeys://user:hidden@host", "TLS"),
            ("http://user:hidden@host", "is written"),
            ("user:hidden@host", "is written"),
            ("valkey://", "no host"),
            ("valkey:///0", "no host"),
            ("valkey://host:port", "port"),
            ("valkey://host:99999", "port"),
            ("valkey://host/zero", "\"zero\""),
            ("valkey://host/-1", "\"-1\""),
            ("valkey://host/0/1", "\"0/1\""),
            ("valkey://host?store=", "a store"),
            ("valkey://host?store=a*", "a store"),
            ("valkey://host?store=a&store=b", "two stores"),
            ("valkey://host?shop=a", "\"shop\""),
            ("valkey://host#0", "fragment"),
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(matches!(error, Error::Invalid { .. }), "{text}: {error:?}");
            let shown = error.to_string();
            assert!(shown.contains(said) && !shown.contains("hidden"), "{text}: {shown}");
        }
    }
}
