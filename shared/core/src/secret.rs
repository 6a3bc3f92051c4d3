//! Masking of values that a configuration's schema marks as secret.

use std::collections::HashMap;

use serde_json::Value;

use crate::schema::{
    Checker, is_of_type,
    parts::{self, Entry, Keywords, conjunction, is_named, is_nothing, target},
};

/// The text in place of a secret.
pub const MASK: &str = "[secret]";

/// The secrets of one configuration.
///
/// A value is secret if its JSON Schema says `writeOnly: true`. Source: JSON Schema validation vocabulary,
/// section 9.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Finds the secrets in `config`. Returns them, and the configuration without them.
    ///
    /// A value of an enum is masked according to its variant. A value that matches no variant is masked as a
    /// whole if a variant has secrets. An unknown entry of a closed object with secrets is masked too, since it
    /// may be a misspelled secret.
    pub fn take(config: &Value, schema: &Value) -> (Self, Value) {
        let mut masking = Masking::new(schema);
        let shown = masking.shown(config, &[schema]);
        let mut found = masking.found;
        let quoted: Vec<_> = found.iter().flat_map(|secret| quotations(secret)).collect();
        found.extend(quoted);
        // Longest first, so that a secret that contains another one is masked whole.
        found.sort_by_key(|s| std::cmp::Reverse(s.len()));
        (Self(found), shown)
    }

    /// Returns the text with every secret masked.
    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// Returns the value with every secret masked, in keys, texts and numbers at any depth.
    pub fn mask_value(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask_value(item)).collect(),
            Value::Object(entries) => {
                entries.into_iter().map(|(key, item)| (self.mask(&key), self.mask_value(item))).collect()
            }
            Value::Number(number) if self.0.contains(&number.to_string()) => Value::String(MASK.to_owned()),
            other => other,
        }
    }
}

/// Returns the escaped forms of a text that differ from the text: by `{:?}`, as JSON, and by `{:?}` of each of
/// these two forms.
fn quotations(text: &str) -> Vec<String> {
    let debug = |text: &str| {
        let quoted = format!("{text:?}");
        quoted[1..quoted.len() - 1].to_owned()
    };
    let json = Value::from(text).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let mut forms = vec![debug(&json), json, debug(text)];
    forms.push(debug(&forms[2]));
    forms.retain(|form| form != text);
    forms
}

/// The minimum length from which a text that may be a secret is masked in all messages. Shorter texts would
/// match in too many places.
const MIN_DOUBTFUL: usize = 6;

/// Masks the values that a schema marks, and collects their texts.
struct Masking<'a> {
    root: &'a Value,
    checker: Checker<'a>,
    /// Parts of the schema, each with whether it contains a secret.
    secretive: HashMap<*const Value, bool>,
    found: Vec<String>,
}

/// The schemas that apply to a part of a configuration.
struct Place<'a> {
    /// Schemas that the part must fulfil, and alternatives that it fulfils.
    sure: Vec<&'a Keywords>,
    /// Alternatives of which the value fulfils none and at least one has a secret.
    doubtful: Vec<&'a Keywords>,
}

impl<'a> Masking<'a> {
    fn new(root: &'a Value) -> Self {
        Self { root, checker: Checker::new(root), secretive: HashMap::new(), found: Vec::new() }
    }

    fn shown(&mut self, value: &'a Value, schemas: &[&'a Value]) -> Value {
        if !schemas.iter().any(|schema| self.has_secret(schema)) {
            return value.clone();
        }
        let Place { sure, doubtful } = self.place(value, schemas);
        if sure.iter().chain(&doubtful).any(|schema| schema.get("writeOnly") == Some(&Value::Bool(true))) {
            return self.masked(value, 0);
        }
        let is_in_doubt = !doubtful.is_empty();
        // A value of the wrong type has none of the parts that the schema marks. So all of it is masked.
        if !sure.iter().all(|schema| is_of_type(value, schema)) {
            return self.masked(value, MIN_DOUBTFUL);
        }
        match value {
            Value::Object(entries) => {
                let mut shown = serde_json::Map::new();
                for (key, value) in entries {
                    let (schemas, is_closed) = applying(&sure, key);
                    let (others, _) = applying(&doubtful, key);
                    let is_known = !schemas.is_empty();
                    let value = if is_known || !(is_in_doubt || is_closed) {
                        self.shown(value, &[schemas, others].concat())
                    } else if others.iter().any(|schema| self.marks(schema)) {
                        self.masked(value, 0)
                    } else {
                        self.masked(value, MIN_DOUBTFUL)
                    };
                    shown.insert(key.clone(), value);
                }
                Value::Object(shown)
            }
            _ if is_in_doubt => self.masked(value, MIN_DOUBTFUL),
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(i, item)| {
                    let schemas: Vec<_> = sure.iter().filter_map(|schema| parts::item(schema, i)).collect();
                    self.shown(item, &schemas)
                });
                items.collect()
            }
            other => other.clone(),
        }
    }

    /// Returns the schemas that apply to a value. Of alternatives these are those that it fulfils, or else
    /// the one that its tag names.
    fn place(&mut self, value: &'a Value, schemas: &[&'a Value]) -> Place<'a> {
        let (root, mut doubtful) = (self.root, Vec::new());
        let sure = parts::applying(schemas, root, |branches| {
            let some = || branches.iter().filter(|branch| !is_nothing(branch));
            let fulfilled: Vec<_> =
                some().filter(|branch| self.checker.is_fulfilled(value, branch)).collect();
            let is_named = |branch: &&Value| {
                value.as_object().and_then(|entries| is_named(branch, entries, root)) == Some(true)
            };
            let named: Vec<_> = some().filter(is_named).collect();
            if !fulfilled.is_empty() {
                return fulfilled;
            }
            if named.len() == 1 {
                return named;
            }
            if !value.is_null() && some().any(|branch| self.has_secret(branch)) {
                doubtful.extend(some().flat_map(|branch| conjunction(branch, root)));
            }
            Vec::new()
        });
        Place { sure, doubtful }
    }

    /// Masks everything in a value. Texts of at least `least` bytes are masked wherever they occur.
    fn masked(&mut self, value: &Value, least: usize) -> Value {
        match value {
            Value::Null => Value::Null,
            Value::Array(items) => items.iter().map(|item| self.masked(item, least)).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(key, entry)| (key.clone(), self.masked(entry, least))).collect()
            }
            Value::String(_) | Value::Number(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if !text.is_empty() && text != MASK && text.len() >= least {
                    self.found.push(text);
                }
                MASK.into()
            }
            // A boolean occurs everywhere, so it is masked in its place only.
            Value::Bool(_) => MASK.into(),
        }
    }

    /// Returns whether a schema itself marks its value.
    fn marks(&self, schema: &'a Value) -> bool {
        conjunction(schema, self.root)
            .iter()
            .any(|schema| schema.get("writeOnly") == Some(&Value::Bool(true)))
    }

    /// Returns whether a schema marks any part of its value.
    fn has_secret(&mut self, schema: &'a Value) -> bool {
        if let Some(known) = self.secretive.get(&std::ptr::from_ref(schema)) {
            return *known;
        }
        let (mut seen, mut open) = (Vec::new(), vec![schema]);
        let mut has = false;
        while let Some(within) = open.pop() {
            // A reference to a schema that is being visited adds nothing.
            if let Value::Object(keywords) = within
                && !seen.contains(&std::ptr::from_ref(within))
            {
                seen.push(std::ptr::from_ref(within));
                has |= keywords.get("writeOnly") == Some(&Value::Bool(true));
                open.extend(target(keywords, self.root));
                open.extend(parts::subschemas(keywords));
            }
        }
        self.secretive.insert(std::ptr::from_ref(schema), has);
        has
    }
}

/// Returns the schemas of an entry, and whether one of the object's schemas does not allow it.
fn applying<'a>(schemas: &[&'a Keywords], key: &str) -> (Vec<&'a Value>, bool) {
    let (mut all, mut is_closed) = (Vec::new(), false);
    for schema in schemas {
        match parts::entry(schema, key) {
            Entry::Applies(schemas) => all.extend(schemas),
            Entry::Closed => is_closed = true,
        }
        is_closed |= schema.get("unevaluatedProperties") == Some(&Value::Bool(false));
    }
    (all, is_closed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "key": { "writeOnly": true, "type": "string" },
                "hooks": { "items": { "$ref": "#/$defs/Hook" } },
                "maybe": { "anyOf": [{ "$ref": "#/$defs/Token" }, { "type": "null" }] },
                "plain": { "type": "string" },
            },
            "$defs": {
                "Hook": { "properties": { "token": { "$ref": "#/$defs/Token" } } },
                "Token": { "writeOnly": true },
            },
        })
    }

    #[test]
    fn l23_secrets_are_found_at_any_depth_and_masked_everywhere() {
        let config = json!({
            "key": "s3cr3t", "plain": "shown", "maybe": "perhaps",
            "hooks": [{ "token": "t0ken", "url": "u" }],
        });
        let (secrets, shown) = Secrets::take(&config, &schema());
        assert_eq!(
            shown,
            json!({ "key": MASK, "plain": "shown", "maybe": MASK, "hooks": [{ "token": MASK, "url": "u" }] })
        );
        assert_eq!(secrets.mask("bad key s3cr3t at t0ken"), "bad key [secret] at [secret]");
        assert_eq!(secrets.mask_value(json!({ "a": ["perhaps"] })), json!({ "a": [MASK] }));
    }

    #[test]
    fn l23_a_secret_in_quotes_is_masked_too() {
        let key = "-----BEGIN KEY-----\nM\"II\u{7f}\\B\n-----END KEY-----";
        let (secrets, _) = Secrets::take(&json!({ "key": key }), &schema());
        for shown in [format!("{key:?}"), json!(key).to_string(), format!("{:?}", json!([key]).to_string())] {
            let masked = secrets.mask(&shown);
            assert!(!masked.contains("KEY"), "{masked}");
        }
    }

    #[test]
    fn l23_a_number_can_be_a_secret() {
        let (secrets, shown) = Secrets::take(&json!({ "key": 4711 }), &schema());
        assert_eq!(shown, json!({ "key": MASK }));
        assert_eq!(secrets.mask_value(json!({ "pin": 4711, "n": 47 })), json!({ "pin": MASK, "n": 47 }));
    }
}
