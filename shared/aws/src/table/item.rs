//! Conversion between items of the table and JSON.
//!
//! Lamplighter's own records become maps, lists, texts and numbers, which are readable in AWS's console. Values of users
//! (configuration, data) are stored as JSON text, since their numbers may exceed DynamoDB's and their nesting its depth.
//!
//! The crate `serde_dynamo` is not used: it writes an attribute for each null, which costs write units, and 1.0 as 1.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Number, Value};

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

/// The entries of a JSON object as attributes; what is null is left out.
pub(crate) fn to_item(value: Value) -> Item {
    let Value::Object(entries) = value else { return Item::new() };
    entries.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, to_attribute(v))).collect()
}

pub(crate) fn to_attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(b) => AttributeValue::Bool(b),
        Value::Number(n) => AttributeValue::N(n.to_string()),
        Value::String(s) => AttributeValue::S(s),
        Value::Array(items) => AttributeValue::L(items.into_iter().map(to_attribute).collect()),
        Value::Object(_) => AttributeValue::M(to_item(value)),
    }
}

/// The attributes as a JSON object. What Lamplighter never writes (sets, binaries) becomes null.
pub(crate) fn to_json(item: Item) -> Value {
    item.into_iter().map(|(k, v)| (k, from_attribute(v))).collect()
}

pub(crate) fn from_attribute(attribute: AttributeValue) -> Value {
    match attribute {
        AttributeValue::Bool(b) => Value::Bool(b),
        AttributeValue::N(n) => n.parse::<Number>().map_or(Value::String(n), Value::Number),
        AttributeValue::S(s) => Value::String(s),
        AttributeValue::L(items) => items.into_iter().map(from_attribute).collect(),
        AttributeValue::M(item) => to_json(item),
        _ => Value::Null,
    }
}

/// An item's key, for messages.
pub(crate) fn key(item: &Item) -> String {
    let part = |name| {
        item.get(name).and_then(|value: &AttributeValue| value.as_s().ok()).cloned().unwrap_or_default()
    };
    format!("{} / {}", part("pk"), part("sk"))
}

/// An item's sort key.
pub(crate) fn sort_key(item: &Item) -> String {
    item.get("sk").and_then(|key| key.as_s().ok()).cloned().unwrap_or_default()
}

/// A text attribute.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
#[expect(clippy::needless_pass_by_value, reason = "numbers are copied")]
pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_survives_its_item() {
        let record = json!({ "a": "x", "n": 7, "f": 0.5, "b": true, "l": [1, { "m": "y" }], "gone": null });
        let mut kept = record.clone();
        kept.as_object_mut().unwrap().remove("gone");
        assert_eq!(to_json(to_item(record)), kept);
    }
}
