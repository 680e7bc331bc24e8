//! What lies where a file of the log or the control file should, and is none of ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use cachemere::Error;

use crate::damage_support::copy_files;
use crate::{KEYS, SOUND, builder, go_on, key, log, value};

fn am_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> =
        files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("log-")).collect();
    found.sort();
    found
}

/// Puts something else in a file's place; whether this user can.
type Replace = fn(&Path) -> bool;

const STRANGE: [(&str, Replace); 5] = [
    ("a directory", |at| {
        fs::remove_file(at).unwrap();
        fs::create_dir(at).unwrap();
        true
    }),
    ("a link to a file", |at| {
        let to = at.with_file_name("elsewhere");
        fs::rename(at, &to).unwrap();
        symlink(to, at).unwrap();
        true
    }),
    ("a link to nothing", |at| {
        fs::remove_file(at).unwrap();
        symlink("nowhere", at).unwrap();
        true
    }),
    ("a pipe", |at| {
        fs::remove_file(at).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at).status().unwrap();
        made.success()
    }),
    ("somebody else's", |at| am_root() && chown(at, Some(12_345), None).is_ok()),
];

/// Also by those who only read. Once it is gone, everything is there.
pub(crate) fn refused() {
    let (root, _) = &*SOUND;
    let sound = root.path().join("plain-logged");
    let values: Vec<Vec<u8>> = (0..KEYS).map(value).collect();
    let work = tempfile::tempdir().unwrap();
    for (what, replace) in STRANGE {
        for index in 0..=segments(&sound).len() {
            let dir = work.path().join(format!("{what} {index}"));
            copy_files(&sound, &dir);
            let at = segments(&dir).get(index).cloned().unwrap_or_else(|| dir.join("control"));
            let kept = fs::read(&at).unwrap();
            let data = fs::read(dir.join("data.mdb")).unwrap();
            if !replace(&at) {
                continue;
            }
            for read_only in [false, true] {
                let error = builder("plain", &dir).read_only(read_only).open().unwrap_err();
                match (what, &error) {
                    ("somebody else's", Error::ForeignOwner { owner: 12_345, path, .. }) => {
                        assert_eq!(path.file_name(), at.file_name());
                    }
                    ("somebody else's", _) => panic!("{what} {index}: {error}"),
                    _ => {
                        let text = error.to_string();
                        let name = at.file_name().unwrap().to_str().unwrap();
                        assert!(error.is_damaged() && text.contains(name), "{what} {index}: {text}");
                    }
                }
            }
            assert_eq!(fs::read(dir.join("data.mdb")).unwrap(), data);
            if at.is_dir() {
                fs::remove_dir(&at).unwrap();
            } else {
                fs::remove_file(&at).unwrap();
            }
            fs::write(&at, kept).unwrap();
            let cache = builder("plain", &dir).open().unwrap();
            assert_eq!(log::ops_in(&cache).unwrap(), Some(log::OPS), "{what} {index}");
            assert_eq!(cache.get(&key(3)).unwrap().unwrap().payload, value(3));
            assert!(go_on(cache, "plain", &dir, &values), "{what} {index}");
        }
    }
}
