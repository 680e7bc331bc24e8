use std::fs;
use std::path::{Path, PathBuf};

use crate::open;
use crate::support::{Role, hear, say, store};

/// Writes what it hears, and says what came of it.
pub(crate) fn write(arguments: &[String]) {
    let cache = match cachemere::Cache::<str, String>::builder(&arguments[0]).open() {
        Ok(cache) => cache,
        Err(error) => {
            assert!(error.is_busy() || error.is_gone(), "{error}");
            return say("refused");
        }
    };
    say("open");
    while let Some(key) = hear() {
        match cache.insert(key.as_str(), &key) {
            Ok(()) => say("written"),
            Err(error) => say(&error.to_string()),
        }
    }
    cache.close().unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect()
}

/// Those who clear up after others remove files without anything in them.
pub(crate) fn no_empty_files() {
    let (_dir, path) = store();
    let cache = open(&path);
    cache.insert("key", &"value".into()).unwrap();
    for file in files(&path) {
        assert!(file.metadata().unwrap().len() > 0, "{file:?}");
    }
    cache.close().unwrap();
    for file in files(&path) {
        assert!(file.metadata().unwrap().len() > 0, "{file:?}");
    }
}

fn is_data(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    name == "data.mdb" || name.starts_with("log-")
}

/// Each file that has no data, and all of them, before and after a second process has come.
pub(crate) fn while_in_use() {
    for removed in ["control", "all", "all again"] {
        let (_dir, path) = store();
        let path_text = path.to_str().unwrap();
        let mut first = Role::start("write", &[path_text]);
        first.expect("open");
        let mut acknowledged = Vec::new();
        let mut write = |role: &mut Role, key: String| {
            role.say(&key);
            role.expect("written");
            acknowledged.push(key);
        };
        for n in 0..50 {
            write(&mut first, format!("before {n}"));
        }
        let clear_up = || {
            for file in files(&path).iter().filter(|file| !is_data(file)) {
                if removed != "control" || file.ends_with("control") {
                    fs::remove_file(file).unwrap();
                }
            }
        };
        clear_up();
        for round in 0..3 {
            let mut second = Role::start("write", &[path_text]);
            let is_in = second.line().as_deref() == Some("open");
            for n in 0..50 {
                write(&mut first, format!("first {round} {n}"));
                if is_in {
                    write(&mut second, format!("second {round} {n}"));
                }
            }
            if removed == "all again" {
                clear_up();
            }
            second.join();
        }
        first.join();
        let cache = open(&path);
        for key in &acknowledged {
            assert_eq!(cache.get(key.as_str()).unwrap().as_ref(), Some(key), "{removed}");
        }
        assert_eq!(cache.len().unwrap(), acknowledged.len() as u64);
        assert!(cache.verify().unwrap().is_clean());
    }
}
