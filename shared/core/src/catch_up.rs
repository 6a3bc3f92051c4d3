//! What becomes of ticks that had no run because nothing was there to start it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::duration::{self, InvalidDuration};

/// The policy of catch-up, written `none`, `last` or `all within 1h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CatchUp {
    /// They are gone.
    None,
    /// The newest of them has its run, the others are gone.
    #[default]
    Last,
    /// Each of the last while has its run, oldest first; older ones are gone.
    All {
        /// How far back.
        within: Duration,
    },
}

/// Why a text is not a policy of catch-up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCatchUp {
    /// It is none of the words.
    #[error(
        "`{0}` is not a policy of catch-up: it must be none, last, or all within a time, such as `all within 1h`"
    )]
    Unknown(String),
    /// Its time cannot be read.
    #[error("a policy of catch-up: {0}")]
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
    fn c21_a_policy_is_read_as_it_is_written() {
        for text in ["none", "last", "all within 1h", "all within 1h 30m"] {
            assert_eq!(text.parse::<CatchUp>().unwrap().to_string(), text);
        }
        for text in ["", "all", "first", "all within", "all within soon"] {
            assert!(text.parse::<CatchUp>().is_err(), "{text}");
        }
    }
}
