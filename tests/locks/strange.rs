//! What lies where a file of the store should, and is something else: nobody follows it, waits for it, or writes to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cachemere::{Cache, Error, Secret};

use crate::{Words, open};

/// Bytes of somebody else's, larger than anything that would be taken for empty.
const PRECIOUS: &[u8] = &[b'p'; 20_000];

struct Place {
    _dir: tempfile::TempDir,
    store: PathBuf,
    precious: PathBuf,
    nothing: PathBuf,
}

/// A store whose process was killed, so that there is a log, beside something precious.
fn place(version_1: bool) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let [store, outside] = ["store", "outside"].map(|name| dir.path().join(name));
    fs::create_dir(&outside).unwrap();
    let (precious, nothing) = (outside.join("precious"), outside.join("nothing"));
    fs::write(&precious, PRECIOUS).unwrap();
    if version_1 {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/plain");
        copy(&fixture, &store);
        for name in ["open.lock", "users.lock"] {
            fs::write(store.join(name), "").unwrap();
        }
    } else {
        let of_killed = dir.path().join("of a killed process");
        let cache = open(&of_killed);
        cache.insert("key", &"value".into()).unwrap();
        copy(&of_killed, &store);
        drop(cache);
        fs::remove_dir_all(of_killed).unwrap();
    }
    Place { _dir: dir, store, precious, nothing }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

const KINDS: [&str; 5] = ["link to a file", "link to nothing", "link to a directory", "pipe", "directory"];

impl Place {
    fn put(&self, kind: &str, name: &str) {
        let at = self.store.join(name);
        drop(fs::remove_file(&at));
        match kind {
            "link to a file" => symlink(&self.precious, at).unwrap(),
            "link to nothing" => symlink(&self.nothing, at).unwrap(),
            "link to a directory" => symlink(self.precious.parent().unwrap(), at).unwrap(),
            "pipe" => assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
            _ => fs::create_dir(at).unwrap(),
        }
    }

    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        let outside: Vec<_> = fs::read_dir(self.precious.parent().unwrap()).unwrap().collect();
        assert_eq!(outside.len(), 1, "{what}: {outside:?}");
        assert!(fs::read(&self.precious).unwrap() == PRECIOUS, "{what}");
    }

    fn log(&self) -> String {
        let names =
            fs::read_dir(&self.store).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.starts_with("log-")).unwrap()
    }
}

/// Opens the store for looking and for writing, and for neither of it with what it needs.
fn open_in_all_ways(store: &Path) -> [Result<(), Error>; 4] {
    let looked = |cache: Words| {
        cache.get("key")?;
        cache.stats()?;
        cache.verify()?;
        cache.namespaces().map(drop)
    };
    [
        Words::builder(store).read_only(true).open().and_then(looked),
        Words::builder(store).open().and_then(|cache| {
            cache.insert("new", &"value".into())?;
            looked(cache.clone())?;
            cache.close()
        }),
        Words::builder(store).encryption(Secret::key([1; 32])).open().and_then(looked),
        Cache::<str, u32>::builder(store)
            .namespace("other")
            .read_only(true)
            .open()
            .and_then(|cache| cache.get("key").map(drop)),
    ]
}

pub(crate) fn refused() {
    for (name, version_1) in [
        ("data.mdb", false),
        ("control", false),
        ("log", false),
        ("checkpoint", false),
        ("data.mdb", true),
        ("checkpoint", true),
        ("open.lock", true),
        ("users.lock", true),
    ] {
        for kind in KINDS {
            let place = place(version_1);
            let name = if name == "log" { place.log() } else { name.to_owned() };
            let what = format!("{name} is a {kind}");
            place.put(kind, &name);
            let since = Instant::now();
            for result in open_in_all_ways(&place.store) {
                let error = result.expect_err(&what);
                assert!(error.is_damaged() && error.to_string().contains(&name), "{what}: {error}");
                place.assert_untouched(&what);
            }
            assert!(since.elapsed() < Duration::from_secs(10), "{what}: {:?}", since.elapsed());
            assert!(
                place.store.join(&name).symlink_metadata().is_ok(),
                "{what}: it is for the user to remove"
            );
        }
    }
}

/// What is not needed is not looked at, and what is in the way is removed itself.
pub(crate) fn passed_by() {
    for name in
        ["reserve", "open.lock", "users.lock", "create.tmp", "compact.tmp", "reencrypt.tmp", "lock.mdb"]
    {
        for kind in KINDS.into_iter().filter(|kind| kind.starts_with("link") || !name.ends_with("tmp")) {
            let place = place(false);
            let what = format!("{name} is a {kind}");
            place.put(kind, name);
            for round in 0..2 {
                let cache = open(&place.store);
                assert_eq!(cache.get("key").unwrap().as_deref(), Some("value"), "{what}");
                cache.insert("new", &"value".repeat(10_000 * round)).unwrap();
                cache.compact().unwrap();
                cache.close().unwrap();
                place.assert_untouched(&what);
            }
            // In a store that is not made yet.
            fs::remove_file(place.store.join("data.mdb")).unwrap();
            place.put(kind, "create.tmp");
            if kind.starts_with("link") {
                open(&place.store).close().unwrap();
            }
            place.assert_untouched(&what);
        }
    }
}

/// The directory in which a backup is made has a name that can be guessed.
pub(crate) fn backups() {
    for kind in ["link to a directory", "link to nothing"] {
        let place = place(false);
        let cache = open(&place.store);
        let to = place.store.with_file_name("copy");
        place.put(kind, "../.copy.partial");
        cache.backup(&to).unwrap();
        place.assert_untouched(kind);
        assert_eq!(open(&to).get("key").unwrap().as_deref(), Some("value"));
    }
}

/// A directory with rights for others is tightened if it is the store's own, and refused else.
pub(crate) fn directories() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let widen = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::create_dir(&path).unwrap();
    widen(&path, 0o775);
    open(&path).insert("key", &"value".into()).unwrap();
    assert_eq!(mode(&path), 0o755);
    widen(&path, 0o1777);
    let looked = Words::builder(&path).read_only(true).open();
    assert!(looked.unwrap_err().to_string().contains("chmod go-w"));
    assert_eq!(mode(&path), 0o1777, "looking changes nothing");
    assert_eq!(open(&path).get("key").unwrap().as_deref(), Some("value"));
    assert_eq!(mode(&path), 0o1755);
    widen(&path, 0o777);
    let trusting = Words::builder(&path).allow_foreign_owner(true).open().unwrap();
    assert_eq!(trusting.get("key").unwrap().as_deref(), Some("value"));
    assert_eq!(mode(&path), 0o777);
    trusting.close().unwrap();

    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("something"), "else").unwrap();
    widen(&shared, 0o1777);
    let error = Words::builder(&shared).open().unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("directory of its own"), "{error}");
    assert_eq!((mode(&shared), fs::read_dir(&shared).unwrap().count()), (0o1777, 1));
    // Another's database is refused as it is.
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("data.mdb"), PRECIOUS).unwrap();
    widen(&foreign, 0o777);
    assert!(Words::builder(&foreign).open().is_err());
    assert_eq!((mode(&foreign), fs::read_dir(&foreign).unwrap().count()), (0o777, 1));
}
