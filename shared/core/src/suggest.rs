//! Suggestions for a misspelled word: the nearest of the words that are valid in its place.

use strsim::osa_distance;

/// Returns the candidate nearest to `word`, in any letter case.
///
/// A candidate is near if `word` begins with it, as `monday` begins with `MON`, or if at most a third of the letters of
/// `word` (at least one) must be changed. The first of several equally near candidates is returned.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| {
        let lower = candidate.to_lowercase();
        let begins = lower.len() >= 3 && word.starts_with(&lower);
        (if begins { 0 } else { osa_distance(&word, &lower) }, candidate)
    });
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_the_nearest_word_is_suggested_and_a_far_one_is_not() {
        let days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        for (word, meant) in [
            ("MOM", Some("MON")),
            ("monday", Some("MON")),
            ("tuse", Some("TUE")),
            ("FR", Some("FRI")),
            ("X", None),
        ] {
            assert_eq!(nearest(word, days), meant, "{word}");
        }
        // Two neighbouring letters that are exchanged count as one change.
        assert_eq!(nearest("fir", days), Some("FRI"));
        assert_eq!(nearest("", ["abc"]), None);
    }
}
