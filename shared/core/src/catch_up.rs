//! Catch-up: the policy for missed ticks, which nothing started at their time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::duration::{self, InvalidDuration};

/// A catch-up policy, written `none`, `last` or `all within 1h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CatchUp {
    /// Missed ticks have no run.
    None,
    /// The newest missed tick has a run. Older ones have none.
    #[default]
    Last,
    /// Each missed tick of the given time has a run, oldest first. Older ones have none.
    All {
        /// The time before now from which ticks are caught up.
        within: Duration,
    },
}

/// The error of a text that is not a catch-up policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCatchUp {
    /// The text is none of the policies.
    #[error(
        "`{0}` is not a catch-up policy: it must be none, last, or all within a time, such as `all within 1h`"
    )]
    Unknown(String),
    /// The time of the policy is not a duration.
    #[error("the catch-up policy: {0}")]
    Within(#[from] InvalidDuration),
}

impl FromStr for CatchUp {
    type Err = InvalidCatchUp;

    fn from_str(text: &str) -> Result<Self, InvalidCatchUp> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.as_str() {
            "none" => Ok(Self::None),
            "last" => Ok(Self::Last),
            _ => match lower.strip_prefix("all within ") {
                Some(within) => Ok(Self::All { within: duration::parse(within.trim())? }),
                None => Err(InvalidCatchUp::Unknown(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Last => f.pad("last"),
            Self::All { within } => write!(f, "all within {}", humantime::format_duration(*within)),
        }
    }
}

impl TryFrom<String> for CatchUp {
    type Error = InvalidCatchUp;

    fn try_from(text: String) -> Result<Self, InvalidCatchUp> {
        text.parse()
    }
}

impl From<CatchUp> for String {
    fn from(policy: CatchUp) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21_a_policy_survives_its_text() {
        for text in ["none", "last", "all within 1h", "all within 1h 30m"] {
            assert_eq!(text.parse::<CatchUp>().unwrap().to_string(), text);
        }
        for text in ["", "all", "first", "all within", "all within soon"] {
            assert!(text.parse::<CatchUp>().is_err(), "{text}");
        }
    }
}
