//! Points in time and lengths of it, which are seconds in Python.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachemere::{EntryInfo, EntryTimes};
use pyo3::prelude::*;

use crate::errors::raise;

/// Creation, access, modification, expiry (seconds since 1970), size in bytes, and the seconds without access after which
/// an entry expires.
pub(crate) type Times = (f64, f64, f64, Option<f64>, u64, Option<f64>);
/// Creation, access and expiry, in seconds since 1970.
pub(crate) type GivenTimes = (f64, f64, Option<f64>);

/// A length of time that is given as an option or argument named `what`.
pub(crate) fn seconds(what: &str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_micros(1) => Ok(Some(duration)),
        _ => Err(Python::attach(|py| {
            raise(
                py,
                "InvalidOptionError",
                (format!("{what} must be a number of seconds from 0.000001 to 1.8e19, not {seconds}"),),
            )
        })),
    }
}

/// Times in seconds since 1970, to the microsecond.
pub(crate) fn given((created, accessed, expires): GivenTimes) -> PyResult<EntryTimes> {
    // That of the year 9999, which `datetime` has as its last. Milliseconds are beyond it.
    const LAST: f64 = 253_402_300_800.0;
    let checked = |what: &str, time: f64, first: f64, or: &str| match (first..LAST).contains(&time) {
        true => Ok(point(time)),
        false => {
            let message = format!("{what} must be a time in seconds since 1970{or}, not {time}");
            Err(Python::attach(|py| raise(py, "InvalidOptionError", (message,))))
        }
    };
    Ok(EntryTimes {
        created: checked("the creation time", created, 0.0, "")?,
        accessed: checked("the access time", accessed, 0.0, "")?,
        expires: expires.map(|time| checked("the expiry", time, -LAST, ", or None for never")).transpose()?,
    })
}

/// A time before 1970 becomes the start of it. Rounded, since a time of [`stamp`] is not exactly one of microseconds.
fn point(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros((seconds * 1e6).round() as u64)
}

pub(crate) fn stamp(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What an entry says of itself.
pub(crate) fn times(info: &EntryInfo) -> Times {
    let expires = info.expires.map(stamp);
    let idle = info.idle.map(|idle| idle.as_secs_f64());
    (stamp(info.created), stamp(info.accessed), stamp(info.modified), expires, info.stored_size, idle)
}
