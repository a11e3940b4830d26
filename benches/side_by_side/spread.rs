//! Medians and what lies around them.

use std::fmt;

/// Median, least and greatest of some figures.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    /// Of `figures`; all zero when there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.as_slice() {
            [] => 0.0,
            f if f.len() % 2 == 1 => f[middle],
            f => (f[middle - 1] + f[middle]) / 2.0,
        };
        Self { median, least: figures.first().copied().unwrap_or(0.0), greatest: figures.last().copied().unwrap_or(0.0) }
    }
}

/// `0.84 (0.80–0.91)`; the precision is that of the format, two places unless told.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(2);
        write!(f, "{:.places$} ({:.places$}–{:.places$})", self.median, self.least, self.greatest)
    }
}

/// The value below which the share `of` (0 to 1) of sorted `values` lies.
pub(crate) fn percentile(sorted: &[u32], of: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * of).round() as usize).copied().unwrap_or(0)
}
