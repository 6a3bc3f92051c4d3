//! What must not be shown: values that a configuration's schema marks as secret.

use serde_json::Value;

/// What stands where a secret was.
pub const MASK: &str = "[secret]";

/// The secrets of one configuration, and how they are taken out of what is shown.
///
/// A value is secret where its JSON Schema says `writeOnly: true`, the JSON Schema validation vocabulary's
/// mark for what may be given but is not given back (section 9.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Finds the secrets in `config`, and gives the configuration without them.
    pub fn take(config: &Value, schema: &Value) -> (Self, Value) {
        let mut found = Vec::new();
        let mut shown = config.clone();
        collect(&mut shown, schema, schema, false, &mut found);
        let quoted: Vec<_> = found.iter().flat_map(|secret| quotations(secret)).collect();
        found.extend(quoted);
        // Longest first, so that a secret that contains another is masked whole.
        found.sort_by_key(|s| std::cmp::Reverse(s.len()));
        (Self(found), shown)
    }

    /// The text with every secret masked.
    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// The value with every secret masked, in keys, texts and numbers at any depth.
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

/// A text as it stands between quotes, where that differs: what `{:?}` and JSON make of it, and what `{:?}` makes of
/// JSON.
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

/// Masks in `value` what `schema` marks, and keeps the texts. References go to the definitions of `root`.
fn collect(value: &mut Value, schema: &Value, root: &Value, secret: bool, found: &mut Vec<String>) {
    let target = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(&Value::Null);
    let secret = secret || [schema, target].iter().any(|s| s["writeOnly"] == Value::Bool(true));
    let branches = ["anyOf", "oneOf", "allOf"].map(|word| schema[word].as_array().into_iter().flatten());
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                for part in [schema, target] {
                    let property = part["properties"].get(key).unwrap_or(&part["additionalProperties"]);
                    collect(entry, property, root, secret, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                for part in [schema, target] {
                    collect(item, &part["items"], root, secret, found);
                }
            }
        }
        Value::Null => {}
        _ if secret => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !text.is_empty() && text != MASK {
                found.push(text);
            }
            *value = Value::String(MASK.to_owned());
        }
        _ => {}
    }
    for branch in branches.into_iter().flatten() {
        collect(value, branch, root, secret, found);
    }
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
        for told in [format!("{key:?}"), json!(key).to_string(), format!("{:?}", json!([key]).to_string())] {
            let masked = secrets.mask(&told);
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
