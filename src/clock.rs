//! Points in time, and where they come from.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: whole microseconds since the Unix epoch, the unit of every time in an entry's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    /// Before every time a clock gives; in the header's optional fields it means "none".
    pub(crate) const ZERO: Time = Time(0);

    pub(crate) fn saturating_add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }

    pub(crate) fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }

    pub(crate) fn from_system(time: SystemTime) -> Time {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// A length of time in whole microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Span(pub(crate) u64);

impl Span {
    pub(crate) fn from_duration(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Where a cache takes the time from.
///
/// The default is the system's clock. A test can bring its own and make entries expire without waiting:
///
/// ```
/// use cachemere::{Cache, Clock};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::{Duration, SystemTime};
///
/// #[derive(Default)]
/// struct Seconds(AtomicU64);
/// impl Clock for Seconds {
///     fn now(&self) -> SystemTime {
///         SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.0.load(Ordering::Relaxed))
///     }
/// }
///
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let clock = Arc::new(Seconds::default());
/// let cache: Cache<str, u32> = Cache::builder(dir.path().join("store"))
///     .time_to_live(Duration::from_secs(60))
///     .clock(clock.clone())
///     .open()?;
/// cache.insert("a", &1)?;
/// clock.0.store(61, Ordering::Relaxed);
/// assert_eq!(cache.get("a")?, None);
/// # Ok(())
/// # }
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time now. All processes that share a store must agree on it.
    fn now(&self) -> SystemTime;
}

/// The clock of one store in this process.
#[derive(Clone, Default)]
pub(crate) enum ClockSource {
    #[default]
    System,
    Custom(Arc<dyn Clock>),
}

impl ClockSource {
    /// The exact time (about 25 ns).
    pub(crate) fn now(&self) -> Time {
        match self {
            ClockSource::System => Time::from_system(SystemTime::now()),
            ClockSource::Custom(clock) => Time::from_system(clock.now()),
        }
    }

    /// The time as of the kernel's last timer tick, 1 to 10 ms ago (about 5 ns): for access times on the hot path.
    pub(crate) fn now_coarse(&self) -> Time {
        match self {
            #[cfg(target_os = "linux")]
            ClockSource::System => {
                let t = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
                Time((t.tv_sec.max(0) as u64).saturating_mul(1_000_000) + (t.tv_nsec.max(0) as u64) / 1_000)
            }
            #[cfg(not(target_os = "linux"))]
            ClockSource::System => self.now(),
            ClockSource::Custom(clock) => Time::from_system(clock.now()),
        }
    }
}

impl fmt::Debug for ClockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClockSource::System => "System",
            ClockSource::Custom(_) => "Custom",
        })
    }
}
