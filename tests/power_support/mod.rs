//! A disk that loses power, under real stores that several processes write.
//!
//! ```text
//! writer (process) -> hooks -> recorder: disk -> image -> the next life, opened by new processes
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `steps` | what a writer writes, and which contents of a store are states that were |
//! | `setting` | what the store is opened with: a limit, encryption |
//! | `hooks`, `wire` | in a tested process: each write, sync and change of names waits for the recorder's leave |
//! | `writer` | what a tested process does when it is told to |
//! | `disk` | every version of every page and name since it was synced, and what of it a power loss leaves |
//! | `recorder` | the processes that live, and their requests in one order |
//! | `history` | lives of one store, each beginning with what the one before left |
//! | `sweep` | a short history, cut at each event, with each single page and name the other way |
//!
//! A commit is an append to mapped memory, which no system call shows. So the recorder looks at the segments at random
//! events, at each sync and when the power fails; what it saw of a page are its versions.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod disk;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod recorder;
pub(crate) mod setting;
pub(crate) mod steps;
pub(crate) mod sweep;
pub(crate) mod wire;
pub(crate) mod writer;

/// Plays the part of a tested process.
pub(crate) fn play(role: &str, arguments: &[String]) {
    match role {
        "writer" => writer::write(arguments),
        "checker" => writer::check(),
        _ => panic!("no such role: {role}"),
    }
}
