//! Entries in a server: the same promises as for those in a directory, over each server that there is.
//!
//! `make test-valkey` fetches servers. Where there is none the tests are told as ignored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

mod behaviour;
mod proxy;
mod server;
mod stale;
#[path = "../support/mod.rs"]
mod support;
mod troubles;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test, of one server's program.
pub(crate) type Test = (&'static str, fn(&Path));

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|it| it == "play-role") {
        return support::run(&[("write", stale::write)], &[]);
    }
    let programs = server::programs();
    let mut trials = Vec::new();
    for (name, test) in [behaviour::TESTS, troubles::TESTS, stale::TESTS].concat() {
        if programs.is_empty() {
            trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
        }
        for program in programs.clone() {
            let kind = program.file_name().unwrap().to_string_lossy().into_owned();
            let run = move || {
                test(&program);
                Ok(())
            };
            trials.push(Trial::test(format!("{kind}::{name}"), run));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
