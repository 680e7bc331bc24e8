//! What tests ask for in builds of their own: an end or a stop of the process at a named place, to see what the others and
//! the next make of it; and a rule that is broken, to see that the tests notice.

/// Ends this process as SIGKILL does, or stops it as SIGSTOP does, if a test has asked for it here: with
/// `CACHEMERE_FAULT=NAME:N` or `CACHEMERE_FAULT=stop:NAME:N`, the Nth time.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(in crate::store) fn point(_name: &str) {}

#[cfg(feature = "fault-injection")]
#[allow(unsafe_code)]
pub(in crate::store) fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Asked {
        signal: Signal,
        name: String,
        left: AtomicU64,
    }
    static ASKED: LazyLock<Option<Asked>> = LazyLock::new(|| {
        let asked = std::env::var("CACHEMERE_FAULT").ok()?;
        let (signal, asked) = match asked.strip_prefix("stop:") {
            Some(asked) => (Signal::STOP, asked),
            None => (Signal::KILL, asked.as_str()),
        };
        let (name, count) = asked.rsplit_once(':')?;
        Some(Asked { signal, name: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
    });
    if let Some(asked) = &*ASKED
        && asked.name == name
        && asked.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        if asked.signal == Signal::STOP {
            // To this thread, which so does not go on before all are stopped.
            // SAFETY: a plain system call.
            unsafe { libc::raise(libc::SIGSTOP) };
            return;
        }
        let _ = kill_process(getpid(), asked.signal);
        loop {
            std::thread::park();
        }
    }
}

/// Whether a test has asked for this rule to be broken: with `CACHEMERE_BREAK=NAME`.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(super) const fn breaks(_rule: &str) -> bool {
    false
}

#[cfg(feature = "fault-injection")]
pub(super) fn breaks(rule: &str) -> bool {
    use std::sync::LazyLock;
    static ASKED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("CACHEMERE_BREAK").ok());
    ASKED.as_deref() == Some(rule)
}

/// Keeps what is in a segment that is about to be removed, for [`recycle`].
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(super) const fn remember(_segment: &std::path::Path) {}

#[cfg(feature = "fault-injection")]
pub(super) fn remember(segment: &std::path::Path) {
    if !is_recycling() {
        return;
    }
    // For all processes, beside the store.
    if let (Some(kept), Ok(bytes)) = (kept_beside(segment), std::fs::read(segment)) {
        drop(std::fs::write(kept, bytes));
    }
}

/// Puts into a new segment, where its records will be, what was in an older one, as if files were used again.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "as the other one")]
pub(super) const fn recycle(
    _dir: &std::path::Path,
    _file: &std::fs::File,
    _size: u32,
) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
pub(super) fn recycle(dir: &std::path::Path, file: &std::fs::File, size: u32) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    // Behind the header, and before the table of any shape.
    let records = 128..size as usize / 2;
    let kept = kept_beside(&dir.join("log")).filter(|_| is_recycling());
    let Some(bytes) = kept.and_then(|kept| std::fs::read(kept).ok()) else { return Ok(()) };
    let end = records.end.min(bytes.len());
    file.write_all_at(bytes.get(records.start..end).unwrap_or_default(), records.start as u64)
}

#[cfg(feature = "fault-injection")]
fn is_recycling() -> bool {
    breaks("files are new") || breaks("checksums are chained")
}

#[cfg(feature = "fault-injection")]
fn kept_beside(segment: &std::path::Path) -> Option<std::path::PathBuf> {
    Some(segment.parent()?.parent()?.join("recycled"))
}
