//! Time zones by their IANA names, and suggestions for an unknown one. The caller passes the names of the
//! time zone database.

use strsim::osa_distance;

/// The maximum number of suggestions.
const SUGGESTED: usize = 3;

/// The error of an unknown time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a time zone: {}", advice(near))]
pub struct UnknownZone {
    /// The given name.
    pub name: String,
    /// The suggested names, nearest first.
    pub near: Vec<String>,
}

impl UnknownZone {
    /// Creates the error for a name that is not one of `known`.
    pub fn new<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name: name.to_owned(), near: nearest(name, known).into_iter().map(str::to_owned).collect() }
    }
}

fn advice(near: &[String]) -> String {
    match near {
        [] => "write its IANA name, such as `Europe/Vienna`".to_owned(),
        [one] => format!("did you mean `{one}`?"),
        several => {
            let several: Vec<_> = several.iter().map(|name| format!("`{name}`")).collect();
            format!("did you mean one of {}?", several.join(", "))
        }
    }
}

/// Returns the known names nearest to `name`, nearest first.
///
/// A name is near if it differs in a few letters, as a whole or in its last part. So `Vienna` finds
/// `Europe/Vienna`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace([' ', '-'], "_");
    let place = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = plain(name);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<_> = known
        .into_iter()
        .filter_map(|candidate| {
            let known = plain(candidate);
            let whole = osa_distance(&wanted, &known);
            let part = osa_distance(&place(&wanted), &place(&known));
            // A match of the whole name comes before one of its last part. So of two zones with the same
            // city, the one of the same continent comes first.
            let near_whole = (whole <= wanted.chars().count() / 3).then_some((whole, 0));
            let near_part = (part <= place(&wanted).chars().count() / 4).then_some((part, 1));
            let best = near_whole.into_iter().chain(near_part).min()?;
            Some((best, candidate))
        })
        .collect();
    found.sort_unstable();
    found.truncate(SUGGESTED);
    // If one name is almost right, the farther ones would only confuse.
    let closest = found.first().map_or(0, |((distance, _), _)| *distance);
    found.into_iter().filter(|((distance, _), _)| *distance <= closest + 1).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 8] = [
        "America/New_York",
        "America/Indiana/Vincennes",
        "Asia/Kolkata",
        "Atlantic/Azores",
        "Europe/Berlin",
        "Europe/Vienna",
        "Pacific/Chatham",
        "UTC",
    ];

    #[test]
    fn c02_the_nearest_zones_are_named() {
        for (name, near) in [
            ("Europe/Viena", &["Europe/Vienna"][..]),
            ("europe/wien", &["Europe/Vienna"]),
            ("Vienna", &["Europe/Vienna"]),
            ("america/new york", &["America/New_York"]),
            ("Asia/Vienna", &["Europe/Vienna"]),
            ("utc ", &["UTC"]),
            ("Mars/Olympus_Mons", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(name, KNOWN), near, "{name}");
        }
        assert_eq!(
            UnknownZone::new("Europe/Viena", KNOWN).to_string(),
            "`Europe/Viena` is not a time zone: did you mean `Europe/Vienna`?"
        );
    }
}
