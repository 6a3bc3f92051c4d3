//! A queue task that returns its arguments, bit for bit.

use lamplighter::prelude::*;

/// A condition, nested to any depth.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Filter {
    /// The negation.
    Not {
        /// The condition.
        of: Box<Filter>,
    },
    /// An optional condition.
    Maybe {
        /// The condition.
        of: Box<Filter>,
    },
    /// A value.
    Eq {
        /// The value.
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

/// Returns the bits of the number, the integer, the depth of the filter, and the length of the text.
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
