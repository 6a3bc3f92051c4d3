//! JSON Schema, as far as schemars uses it for Rust's types.
//!
//! These keywords are checked: `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`,
//! `exclusiveMaximum`, `minLength`, `maxLength`, `minItems`, `maxItems`, `minProperties`, `maxProperties`,
//! `items`, `prefixItems`, `required`, `properties`, `additionalProperties`, `unevaluatedProperties: false`,
//! `anyOf`, `oneOf`, `allOf`, `not`, `$ref` within the schema, schemas that are `true` or `false`, the
//! `format` of numbers and of IP addresses, and `patternProperties` with integers as keys.
//!
//! No others are. Most notable are `pattern` and other `patternProperties`, which would need a regex engine
//! in every task's binary. The rest are the `format` of other texts, `multipleOf`, `uniqueItems`, `if`, and
//! `dependent..`.
//!
//! The check follows serde where JSON Schema and serde differ: `1.0` is not an integer. It is stricter than
//! serde in two cases: it refuses a list for a struct, and it refuses a number beyond the range of `f32` for an
//! `f32`, which serde reads as infinity.

mod check;
mod keywords;
mod merge;
mod normal;
pub(crate) mod parts;

use std::fmt;

use serde_json::Value;

use self::check::{Fault, PathSegment};
pub(crate) use self::{check::Checker, keywords::is_of_type};
pub use self::{merge::merged, normal::normalised};
use crate::value::{MAX_NESTING, is_too_deep};

/// A violation of a schema. It never contains the value, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The place, such as `servers[0].port`; empty for the value itself.
    pub path: String,
    /// The requirement, for people.
    pub reason: String,
}

impl std::error::Error for Violation {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "it {}", self.reason),
            path => write!(f, "`{path}` {}", self.reason),
        }
    }
}

impl From<Fault> for Violation {
    fn from(fault: Fault) -> Self {
        let mut path = String::new();
        for step in fault.steps.iter().rev() {
            match step {
                PathSegment::Key(key) if path.is_empty() => path.push_str(key),
                PathSegment::Key(key) => path.extend([".", key]),
                PathSegment::Place(place) => path.extend(["[", &place.to_string(), "]"]),
            }
        }
        Self { path, reason: fault.reason }
    }
}

/// Checks a value against a schema. Without a schema (null) every value passes that is not nested too deeply.
pub fn check(value: &Value, schema: &Value) -> Result<(), Violation> {
    if is_too_deep(value) {
        let reason = format!("is nested more than {MAX_NESTING} levels deep");
        return Err(Violation { path: String::new(), reason });
    }
    Ok(Checker::new(schema).check(value, schema)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::{keywords::type_of, *};

    fn violation(value: &Value, schema: &Value) -> String {
        check(value, schema).err().map_or_else(String::new, |violation| violation.to_string())
    }

    /// Checks cases: a schema, a value that passes, one that does not, and the reason.
    fn held<const N: usize>(cases: [(Value, Value, Value, &str); N]) {
        for (schema, good, bad, wanted) in cases {
            assert_eq!(violation(&good, &schema), "", "{schema}: {good}");
            assert_eq!(violation(&bad, &schema), wanted, "{schema}: {bad}");
        }
    }

    #[test]
    fn c08_each_keyword_of_a_plain_value_is_enforced() {
        held([
            (json!({ "type": "string" }), json!("x"), json!(7), "it must be a text, and is a number"),
            (
                json!({ "type": ["integer", "null"] }),
                json!(null),
                json!(0.5),
                "it must be a whole number or null, and is a number with a fraction",
            ),
            (json!({ "type": "integer" }), json!(2), json!("2"), "it must be a whole number, and is a text"),
            (
                json!({ "type": "integer" }),
                json!(2),
                json!(2.0),
                "it must be a whole number, and is a number with a fraction",
            ),
            (json!({ "type": "object" }), json!({}), json!([]), "it must be an object, and is a list"),
            (json!({ "enum": ["a", "b"] }), json!("b"), json!("c"), r#"it must be one of "a", "b""#),
            (json!({ "const": "a" }), json!("a"), json!("c"), r#"it must be "a""#),
            (json!({ "minimum": 1 }), json!(1), json!(0), "it must be at least 1"),
            (
                json!({ "maximum": u64::MAX }),
                json!(u64::MAX),
                json!(1e20),
                "it must be at most 18446744073709551615",
            ),
            (json!({ "exclusiveMinimum": 0.0 }), json!(0.1), json!(0), "it must be more than 0.0"),
            (json!({ "exclusiveMaximum": 1 }), json!(0.9), json!(1), "it must be less than 1"),
            (
                json!({ "minLength": 1 }),
                json!("é"),
                json!(""),
                "it must have at least 1 characters, and has 0",
            ),
            (
                json!({ "maxLength": 2 }),
                json!("ää"),
                json!("äää"),
                "it must have at most 2 characters, and has 3",
            ),
            (json!({ "minItems": 1 }), json!([0]), json!([]), "it must have at least 1 items, and has 0"),
            (json!({ "maxItems": 1 }), json!([0]), json!([0, 1]), "it must have at most 1 items, and has 2"),
        ]);
    }

    #[test]
    fn c08_each_keyword_of_a_list_or_an_object_is_enforced_and_its_violation_names_the_location() {
        held([
            (
                json!({ "items": { "type": "null" } }),
                json!([null]),
                json!([null, 1]),
                "`[1]` must be null, and is a number",
            ),
            (
                json!({ "prefixItems": [{ "type": "null" }], "items": false }),
                json!([null]),
                json!([null, 1]),
                "`[1]` must not be there",
            ),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({ "b": 1 }), "`a` is missing"),
            (
                json!({ "properties": { "a": { "items": { "properties": { "b": { "minimum": 1 } } } } } }),
                json!({ "a": [{ "b": 1 }], "c": 1 }),
                json!({ "a": [{ "b": 1 }, { "b": 0 }] }),
                "`a[1].b` must be at least 1",
            ),
            (
                json!({ "properties": { "a": true }, "additionalProperties": false }),
                json!({ "a": 1 }),
                json!({ "a": 1, "b": 1 }),
                "`b` is not known",
            ),
            (
                json!({ "additionalProperties": { "type": "string" } }),
                json!({ "a": "x" }),
                json!({ "a": 1 }),
                "`a` must be a text, and is a number",
            ),
            (
                json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }),
                json!(2),
                json!(3),
                "it must be at most 2",
            ),
            (
                json!({ "anyOf": [{ "type": "string" }, { "minimum": 1, "type": "integer" }] }),
                json!(1),
                json!(0),
                "it matches none of the 2 allowed schemas",
            ),
            (
                json!({ "oneOf": [{ "minimum": 1 }, { "maximum": 2 }] }),
                json!(0),
                json!(1),
                "it matches 2 of the allowed schemas, and must match one",
            ),
            (
                json!({ "oneOf": [{ "type": "string", "const": "a" }, { "type": "string", "const": "b" }] }),
                json!("b"),
                json!("c"),
                r#"it must be one of "a", "b""#,
            ),
            (
                json!({ "properties": { "a": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] } },
                        "$defs": { "A": { "type": "object", "required": ["b"] } } }),
                json!({ "a": null }),
                json!({ "a": {} }),
                "`a.b` is missing",
            ),
        ]);
    }

    #[test]
    fn an_empty_schema_accepts_everything() {
        let circle = json!({ "$ref": "#" });
        let elsewhere = json!({ "$ref": "https://example.org/schema", "pattern": "^a$", "format": "uri" });
        let keys = json!({ "patternProperties": { "^\\d+$": true }, "additionalProperties": false });
        for schema in
            [json!(null), json!(true), json!({}), circle, elsewhere, keys, json!({ "$ref": "#/none" })]
        {
            for value in [json!(null), json!("x"), json!({ "7": [] }), json!(-1)] {
                assert_eq!(violation(&value, &schema), "", "{schema}: {value}");
            }
        }
        assert_eq!(violation(&json!(1), &json!(false)), "it must not be there");
    }

    /// Creates a recursive enum as schemars writes it, and a value that is nested to that depth.
    fn filter(depth: usize, innermost: Value) -> (Value, Value) {
        let inner = |name: &str| {
            json!({ "type": "object", "required": ["type", "of"],
                    "properties": { "type": { "const": name }, "of": { "$ref": "#/$defs/F" } } })
        };
        let leaf = json!({ "type": "object", "required": ["type", "value"],
                           "properties": { "type": { "const": "eq" }, "value": { "type": "string" } } });
        let schema = json!({ "$ref": "#/$defs/F", "$defs": { "F": { "oneOf": [inner("not"), inner("maybe"), leaf] } } });
        (schema, (0..depth).fold(innermost, |of, _| json!({ "type": "not", "of": of })))
    }

    #[test]
    fn v05_the_steps_of_a_check_are_linear_in_the_size_of_the_value() {
        let steps = |depth, innermost: &Value| {
            let (schema, value) = filter(depth, innermost.clone());
            let checker = Checker::new(&schema);
            let verdict = checker.check(&value, &schema);
            (checker.steps(), verdict.is_ok())
        };
        for (innermost, is_good) in
            [(json!({ "type": "eq", "value": "x" }), true), (json!({ "type": "eq" }), false)]
        {
            let (of_ten, _) = steps(10, &innermost);
            let (of_hundred, is_ok) = steps(100, &innermost);
            assert_eq!(is_ok, is_good);
            assert!(of_hundred <= 10 * of_ten, "{of_ten} {of_hundred}");
            assert!(of_hundred < 2000, "{of_hundred}");
        }
        let (schema, value) = filter(100, json!({ "type": "eq", "value": 1 }));
        let why = violation(&value, &schema);
        assert!(why.ends_with(".of.value` must be a text, and is a number"), "{why}");
    }

    #[test]
    fn v06_a_value_may_be_nested_as_deep_as_the_limit_and_no_deeper() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(violation(&nested(MAX_NESTING), &Value::Null), "");
        assert_eq!(
            violation(&nested(MAX_NESTING + 1), &Value::Null),
            "it is nested more than 120 levels deep"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z$]{0,6}".prop_map(Value::from),
        ];
        let word = prop_oneof![
            Just("type".to_owned()),
            Just("items".to_owned()),
            Just("properties".to_owned()),
            Just("required".to_owned()),
            Just("$ref".to_owned()),
            Just("anyOf".to_owned()),
            "[a-z]{1,3}",
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(word.clone(), inner, 0..4)
                    .prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    /// Creates a schema that describes a value as exactly as it can.
    fn schema_of(value: &Value) -> Value {
        match value {
            Value::Array(items) => json!({
                "type": "array", "minItems": items.len(), "maxItems": items.len(),
                "prefixItems": items.iter().map(schema_of).collect::<Vec<_>>(), "items": false,
            }),
            Value::Object(entries) => json!({
                "type": "object", "additionalProperties": false, "required": entries.keys().collect::<Vec<_>>(),
                "properties": entries.iter().map(|(key, entry)| (key.clone(), schema_of(entry))).collect::<Map<_, _>>(),
            }),
            other => json!({ "type": type_of(other), "const": other }),
        }
    }

    proptest! {
        #[test]
        fn a_schema_made_of_a_value_accepts_that_value_only(a in any_json(), b in any_json()) {
            prop_assert_eq!(violation(&a, &schema_of(&a)), "");
            prop_assert_eq!(check(&b, &schema_of(&a)).is_ok(), a == b);
        }

        #[test]
        fn no_schema_panics(value in any_json(), schema in any_json()) {
            let _ = check(&value, &schema);
        }
    }
}
