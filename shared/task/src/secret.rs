//! A secret value of a configuration.

use std::fmt;

use lamplighter_core::secret::MASK;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A secret string of a configuration. It prints and serializes as `[secret]`.
///
/// Its value is masked in every message, log line and record of the run.
///
/// A `Default` that is not empty has no effect, since `describe` would reveal it: the run fails with a configuration
/// error unless the project sets the secret.
///
/// ```
/// # use lamplighter::prelude::*;
/// #[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
/// pub struct Config {
///     pub api_key: Secret,
/// }
///
/// let config: Config = serde_json::from_str(r#"{ "api_key": "k-123" }"#).unwrap();
/// assert_eq!(config.api_key.expose(), "k-123");
/// assert_eq!(format!("{:?}", config.api_key), "[secret]");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the value in plain text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An empty secret hides nothing, and marks a missing default in the definition.
        if self.0.is_empty() { serializer.serialize_str("") } else { serializer.serialize_str(MASK) }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == MASK {
            return Err(D::Error::custom(
                "the secret is not set: set it for this environment in lamplighter.toml",
            ));
        }
        Ok(Self(text))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}
