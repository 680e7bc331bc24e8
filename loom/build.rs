//! Takes the sources that are tried from the engine, with loom's atomics and locks in place of the standard library's.

use std::path::Path;
use std::{env, fs};

fn main() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    // The chain of the marks is a part of its file: from the first line to the second.
    let chain = ("/// The unbroken run of this handle's own commits", "/// One value in memory");
    for (source, name, part) in [
        ("store/quiet.rs", "quiet.rs", None),
        ("store/upkeep/access.rs", "access.rs", None),
        ("store/flight/mod.rs", "flight.rs", None),
        ("entries/mark.rs", "chain.rs", Some(chain)),
    ] {
        let path = engine.join(source);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).expect("the engine lies beside this crate");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let text = match part {
            None => text,
            Some((first, behind)) => {
                let from = text.find(first).expect("the chain is in the file of the marks");
                let to = text.find(behind).expect("the mark follows the chain");
                &text[from..to]
            }
        };
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("//!") && *line != "mod circles;")
            .map(|line| line.replace("std::sync::", "loom::sync::") + "\n")
            .collect();
        // Methods cannot be of an `Arc` of loom's, nor can that hold what has no size; and it has nothing that is set once.
        let text =
            text.replace("sync::{Arc, Mutex, OnceLock};", "sync::{Arc, Mutex};\nuse std::sync::OnceLock;");
        let text = [
            "self: &Arc<Self>",
            "Arc<Flights>",
            "Arc::new(Flights",
            "Arc<dyn Any",
            "Arc<OnceLock",
            "Arc::new(OnceLock",
        ]
        .iter()
        .fold(text, |text, of_std| text.replace(of_std, &of_std.replace("Arc", "std::sync::Arc")));
        let out = Path::new(&env::var("OUT_DIR").expect("Cargo sets it")).join(name);
        fs::write(out, text).expect("there is room");
    }
}
