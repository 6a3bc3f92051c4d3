//! What somebody may have meant: the nearest of the words that may stand in a place.

/// The known word nearest to `word` in any letter case, if one is near: a typing error or two away, or the beginning
/// of it, as `MON` is of `monday`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|candidate| {
        let lower = candidate.to_lowercase();
        let begins = lower.len() >= 3 && word.starts_with(&lower);
        (if begins { 0 } else { distance(&word, &lower) }, candidate)
    });
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// How many letters must be changed, put in, left out or exchanged with their neighbour to make `b` of `a`.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let [a, b]: [Vec<char>; 2] = [a, b].map(|word| word.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_the_nearest_word_is_found_and_a_far_one_is_not() {
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
        assert_eq!(distance("recieve", "receive"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
