//! A backup that takes long: an old snapshot that is kept open over many folds.

use std::path::Path;

use super::stopped::{read_only, segments, version_of_all, wait_for_folds, write_all, write_ten_segments};
use super::support::{Part, Random, Role, Test, rounds, say, store};
use super::{assert_clean, open};

pub(crate) const TESTS: &[Test] =
    &[("a_backup_that_stands_still_over_ten_folds_is_right_and_holds_nobody_up", backups)];

pub(crate) const ROLES: &[Part<'_>] = &[("back up", back_up)];

fn back_up(arguments: &[String]) {
    let [path, to] = arguments else { panic!("{arguments:?}") };
    let cache = read_only(Path::new(path), "writer");
    cache.backup(to).unwrap();
    say("done");
}

fn backups() {
    let mut random = Random::new();
    for _ in 0..rounds(2, 20) {
        let (dir, path) = store();
        let cache = open(&path, "writer");
        let mut version = 0;
        for _ in 0..30 {
            version += 1;
            write_all(&cache, version);
        }
        let to = dir.path().join("copy");
        let fault = format!("stop:a record is copied:{}", 1 + random.below(180));
        let arguments = [path.to_str().unwrap(), to.to_str().unwrap()];
        let mut copier = Role::start_with_fault(&fault, "back up", &arguments);
        assert!(copier.is_stopped());
        let copied = version;
        write_ten_segments(&cache, &mut version);
        assert_eq!(version_of_all(&cache), version);
        assert!(segments(&path) >= 8);
        copier.go_on();
        copier.expect("done");
        copier.join();
        wait_for_folds(&path);
        assert_clean(&cache);
        let copy = open(&to, "writer");
        assert_eq!(version_of_all(&copy), copied);
        assert_clean(&copy);
        write_all(&copy, copied + 1);
        assert_eq!(version_of_all(&copy), copied + 1);
    }
}
