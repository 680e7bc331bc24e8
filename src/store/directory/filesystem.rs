//! Where a store may live: memory maps and locks must be coherent, and nobody else may own the files.

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// Refuses a directory on a file system whose memory maps or locks are not coherent for all who can reach it.
///
/// Network and cluster file systems, folders shared with a virtual machine, WSL1, and FUSE other than a few local ones
/// are refused; `allow_unsupported` lets all pass. Costs one system call on common disks.
pub(crate) fn check_file_system(dir: &Path, allow_unsupported: bool) -> Result<()> {
    if allow_unsupported {
        return Ok(());
    }
    match platform::unsupported(dir)? {
        None => Ok(()),
        Some(file_system) => Err(Error::UnsupportedFileSystem { path: dir.to_path_buf(), file_system }),
    }
}

const OTHERS_WRITE: u32 = 0o022;

/// Refuses a directory in which others can put files, or take some away, unless it can be [tightened](keep_others_out) once
/// it has a store: that it is `for_a_store` alone, and this user's. `allow` lets all pass, as with owners.
pub(crate) fn check_mode(
    dir: &Path,
    found: &Metadata,
    for_a_store: impl FnOnce() -> bool,
    allow: bool,
) -> Result<()> {
    let mode = found.mode() & 0o7777;
    let user = rustix::process::geteuid().as_raw();
    if allow || mode & OTHERS_WRITE == 0 || (found.uid() == user && for_a_store()) {
        return Ok(());
    }
    let reason = format!(
        "others can write to the directory {} (mode {mode:04o}), and a file that they put there could harm this process: \
         take that right from them (chmod go-w), choose a directory of its own, or allow_foreign_owner(true) if you \
         trust them",
        dir.display()
    );
    Err(Error::invalid("path", reason))
}

/// Sees to it that nobody else can put files into the directory of a store, or take some away.
pub(crate) fn keep_others_out(dir: &Path) -> Result<()> {
    let failed = |e| Error::io("keeping others from writing to the store's directory", e);
    let mode = dir.metadata().map_err(failed)?.mode() & 0o7777;
    match mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => std::fs::set_permissions(dir, Permissions::from_mode(mode & !OTHERS_WRITE)).map_err(failed),
    }
}

/// Refuses a file or directory that belongs neither to this process's effective user nor to root.
///
/// A crafted data file can crash whoever maps it. Root could harm the process anyway. `allow` lets all pass.
pub(crate) fn check_owner(path: &Path, found: &Metadata, allow: bool) -> Result<()> {
    if !allow {
        let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
        if !may_trust(owner, user) {
            return Err(Error::ForeignOwner { path: path.to_path_buf(), owner, user });
        }
    }
    Ok(())
}

fn may_trust(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod platform {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use crate::error::{Error, Result};

    /// Magic numbers from `statfs` (see its manual page, and the drivers that are outside the kernel tree).
    const UNSUPPORTED: &[(u32, &str)] = &[
        (0x0000_6969, "NFS"),
        (0x0000_517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9p"),
        (0x5346_414F, "AFS"),
        (0x6B41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0000_564C, "NCP"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x1983_0326, "BeeGFS"),
        (0x2003_0528, "OrangeFS"),
        (0xAAD7_AAEA, "PanFS"),
        (0xBEEF_DEAD, "SNFS"),
        (0x6163_6673, "ACFS"),
        // Cluster file systems keep pages coherent, but LMDB's mutexes and process ids mean nothing on another machine.
        (0x0116_1970, "GFS2"),
        (0x7461_636F, "OCFS2"),
        (0x786F_4256, "vboxsf"),
        (0xBACB_ACBC, "vmhgfs"),
        (0x7C7C_6673, "prl_fs"),
        (0x5346_4846, "WSL1"),
    ];

    const FUSE: u32 = 0x6573_5546;

    /// FUSE file systems known to be local, with a page cache shared by all processes. The magic number alone does not
    /// tell sshfs from a local disk, and refusing is the error that loses no data.
    const LOCAL_FUSE: &[&str] =
        &["fuseblk", "fuse.fuse-overlayfs", "fuse.fuse2fs", "fuse.ntfs-3g", "fuse.ntfs"];

    pub(in crate::store) fn unsupported(dir: &Path) -> Result<Option<String>> {
        let stat =
            rustix::fs::statfs(dir).map_err(|e| Error::io("looking up the file system of the store", e))?;
        // The field is a signed word on some platforms; all magic numbers have 32 bits.
        let magic = stat.f_type as u32;
        if magic != FUSE {
            return Ok(named(magic).map(str::to_owned));
        }
        let device = std::fs::metadata(dir)
            .map_err(|e| Error::io("looking up the file system of the store", e))?
            .dev();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Ok(judge_fuse(mount_type(&mounts, device)))
    }

    pub(in crate::store) fn named(magic: u32) -> Option<&'static str> {
        UNSUPPORTED.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
    }

    /// The name to refuse a FUSE mount by; `None` when it may be used.
    pub(in crate::store) fn judge_fuse(kind: Option<&str>) -> Option<String> {
        match kind {
            Some(kind) if LOCAL_FUSE.contains(&kind) => None,
            Some(kind) if kind.starts_with("fuse") => Some(kind.to_owned()),
            Some(kind) => Some(format!("{kind} (FUSE)")),
            None => Some("FUSE".to_owned()),
        }
    }

    /// The type of the mount with this device number, from the text of `/proc/self/mountinfo`.
    pub(in crate::store) fn mount_type(mounts: &str, device: u64) -> Option<&str> {
        let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        mounts.lines().find_map(|line| {
            // "36 35 98:0 /root /mount options optional... - type source options"
            let (mount, kind) = line.split_once(" - ")?;
            (mount.split(' ').nth(2)? == wanted).then(|| kind.split(' ').next())?
        })
    }
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly", target_os = "openbsd"))]
mod platform {
    use std::path::Path;

    use crate::error::{Error, Result};

    /// These systems say themselves which mounts are local.
    pub(in crate::store) fn unsupported(dir: &Path) -> Result<Option<String>> {
        let stat =
            rustix::fs::statfs(dir).map_err(|e| Error::io("looking up the file system of the store", e))?;
        if stat.f_flags as u64 & libc::MNT_LOCAL as u64 != 0 {
            return Ok(None);
        }
        let name = stat.f_fstypename.iter().take_while(|&&c| c != 0).map(|&c| char::from(c as u8)).collect();
        Ok(Some(name))
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "openbsd"
)))]
mod platform {
    use std::path::Path;

    use crate::error::Result;

    pub(in crate::store) fn unsupported(_dir: &Path) -> Result<Option<String>> {
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::platform::{judge_fuse, mount_type, named};
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:52 / /mnt/far\\040away rw master:1 shared:2 - fuse.sshfs me@host:/ rw,user_id=0
24 22 0:53 / /mnt/local rw - fuseblk /dev/sdb1 rw
25 22 0:54 / /mnt/share rw - virtiofs share rw
garbage
";

    fn device(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }

    #[test]
    fn a_local_directory_passes() {
        let dir = tempfile::tempdir().unwrap();
        check_file_system(dir.path(), false).unwrap();
        check_owner(dir.path(), &dir.path().metadata().unwrap(), false).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_tightened_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mode = || dir.path().metadata().unwrap().permissions().mode() & 0o7777;
        for wide in [0o775, 0o722, 0o1777, 0o2770] {
            let open_to_all = || {
                std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(wide)).unwrap();
                dir.path().metadata().unwrap()
            };
            let error = check_mode(dir.path(), &open_to_all(), || false, false).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains("chmod go-w"), "{error}");
            check_mode(dir.path(), &open_to_all(), || false, true).unwrap();
            check_mode(dir.path(), &open_to_all(), || true, false).unwrap();
            assert_eq!(mode(), wide);
            keep_others_out(dir.path()).unwrap();
            assert_eq!(mode(), wide & !0o022);
        }
        let found = dir.path().metadata().unwrap();
        check_mode(dir.path(), &found, || panic!("nobody can"), false).unwrap();
    }

    #[test]
    fn a_missing_directory_is_an_error_of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nowhere");
        assert!(matches!(check_file_system(&nowhere, false), Err(Error::Io { .. })));
        check_file_system(&nowhere, true).unwrap();
    }

    #[test]
    fn network_file_systems_are_named_and_disks_are_not() {
        assert_eq!(named(0x6969), Some("NFS"));
        assert_eq!(named(0xFF53_4D42u32 as i32 as u32), Some("CIFS"));
        assert_eq!(named(0x0102_1997), Some("9p"));
        for disk in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(named(disk), None, "{disk:x}");
        }
    }

    #[test]
    fn fuse_mounts_are_told_apart_by_their_type() {
        assert_eq!(mount_type(MOUNTS, device(8, 1)), Some("ext4"));
        assert_eq!(mount_type(MOUNTS, device(0, 52)), Some("fuse.sshfs"));
        assert_eq!(mount_type(MOUNTS, device(9, 9)), None);
        assert_eq!(judge_fuse(mount_type(MOUNTS, device(0, 52))), Some("fuse.sshfs".to_owned()));
        assert_eq!(judge_fuse(mount_type(MOUNTS, device(0, 53))), None);
        assert_eq!(judge_fuse(mount_type(MOUNTS, device(0, 54))), Some("virtiofs (FUSE)".to_owned()));
        assert_eq!(judge_fuse(None), Some("FUSE".to_owned()));
    }

    #[test]
    fn only_the_user_and_root_are_trusted() {
        assert!(may_trust(1000, 1000));
        assert!(may_trust(0, 1000));
        assert!(!may_trust(1001, 1000));
        assert!(!may_trust(1000, 0));
    }

    #[test]
    fn a_file_of_another_user_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        // Only root may give files away; others cannot make this case.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            let found = path.metadata().unwrap();
            let error = check_owner(&path, &found, false).unwrap_err();
            assert!(matches!(error, Error::ForeignOwner { owner: 12_345, .. }), "{error}");
            check_owner(&path, &found, true).unwrap();
        }
    }
}
