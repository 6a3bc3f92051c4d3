//! Times as people write them: `2h` ago, `06:00` today, `2026-11-21`, `2026-11-21T06:00`, or with a zone.

use std::{str::FromStr, time::Duration};

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use lamplighter_core::{definition::Cron, duration, zone::UnknownZone};

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// An instant.
    At(Timestamp),
    /// A duration before now.
    Ago(Duration),
    /// A local time. A date alone means its midnight.
    Local(DateTime),
    /// A local time of today.
    Today(Time),
}

/// A text that is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time: expected how long ago, such as `2h`, a date such as `2026-11-21`, with its time \
     `2026-11-21T06:00`, with its zone `2026-11-21T06:00:00Z`, or the time of today, `06:00`"
)]
pub struct InvalidTime(pub String);

impl FromStr for When {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let invalid = || InvalidTime(text.to_owned());
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        // The parsers of local times ignore a zone; a text with an invalid one must not become a local time.
        if text.ends_with(['Z', 'z', ']']) {
            return Err(invalid());
        }
        if text.contains('-') {
            return text.parse().map(Self::Local).map_err(|_| invalid());
        }
        if text.contains(':') {
            return text.parse().map(Self::Today).map_err(|_| invalid());
        }
        let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
        duration::parse(ago).map(Self::Ago).map_err(|_| invalid())
    }
}

impl When {
    /// The instant; local times are those of `zone`. A local time that a clock change skips is read as if the change had
    /// not happened. A local time that occurs twice means the first one.
    pub fn instant(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = |local: DateTime| zone.to_ambiguous_timestamp(local).compatible().unwrap_or(now);
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago).unwrap_or(now),
            Self::Local(at) => local(at),
            Self::Today(at) => local(zone.to_datetime(now).date().to_datetime(at)),
        }
    }
}

/// Reads a duration, such as `30s` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// The time zone of a task.
pub fn zone_of(cron: &Cron) -> Result<TimeZone, UnknownZone> {
    TimeZone::get(&cron.timezone).map_err(|_| UnknownZone::new(&cron.timezone, []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_as_people_write_them() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let vienna = TimeZone::get("Europe/Vienna").unwrap();
        for (text, utc) in [
            ("2h", "2026-11-21T10:00:00Z"),
            ("1h 30m ago", "2026-11-21T10:30:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20T06:00", "2026-11-20T05:00:00Z"),
            ("2026-11-20 06:00:30", "2026-11-20T05:00:30Z"),
            ("2026-11-20T06:00:00Z", "2026-11-20T06:00:00Z"),
            ("2026-11-20T06:00:00+05:30", "2026-11-20T00:30:00Z"),
            ("06:00", "2026-11-21T05:00:00Z"),
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().instant(now, &vienna).to_string(), utc, "{text}");
        }
    }

    #[test]
    fn an_invalid_time_is_rejected_with_its_text() {
        for text in ["", "yesterday", "12", "2026-13-01", "2026-02-30", "25:00", "2026-11-20T06:00Zz", "-2h"]
        {
            let error = text.parse::<When>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not a time: ")), "{error}");
        }
    }
}
