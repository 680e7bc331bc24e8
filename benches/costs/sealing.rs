//! The built-in cipher by itself: by the crate `chacha20poly1305`, or with the feature `ring` by that.

use std::hint::black_box;

use cachemere::{Cipher, XChaCha20Poly1305};

use crate::Scale;
use crate::common::measure::{median, nanos, time};
use crate::table::Table;

const KEY: [u8; 32] = [7; 32];
/// As long as what is bound to an entry.
const ASSOCIATED: [u8; 48] = [3; 48];

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let by = if cfg!(feature = "ring") { "ring" } else { "chacha20poly1305" };
    for size in [100, 1_024, 16_384] {
        let plain = vec![5; size];
        let mut sealed = plain.clone();
        XChaCha20Poly1305.seal(&KEY, &ASSOCIATED, &mut sealed, 0).unwrap();
        // What is copied is part of both times, and a system call for the nonce part of the first.
        let mut buffer = Vec::with_capacity(sealed.len());
        let mut each = |from: &[u8], work: &dyn Fn(&mut Vec<u8>)| {
            let turns: Vec<f64> = (0..scale.turns)
                .map(|_| {
                    time(scale.reads, || {
                        for _ in 0..scale.reads {
                            buffer.clear();
                            buffer.extend_from_slice(from);
                            work(&mut buffer);
                            black_box(&buffer);
                        }
                    })
                })
                .collect();
            nanos(median(&turns))
        };
        let seal = each(&plain, &|buffer| XChaCha20Poly1305.seal(&KEY, &ASSOCIATED, buffer, 0).unwrap());
        let open = each(&sealed, &|buffer| XChaCha20Poly1305.open(&KEY, &ASSOCIATED, buffer).unwrap());
        let mut row = |what: &str, time: String| {
            let what = format!("{what} {size} bytes by {by}");
            table.row(&what, "–".into(), time, String::new());
        };
        row("sealing", seal);
        row("opening", open);
    }
}
