//! What errors say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cachemere::{Error, Secret, Zstd};

/// One of each kind, and words of its message that name a next step.
fn all() -> Vec<(Error, &'static str)> {
    let path = || PathBuf::from("/the/store");
    let source = || "its own reason".into();
    let mut all = of_loads();
    all.extend([
        (Error::WrongSecret { path: path() }, "give the key or passphrase"),
        (Error::MissingSecret { path: path() }, "open it with its key or passphrase"),
        (Error::NotEncrypted { path: path() }, "open it without a secret"),
        (Error::Tampered { detail: "detail".into() }, "remove the entry, repair the store, or restore"),
        (
            Error::Incompatible { path: path(), what: "it", stored: "this".into(), asked: "that".into() },
            "open it with this, or use another path",
        ),
        (Error::UnknownStage { kind: "compressor", name: "n".into() }, "register the stage"),
        (Error::NewerFormat { found: 2, supported: 1 }, "upgrade"),
        (Error::Foreign { path: path(), detail: "detail".into() }, "choose another directory"),
        (Error::Damaged { detail: "detail".into() }, "run verify"),
        (Error::Serialize { what: "value", source: source() }, "change its type"),
        (Error::Deserialize { what: "value", source: source() }, "use another namespace"),
        (Error::Stage { stage: "s".into(), source: source() }, "try again"),
        (Error::TooLarge { size: 2, limit: 1 }, "store a reference"),
        (Error::EmptyKey, "give it at least one byte"),
        (Error::NotFound { path: path() }, "check the path"),
        (Error::NotADirectory { path: path() }, "a store is a directory of its own"),
        (
            Error::UnsupportedFileSystem { path: path(), file_system: "NFS".into() },
            "use a local disk, or allow_unsupported_file_system(true)",
        ),
        (
            Error::ForeignOwner { path: path(), owner: 1, user: 2 },
            "allow_foreign_owner(true) if you trust it",
        ),
        (Error::DiskFull { context: "writing" }, "free some space"),
        (Error::Closed, "open the store again"),
        (Error::ReadOnly { path: path(), detail: "detail" }, "cannot be written to: detail"),
        (Error::Gone { path: path() }, "open it again"),
        (Error::Interrupted, "nothing was changed"),
    ]);
    all
}

#[cfg(not(feature = "load"))]
fn of_loads() -> Vec<(Error, &'static str)> {
    Vec::new()
}

#[cfg(feature = "load")]
fn of_loads() -> Vec<(Error, &'static str)> {
    let path = || PathBuf::from("/the/store");
    vec![
        (Error::Input { path: path(), detail: "detail".into() }, "mend the file or leave it out"),
        (
            Error::BadRecord { path: path(), place: "line 1".into(), detail: "detail".into() },
            "mend the record, or skip bad records",
        ),
        (
            Error::DuplicateKey { key: "a".into(), first: "here".into(), second: "there".into() },
            "remove one or have one of them chosen",
        ),
        (Error::Cancelled, "start it again"),
    ]
}

#[test]
fn every_message_names_a_next_step() {
    let mut messages = BTreeSet::new();
    for (error, step) in all() {
        let text = error.to_string();
        assert!(text.contains(step), "{text:?} does not say: {step}");
        assert!(text.starts_with(|c: char| c.is_lowercase() || c == '/'), "{text}");
        assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        assert!(messages.insert(text));
    }
}

#[test]
fn a_message_carries_what_it_is_about() {
    for (error, _) in all() {
        let text = error.to_string();
        if format!("{error:?}").contains("/the/store") {
            assert!(text.contains("/the/store") || matches!(error, Error::Incompatible { .. }), "{text}");
        }
        assert_eq!(
            text.contains("its own reason"),
            format!("{error:?}").contains("its own reason"),
            "{text}"
        );
    }
}

/// Whose message leaves its source out, as most do, or tells it.
#[derive(Debug)]
struct Caused(&'static str, std::io::Error);

impl std::fmt::Display for Caused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Caused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.1)
    }
}

/// As programs print an error with all that is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[test]
fn a_chain_of_errors_tells_each_cause_once() {
    let caused = |words| Caused(words, std::io::Error::other("the depth"));
    for words in ["on the way", "on the way: the depth"] {
        for error in [
            Error::Serialize { what: "key", source: caused(words).into() },
            Error::Deserialize { what: "key", source: caused(words).into() },
            Error::Stage { stage: "s".into(), source: caused(words).into() },
            Error::Io { context: "reading".into(), source: std::io::Error::other("the depth") },
            Error::Io { context: "reading".into(), source: std::io::Error::other(caused(words)) },
        ] {
            let told = chain(&error);
            assert_eq!(told.matches("the depth").count(), 1, "{told}");
            assert_eq!(
                told.matches("on the way").count(),
                usize::from(format!("{error:?}").contains("way")),
                "{told}"
            );
        }
    }
}

/// `Invalid` says it in its reason, each in its own words.
#[test]
fn a_refused_argument_is_told_what_is_allowed() {
    let (_dir, path) = crate::store();
    let builder = || cachemere::Cache::<str, u32>::builder(&path);
    let zero = std::time::Duration::ZERO;
    for (error, allowed) in [
        (builder().time_to_live(zero).open().unwrap_err(), "at least a microsecond"),
        (builder().checkpoint_interval(zero).open().unwrap_err(), "Durability::Sync"),
        (builder().max_entries(0).open().unwrap_err(), "at least 1"),
        (builder().max_bytes(1).open().unwrap_err(), "at least 4194304"),
        (builder().map_size(1).open().unwrap_err(), "at least 1048576"),
        (builder().namespace("").open().unwrap_err(), "1 to 255 bytes"),
        (builder().encryption(Secret::passphrase("")).open().unwrap_err(), "give one"),
        (Zstd::new(99).unwrap_err(), "to 22"),
        (Secret::key_from_slice(b"short").unwrap_err(), "a key has 32"),
    ] {
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains(allowed), "{error}");
    }
    assert!(!path.exists());
}
