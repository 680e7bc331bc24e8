//! Takes the sources that are tried from the engine, with loom's atomics and locks in place of the standard library's.

use std::path::Path;
use std::{env, fs};

/// What is taken of a file of the engine: all of it, or what lies between pairs of lines, the second of which stays out.
struct Source {
    file: &'static str,
    out: &'static str,
    parts: &'static [(&'static str, &'static str)],
    /// What the parts stand in.
    within: &'static str,
}

const SOURCES: [Source; 10] = [
    Source { file: "store/quiet.rs", out: "quiet.rs", parts: &[], within: "" },
    Source { file: "store/upkeep/access.rs", out: "access.rs", parts: &[], within: "" },
    Source { file: "store/flight/mod.rs", out: "flight.rs", parts: &[], within: "" },
    Source {
        file: "entries/mark.rs",
        out: "chain.rs",
        parts: &[("/// The unbroken run of this handle's own commits", "/// One value in memory")],
        within: "",
    },
    Source {
        file: "store/backend/lmdb/position.rs",
        out: "position.rs",
        parts: &[("/// A place in the log: between", "impl Point {")],
        within: "",
    },
    Source {
        file: "store/backend/lmdb/control.rs",
        out: "places.rs",
        parts: &[("const TAIL_AT", "pub(super) struct Control {")],
        within: "",
    },
    Source {
        file: "store/backend/lmdb/control.rs",
        out: "control.rs",
        parts: &[("    /// The end of the log, as the token", "    /// Lets nobody write any more")],
        within: "impl Control",
    },
    Source { file: "store/backend/lmdb/replay.rs", out: "replay.rs", parts: &[], within: "" },
    Source {
        file: "store/backend/lmdb/append.rs",
        out: "facts.rs",
        parts: &[("/// What making room for a transaction's changes", "pub(crate) struct Append")],
        within: "",
    },
    Source {
        file: "store/backend/lmdb/append.rs",
        out: "append.rs",
        parts: &[("    /// Repairs what a holder of the append lock left", "    fn begin_segment(")],
        within: "impl Lmdb",
    },
];

fn main() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    for source in SOURCES {
        let path = engine.join(source.file);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).expect("the engine lies beside this crate");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut taken = String::new();
        for (first, behind) in source.parts {
            let from = text.find(first).unwrap_or_else(|| panic!("{}: no {first:?}", source.file));
            let len = text[from..].find(behind).unwrap_or_else(|| panic!("{}: no {behind:?}", source.file));
            taken += &text[from..from + len];
        }
        let taken = if source.parts.is_empty() { text } else { &taken };
        let text: String = taken
            .lines()
            .filter(|line| !line.starts_with("//!") && *line != "mod circles;")
            .map(|line| line.replace("std::sync::", "loom::sync::") + "\n")
            .collect();
        // Methods cannot be of an `Arc` of loom's, nor can that hold what has no size; and it has nothing that is set once.
        let text =
            text.replace("sync::{Arc, Mutex, OnceLock};", "sync::{Arc, Mutex};\nuse std::sync::OnceLock;");
        let mut text = [
            "self: &Arc<Self>",
            "Arc<Flights>",
            "Arc::new(Flights",
            "Arc<dyn Any",
            "Arc<OnceLock",
            "Arc::new(OnceLock",
        ]
        .iter()
        .fold(text, |text, of_std| text.replace(of_std, &of_std.replace("Arc", "std::sync::Arc")));
        if !source.within.is_empty() {
            text = format!("{} {{\n{text}}}\n", source.within);
        }
        let out = Path::new(&env::var("OUT_DIR").expect("Cargo sets it")).join(source.out);
        fs::write(out, text).expect("there is room");
    }
}
