//! Timing by turns: what disturbs the machine for a while disturbs all that is compared.

use std::time::Instant;

/// Nanoseconds per operation of `operations` run by `work`.
pub fn time(operations: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Two things measured by turns.
pub struct Pair {
    /// Medians, in nanoseconds.
    pub raw: f64,
    pub ours: f64,
    /// Of each turn, ours in terms of raw: median, smallest, largest.
    pub ratio: (f64, f64, f64),
}

impl Pair {
    pub fn of(turns: &[(f64, f64)]) -> Pair {
        let all = |each: fn(&(f64, f64)) -> f64| -> Vec<f64> { turns.iter().map(each).collect() };
        Pair { raw: median(&all(|t| t.0)), ours: median(&all(|t| t.1)), ratio: spread(&all(|t| t.1 / t.0)) }
    }
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (median(values), least, most)
}

/// Runs both sides `turns` times by turns; each returns nanoseconds per operation. Who goes first alternates.
pub fn alternate(
    turns: usize,
    mut raw: impl FnMut(usize) -> f64,
    mut ours: impl FnMut(usize) -> f64,
) -> Pair {
    let mut measured = Vec::new();
    for turn in 0..turns {
        measured.push(match turn % 2 {
            0 => {
                let first = raw(turn);
                (first, ours(turn))
            }
            _ => {
                let first = ours(turn);
                (raw(turn), first)
            }
        });
    }
    Pair::of(&measured)
}

/// A time for people: three digits and a unit.
pub fn nanos(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        n if n.is_nan() => return "–".to_owned(),
        n if n < 999.5 => (ns, "ns"),
        n if n < 999_500.0 => (ns / 1e3, "µs"),
        n if n < 999_500_000.0 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    match value.abs() {
        v if v < 10.0 => format!("{value:.2} {unit}"),
        v if v < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}
