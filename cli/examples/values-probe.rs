//! A queue task that returns what it was given, bit for bit.

use lamplighter::prelude::*;

/// A condition, nested as deep as one likes.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Filter {
    /// The other way round.
    Not {
        /// What.
        of: Box<Filter>,
    },
    /// Perhaps.
    Maybe {
        /// What.
        of: Box<Filter>,
    },
    /// A value.
    Eq {
        /// Which.
        value: String,
    },
}

impl Filter {
    fn depth(&self) -> usize {
        match self {
            Self::Not { of } | Self::Maybe { of } => 1 + of.depth(),
            Self::Eq { .. } => 0,
        }
    }
}

/// Returns the bits of the number, the integer, how deep the filter is, and the length of the text.
#[task(queue)]
pub async fn values_probe(
    _ctx: Context,
    lat: f64,
    big: u64,
    filter: Option<Filter>,
    text: Option<String>,
) -> TaskResult {
    if text.as_deref() == Some("nan") {
        return Outcome::success("no number").with_data(&[1.0, f64::NAN]);
    }
    let depth = filter.map_or(0, |filter| filter.depth());
    let length = text.map_or(0, |text| text.len());
    Outcome::success(format!("{lat:?}")).with_data(&(lat.to_bits(), big, depth, length, lat))
}

lamplighter::main!(ValuesProbe);
