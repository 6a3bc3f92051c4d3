//! The identity of a custom resource's properties, by which a return to earlier ones is recognised.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::short_digest;

/// The property that names the function. CloudFormation adds it everywhere, and it is not part of the
/// deployment.
const SERVICE_TOKEN: &str = "ServiceToken";

/// A digest of a resource's properties without `ServiceToken`. Equal properties have equal digests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Properties(String);

impl Properties {
    /// Computes the digest of an event's properties.
    ///
    /// CloudFormation sends numbers and booleans as text, but the stack's events may contain them with their
    /// own types. So the digest uses the text of each number and boolean. The order of keys does not matter.
    pub fn of(properties: &Value) -> Self {
        let mut text = String::new();
        match properties {
            Value::Object(entries) => {
                let others = entries.iter().filter(|(key, _)| *key != SERVICE_TOKEN);
                write_entries(others, &mut text);
            }
            other => write_canonical(other, &mut text),
        }
        Self::of_text(&text)
    }

    /// Computes the digest of properties that are not valid JSON. It equals only that of the same text.
    pub fn of_text(text: &str) -> Self {
        Self(short_digest(text))
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => write_text(&truth.to_string(), text),
        Value::Number(number) => write_text(&number.to_string(), text),
        Value::String(word) => write_text(word, text),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(entries) => write_entries(entries.iter(), text),
    }
}

fn write_entries<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut String) {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (key, value) in entries {
        write_text(key, text);
        text.push(':');
        write_canonical(value, text);
        text.push(',');
    }
    text.push('}');
}

/// Writes a text as JSON, so that no text can be mistaken for structure.
fn write_text(word: &str, text: &mut String) {
    text.push_str(&Value::from(word).to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn digests_ignore_the_function_and_the_types_of_scalars() {
        let of = |value: Value| Properties::of(&value);
        let properties = json!({ "Version": "1", "ServiceTimeout": "60", "Tasks": [{ "Rollback": "true" }] });
        let others = json!({
            "ServiceToken": "arn:..", "ServiceTimeout": 60, "Tasks": [{ "Rollback": true }], "Version": 1,
        });
        assert_eq!(of(properties.clone()), of(others));
        let changed = json!({ "Version": "1", "ServiceTimeout": "60", "Tasks": [{ "Rollback": "false" }] });
        assert_ne!(of(properties), of(changed));
        assert_ne!(of(json!({ "a": { "ServiceToken": "x" } })), of(json!({ "a": {} })));
        assert_ne!(of(json!({})), of(json!(null)));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), "[a-c\"\\\\,:\\[\\]{}]{0,3}".prop_map(Value::from),];
        leaf.prop_recursive(3, 20, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{0,2}", inner, 0..3)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// D01: digests differ exactly if properties differ.
        #[test]
        fn d01_only_equal_properties_have_equal_digests(one in value(), other in value()) {
            prop_assert_eq!(Properties::of(&one) == Properties::of(&other), one == other);
        }
    }
}
