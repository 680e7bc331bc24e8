//! The table that is printed.

use std::fmt;

use crate::common::measure::{Pair, nanos};

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(crate) fn pair(&mut self, what: &str, pair: &Pair) {
        let (ratio, least, most) = pair.ratio;
        let ratio = format!("{ratio:.2}× ({least:.2}–{most:.2})");
        self.row(what, nanos(pair.raw), nanos(pair.ours), ratio);
    }

    /// A row without times: counts, bytes, rates.
    pub(crate) fn row(&mut self, what: &str, raw: String, ours: String, ratio: String) {
        eprintln!("{what}: {raw} | {ours} | {ratio}");
        self.rows.push([what.to_owned(), raw, ours, ratio]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | raw heed | cachemere | ratio, median (least–most) |")?;
        writeln!(f, "|---|---:|---:|---|")?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}
