//! Figures of the benchmarks: the median, and the sign of a promise.

/// Returns the median. Panics if there is no value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the sign before a promise, kept or broken.
pub(crate) fn sign(kept: bool) -> &'static str {
    if kept { "kept  " } else { "BROKEN" }
}
