//! Data flows one way: a module names only what lies below it. The layers are those of `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of the crate, the lowest first; those of one line may name each other.
const CRATE: &[&[&str]] = &[
    &["error", "address"],
    &["waiting", "counter"],
    &["sync"],
    &["load"],
    &["pipeline"],
    &["secret", "schema", "clock"],
    &["store"],
    &["per_environment"],
    &["entries"],
    &["front"],
    &["typed"],
    &["keyed", "prefix", "key_form"],
    &["iter", "batch", "face"],
    &["bytes", "cache", "builder", "entry", "salvage"],
    &["loading"],
    &["async_cache"],
    &["memoized"],
    &["rocks", "valkey"],
];

/// The same of what is in `src/store`.
const STORE: &[&[&str]] = &[
    &["fault", "format", "process"],
    &["directory"],
    &["flight"],
    &["backend", "config", "unlocked"],
    &[
        "transaction",
        "body",
        "live",
        "quiet",
        "namespace",
        "upkeep",
        "opening",
        "closing",
        "unused",
        "temporary",
    ],
    &["append", "copy", "rekey", "salvage", "fuzzing"],
];

/// What is above and named all the same, with the reason.
const KNOWN: &[(&str, &str)] = &[
    // A file of the store may be of whom its data file is, and a backend knows what that is called.
    ("directory", "backend"),
];

#[test]
fn modules_of_the_crate_name_only_what_lies_below() {
    check(Path::new("src"), &[], CRATE);
}

#[test]
fn modules_of_the_store_name_only_what_lies_below() {
    check(Path::new("src/store"), &["store"], STORE);
}

/// `root`: the module, by its path in the crate, whose parts these are.
fn check(directory: &Path, root: &[&str], layers: &[&[&str]]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let level: BTreeMap<&str, usize> = layers
        .iter()
        .enumerate()
        .flat_map(|(level, names)| names.iter().map(move |name| (*name, level)))
        .collect();
    let mut wrong = BTreeSet::new();
    let mut found = 0;
    for file in sources(&directory) {
        let path = file.strip_prefix(&directory).unwrap().with_extension("");
        let mut module: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        if module.last() == Some(&"mod") {
            module.pop();
        }
        // The root itself puts its parts together.
        let Some(part) = module.first().copied().filter(|part| *part != "lib") else { continue };
        let here = level.get(part).unwrap_or_else(|| panic!("{part} is in no layer"));
        for named in named(&std::fs::read_to_string(&file).unwrap(), root, &module) {
            let Some(there) = level.get(named.as_str()) else { continue };
            found += usize::from(named != part);
            if there > here && !KNOWN.contains(&(part, &named)) {
                wrong.insert(format!("{} names {named}, which lies above {part}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found > 50, "{found} names were found in all: the test tests nothing");
}

/// The parts of `root` that a file names, in `module` as seen from `root`.
fn named(text: &str, root: &[&str], module: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
    let from_crate = root.iter().fold("crate::".to_owned(), |path, part| path + part + "::");
    let from_inside = "super::".repeat(module.len());
    for prefix in [from_crate, from_inside] {
        for (at, _) in code.match_indices(&prefix) {
            // Not the end of a longer row of `super::`.
            if code[..at].ends_with("super::") {
                continue;
            }
            let behind = &code[at + prefix.len()..];
            let list = match behind.strip_prefix('{') {
                Some(list) => firsts(list),
                None => vec![behind],
            };
            names.extend(
                list.into_iter()
                    .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
            );
        }
    }
    names
}

/// Where the paths of a list in braces begin.
fn firsts(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut starts = vec![0];
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|at| list[at..].trim_start()).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => Vec::from_iter(path.extension().is_some_and(|end| end == "rs").then_some(path)),
        })
        .collect()
}
