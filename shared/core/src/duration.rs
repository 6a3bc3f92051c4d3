//! Durations as people write them (`2m`, `90s`, `1h 30m`), and as they are stored: whole milliseconds.

use std::time::Duration;

/// The error of a text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: write a number with its unit, such as `90s`, `2m` or `1h 30m`")]
pub struct InvalidDuration {
    /// The given text.
    pub text: String,
}

/// Reads `90s`, `2m`, `500ms`, `1h 30m`.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    humantime::parse_duration(text).map_err(|_| InvalidDuration { text: text.to_owned() })
}

/// Returns the duration in whole milliseconds, at most `u64::MAX`.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Serializes a duration as whole milliseconds, for fields named `.._ms`: `#[serde(with =
/// "duration::as_millis")]`.
pub mod as_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(missing_docs, reason = "the contract is serde's")]
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        super::millis(*duration).serialize(serializer)
    }

    #[expect(missing_docs, reason = "the contract is serde's")]
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_as_people_write_them() {
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("300"), Err(InvalidDuration { text: "300".into() }));
    }
}
