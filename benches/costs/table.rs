//! The table that is printed.

use std::fmt;

use crate::common::measure::{Pair, nanos};

/// What was promised of a row.
pub(crate) enum Target {
    None,
    /// At most so many times raw heed's time.
    Times(f64),
    /// At most so many nanoseconds more.
    More(f64),
    /// At most so many nanoseconds.
    Nanos(f64),
}

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 6]>,
}

impl Table {
    pub(crate) fn pair(&mut self, what: &str, pair: &Pair, target: Target) {
        let (met, target) = match target {
            Target::None => (None, String::new()),
            Target::Times(most) => (Some(pair.ratio.0 <= most), format!("≤ {most}×")),
            Target::More(most) => (Some(pair.more.0 <= most), format!("≤ +{}", nanos(most))),
            Target::Nanos(most) => (Some(pair.ours <= most), format!("≤ {}", nanos(most))),
        };
        let (ratio, least, most) = pair.ratio;
        let mut spread = format!("{ratio:.2}× ({least:.2}–{most:.2})");
        if target.contains('+') {
            spread += &format!(", +{}", nanos(pair.more.0));
        }
        self.row(what, nanos(pair.raw), nanos(pair.ours), spread, target, met);
    }

    /// A row without times: counts, bytes, rates.
    pub(crate) fn row(
        &mut self,
        what: &str,
        raw: String,
        ours: String,
        ratio: String,
        target: String,
        met: Option<bool>,
    ) {
        let met = met.map_or("", |met| if met { "met" } else { "**missed**" }).to_owned();
        eprintln!("{what}: {raw} | {ours} | {ratio} | {target} {met}");
        self.rows.push([what.to_owned(), raw, ours, ratio, target, met]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | raw heed | cachemere | ratio, median (least–most) | promised | |")?;
        writeln!(f, "|---|---:|---:|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}
