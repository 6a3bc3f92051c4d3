//! What the measures share: a median, and whether a promise is kept.

/// The median of values, of which there is one at least.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What stands before a promise.
pub fn sign(kept: bool) -> &'static str {
    if kept { "kept  " } else { "BROKEN" }
}
