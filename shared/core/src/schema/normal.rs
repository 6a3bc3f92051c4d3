//! The normal form of a value: the one that its type would write.

use serde_json::{Map, Number, Value};

use super::{
    check::Checker,
    keywords::{is_float, single},
    parts::{self, Entry, Keywords, applying, property, required},
};

/// Returns the value as its Rust type would write it: a float as such (`1` as `1.0`), and missing keys with
/// their defaults. So values that are equal for the type are equal as JSON. The value must fulfil the schema.
pub fn normalised(value: &Value, schema: &Value) -> Value {
    let normal = Normal { root: schema, checker: Checker::new(schema) };
    normal.of(value, &[schema])
}

struct Normal<'a> {
    root: &'a Value,
    checker: Checker<'a>,
}

impl<'a> Normal<'a> {
    fn of(&self, value: &'a Value, schemas: &[&'a Value]) -> Value {
        let all = self.applying(value, schemas);
        match value {
            Value::Number(number) => Value::Number(float(number, &all).unwrap_or_else(|| number.clone())),
            Value::Array(items) => {
                let item = |(i, item)| {
                    self.of(item, &all.iter().filter_map(|it| parts::item(it, i)).collect::<Vec<_>>())
                };
                items.iter().enumerate().map(item).collect()
            }
            Value::Object(entries) => {
                let entry = |(key, value): (&String, _)| {
                    let schemas = all.iter().filter_map(|it| match parts::entry(it, key) {
                        Entry::Applies(schemas) => Some(schemas),
                        Entry::Closed => None,
                    });
                    (key.clone(), self.of(value, &schemas.flatten().collect::<Vec<_>>()))
                };
                let mut entries: Map<_, _> = entries.iter().map(entry).collect();
                self.complete(&mut entries, &all);
                Value::Object(entries)
            }
            other => other.clone(),
        }
    }

    /// Returns the schemas that the value fulfils. Of alternatives that is the first, which serde takes.
    fn applying(&self, value: &'a Value, schemas: &[&'a Value]) -> Vec<&'a Keywords> {
        applying(schemas, self.root, |branches| {
            branches.iter().find(|branch| self.checker.is_fulfilled(value, branch)).into_iter().collect()
        })
    }

    fn complete(&self, entries: &mut Map<String, Value>, all: &[&'a Keywords]) {
        for schema in all {
            for (key, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if entries.contains_key(key) || all.iter().any(|it| required(it).any(|it| it == key)) {
                    continue;
                }
                if let Some(default) = default_of(schema, key) {
                    entries.insert(key.clone(), default.clone());
                } else if self.checker.is_fulfilled(&Value::Null, of) && of.is_object() {
                    entries.insert(key.clone(), Value::Null);
                }
            }
        }
    }
}

fn default_of<'a>(schema: &'a Keywords, key: &str) -> Option<&'a Value> {
    property(schema, key)?.get("default")
}

fn float(number: &Number, all: &[&Keywords]) -> Option<Number> {
    let schema = all.iter().find(|schema| is_float(schema))?;
    if schema.get("format").is_some_and(|format| format == "float") {
        return Number::from_f64(single(number)?.into());
    }
    Number::from_f64(number.as_f64()?)
}
