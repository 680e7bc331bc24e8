//! Which run of the operating system this is: the page cache survives the end of a process, but not of a boot.

/// The longest boot id that is told apart; longer ones are not used.
pub(crate) const BOOT_ID_MAX: usize = 64;

/// The id of one boot of one machine: 1 to [`BOOT_ID_MAX`] bytes, compared as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BootId {
    len: u8,
    // Zero from `len` on, so that the derived comparison is right.
    bytes: [u8; BOOT_ID_MAX],
}

impl BootId {
    /// The id of the running boot, asked anew on each call; `None` where the platform has none that can be read.
    ///
    /// Only Linux has one here: elsewhere it takes a system call that safe Rust does not offer, and a store without a
    /// boot id is still right, only its commits are slower.
    pub(crate) fn current() -> Option<BootId> {
        // Not cached: a process that was checkpointed and restored, or moved to another machine, lives through a boot.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return read("/proc/sys/kernel/random/boot_id");
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        return None;
    }

    /// The id with these bytes; `None` when there are none, or too many.
    pub(crate) fn new(bytes: &[u8]) -> Option<BootId> {
        let len = u8::try_from(bytes.len()).ok().filter(|&len| len > 0)?;
        let mut id = BootId { len, bytes: [0; BOOT_ID_MAX] };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// The bytes of the id.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl std::fmt::Debug for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BootId({})", self.as_bytes().escape_ascii())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn read(path: &str) -> Option<BootId> {
    // No /proc (a bare chroot), or a sandbox that hides it: the caller does without.
    BootId::new(std::fs::read(path).ok()?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_bytes_and_refuses_none_or_too_many() {
        assert_eq!(BootId::new(b"abc").unwrap().as_bytes(), b"abc");
        assert_eq!(BootId::new(&[7; 64]).unwrap().as_bytes(), &[7; 64]);
        assert_eq!(BootId::new(b""), None);
        assert_eq!(BootId::new(&[7; 65]), None);
        assert_eq!(BootId::new(&[7; 300]), None);
    }

    #[test]
    fn ids_are_equal_only_when_all_bytes_are() {
        assert_eq!(BootId::new(b"abc"), BootId::new(b"abc"));
        assert_ne!(BootId::new(b"abc"), BootId::new(b"abd"));
        assert_ne!(BootId::new(b"abc"), BootId::new(b"abc\0"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_has_a_stable_boot_id() {
        let id = BootId::current().unwrap();
        assert_eq!(id.as_bytes().len(), 36, "{id:?}");
        assert_eq!(BootId::current(), Some(id));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_missing_or_blank_source_is_no_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boot_id");
        assert_eq!(read(path.to_str().unwrap()), None);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(path.to_str().unwrap()), None);
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(read(path.to_str().unwrap()), BootId::new(b"one"));
    }
}
