//! The processor architectures that functions can be built for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The processor that functions run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// Intel and AMD processors.
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
    /// Graviton processors.
    #[serde(rename = "arm64")]
    Arm64,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}
