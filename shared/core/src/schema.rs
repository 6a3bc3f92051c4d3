//! Whether a value is what a JSON Schema says, as far as schemars says it of Rust's types.
//!
//! Checked are `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`,
//! `maxLength`, `minItems`, `maxItems`, `items`, `prefixItems`, `required`, `properties`, `additionalProperties`, `anyOf`,
//! `oneOf`, `allOf`, `$ref` within the schema, and schemas that are `true` or `false`. Everything else is not: above all
//! `pattern` and `patternProperties` (and with these `additionalProperties`), which need a regex engine in every task's
//! binary, `format`, `multipleOf`, `uniqueItems`, `not`, `if`, and what is said by `unevaluated..` and `dependent..`.

use std::{cmp::Ordering, fmt, iter};

use serde_json::{Map, Number, Value};

/// How many references may lead to one another before a schema is taken to say nothing.
const MAX_REFERENCES: u32 = 32;

/// Where a value is not what its schema says. Nothing of the value is in here, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: `servers[0].port`; empty for the value itself.
    pub path: String,
    /// What must be the case there, for people.
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

/// Checks a value against a schema. No schema (null) is fulfilled by every value.
pub fn check(value: &Value, schema: &Value) -> Result<(), Violation> {
    Checker { root: schema, references: 0 }.check(value, schema, "")
}

#[derive(Clone, Copy)]
struct Checker<'a> {
    root: &'a Value,
    /// How many references have led here without a step into the value.
    references: u32,
}

fn violation(path: &str, reason: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { path: path.to_owned(), reason: reason.into() })
}

impl Checker<'_> {
    fn check(self, value: &Value, schema: &Value, path: &str) -> Result<(), Violation> {
        let schema = match schema {
            Value::Object(schema) => schema,
            Value::Bool(false) => return violation(path, "must not be there"),
            _ => return Ok(()),
        };
        words(value, schema, path)?;
        match value {
            Value::Number(number) => bounds(number, schema, path)?,
            Value::String(text) => counted(text.chars().count(), schema, "Length", "characters", path)?,
            Value::Array(items) => {
                counted(items.len(), schema, "Items", "items", path)?;
                self.items(items, schema, path)?;
            }
            Value::Object(entries) => self.entries(entries, schema, path)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.others(value, schema, path)
    }

    /// A part of the value.
    fn part(self, value: &Value, schema: &Value, path: &str) -> Result<(), Violation> {
        Checker { references: 0, ..self }.check(value, schema, path)
    }

    fn items(self, items: &[Value], schema: &Map<String, Value>, path: &str) -> Result<(), Violation> {
        let first = schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
        let schemas = first.map(Some).chain(iter::repeat(schema.get("items")));
        for (i, (item, schema)) in items.iter().zip(schemas).enumerate() {
            self.part(item, schema.unwrap_or(&Value::Null), &format!("{path}[{i}]"))?;
        }
        Ok(())
    }

    fn entries(
        self,
        entries: &Map<String, Value>,
        schema: &Map<String, Value>,
        path: &str,
    ) -> Result<(), Violation> {
        let within = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        if let Some(key) = required.filter_map(Value::as_str).find(|key| !entries.contains_key(*key)) {
            return violation(&within(key), "is missing");
        }
        let properties = schema.get("properties");
        let others = schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
        for (key, entry) in entries {
            match (properties.and_then(|known| known.get(key)), others) {
                (Some(known), _) => self.part(entry, known, &within(key))?,
                (None, Some(Value::Bool(false))) => return violation(&within(key), "is not known"),
                (None, Some(other)) => self.part(entry, other, &within(key))?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The other schemas of which the value must fulfil some.
    fn others(self, value: &Value, schema: &Map<String, Value>, path: &str) -> Result<(), Violation> {
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'))
            && let Some(target) = self.root.pointer(pointer)
            && self.references < MAX_REFERENCES
        {
            Checker { references: self.references + 1, ..self }.check(value, target, path)?;
        }
        let branches = |word: &str| schema.get(word).and_then(Value::as_array);
        for branch in branches("allOf").into_iter().flatten() {
            self.check(value, branch, path)?;
        }
        for (word, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let Some(branches) = branches(word) else { continue };
            let checked: Vec<_> = branches.iter().map(|branch| self.check(value, branch, path)).collect();
            let fulfilled = checked.iter().filter(|checked| checked.is_ok()).count();
            if fulfilled == 0 {
                return Err(nearest(branches, checked, path));
            }
            if fulfilled > most {
                return violation(path, format!("has {fulfilled} of the forms of which it may have one"));
            }
        }
        Ok(())
    }
}

/// What to tell of a value that fulfils none of the branches: what is wrong with the one that it follows furthest.
fn nearest(branches: &[Value], checked: Vec<Result<(), Violation>>, path: &str) -> Violation {
    let words: Option<Vec<_>> =
        branches.iter().map(|branch| branch.get("const").map(Value::to_string)).collect();
    if let Some(words) = words {
        return Violation { path: path.to_owned(), reason: format!("must be one of {}", words.join(", ")) };
    }
    let furthest = checked.into_iter().filter_map(Result::err).max_by_key(|violation| violation.path.len());
    furthest.filter(|violation| violation.path.len() > path.len()).unwrap_or_else(|| {
        let reason = format!("has none of the {} forms that it may have", branches.len());
        Violation { path: path.to_owned(), reason }
    })
}

/// `type`, `enum` and `const`.
fn words(value: &Value, schema: &Map<String, Value>, path: &str) -> Result<(), Violation> {
    let types: Vec<_> = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
        let wanted: Vec<_> = types.into_iter().map(in_words).collect();
        let reason = format!("must be {}, and is {}", wanted.join(" or "), in_words(type_of(value)));
        return violation(path, reason);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        let words: Vec<_> = words.iter().map(Value::to_string).collect();
        return violation(path, format!("must be one of {}", words.join(", ")));
    }
    match schema.get("const") {
        Some(word) if word != value => violation(path, format!("must be {word}")),
        _ => Ok(()),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number without a fraction is an integer, however it is written. Source: JSON Schema validation, section 6.1.1.
fn is_of_type(value: &Value, name: &str) -> bool {
    match (name, value) {
        ("integer", Value::Number(number)) => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => name == type_of(value),
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "string" => "a text",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn bounds(number: &Number, schema: &Map<String, Value>, path: &str) -> Result<(), Violation> {
    for (word, kept, reason) in [
        ("minimum", [Ordering::Greater, Ordering::Equal].as_slice(), "must be at least"),
        ("maximum", &[Ordering::Less, Ordering::Equal], "must be at most"),
        ("exclusiveMinimum", &[Ordering::Greater], "must be more than"),
        ("exclusiveMaximum", &[Ordering::Less], "must be less than"),
    ] {
        if let Some(Value::Number(bound)) = schema.get(word)
            && !compared(number, bound).is_some_and(|order| kept.contains(&order))
        {
            return violation(path, format!("{reason} {bound}"));
        }
    }
    Ok(())
}

/// Whole numbers are compared as such: beyond 2^53 a float cannot tell neighbours apart.
fn compared(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// `minLength` and `maxLength`, or `minItems` and `maxItems`.
fn counted(
    count: usize,
    schema: &Map<String, Value>,
    what: &str,
    of: &str,
    path: &str,
) -> Result<(), Violation> {
    let bound = |word: &str| schema.get(&format!("{word}{what}")).and_then(Value::as_u64);
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(min) = bound("min").filter(|min| count < *min) {
        return violation(path, format!("must have at least {min} {of}, and has {count}"));
    }
    if let Some(max) = bound("max").filter(|max| count > *max) {
        return violation(path, format!("must have at most {max} {of}, and has {count}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(value: &Value, schema: &Value) -> String {
        check(value, schema).err().map_or_else(String::new, |violation| violation.to_string())
    }

    /// Cases of a schema, a value that fulfils it, one that does not, and what is said of that.
    fn held<const N: usize>(cases: [(Value, Value, Value, &str); N]) {
        for (schema, good, bad, wanted) in cases {
            assert_eq!(told(&good, &schema), "", "{schema}: {good}");
            assert_eq!(told(&bad, &schema), wanted, "{schema}: {bad}");
        }
    }

    #[test]
    fn c08_each_keyword_of_a_plain_value_is_held() {
        held([
            (json!({ "type": "string" }), json!("x"), json!(7), "it must be a text, and is a number"),
            (
                json!({ "type": ["integer", "null"] }),
                json!(null),
                json!(0.5),
                "it must be a whole number or null, and is a number",
            ),
            (
                json!({ "type": "integer" }),
                json!(2.0),
                json!("2"),
                "it must be a whole number, and is a text",
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
    fn c08_each_keyword_of_a_list_or_an_object_is_held_and_its_violation_names_the_place() {
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
                "it has none of the 2 forms that it may have",
            ),
            (
                json!({ "oneOf": [{ "minimum": 1 }, { "maximum": 2 }] }),
                json!(0),
                json!(1),
                "it has 2 of the forms of which it may have one",
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
    fn a_schema_that_says_nothing_is_fulfilled_by_everything() {
        let circle = json!({ "$ref": "#" });
        let elsewhere = json!({ "$ref": "https://example.org/schema", "pattern": "^a$", "format": "uri" });
        let keys = json!({ "patternProperties": { "^\\d+$": true }, "additionalProperties": false });
        for schema in
            [json!(null), json!(true), json!({}), circle, elsewhere, keys, json!({ "$ref": "#/none" })]
        {
            for value in [json!(null), json!("x"), json!({ "7": [] }), json!(-1)] {
                assert_eq!(told(&value, &schema), "", "{schema}: {value}");
            }
        }
        assert_eq!(told(&json!(1), &json!(false)), "it must not be there");
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

    /// The schema that says what a value is, as exactly as it can.
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
        fn a_value_fulfils_the_schema_made_of_it_and_no_other_value_does(a in any_json(), b in any_json()) {
            prop_assert_eq!(told(&a, &schema_of(&a)), "");
            prop_assert_eq!(check(&b, &schema_of(&a)).is_ok(), a == b);
        }

        #[test]
        fn whatever_stands_as_a_schema_is_no_panic(value in any_json(), schema in any_json()) {
            let _ = check(&value, &schema);
        }
    }
}
