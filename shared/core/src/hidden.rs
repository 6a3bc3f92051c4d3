//! Secrets in all values of one run: its configuration, its arguments, resolved references and its data.

use serde_json::{Map, Value, json};

use crate::secret::{MASK, Secrets};

/// Takes the secrets out of several values, each with its schema. Returns the secrets and the masked values.
///
/// One [`Secrets`] masks all values. So a secret that contains another secret is masked as a whole, even if the
/// two come from different values.
pub fn take_all<const N: usize>(parts: [(&Value, &Value); N]) -> (Secrets, [Value; N]) {
    let marked: Vec<_> = (0..N).filter(|i| marks(parts[*i].1) && !parts[*i].0.is_null()).collect();
    let mut shown = parts.map(|(value, _)| value.clone());
    // Most runs have secrets in one value, if in any.
    if let [one] = marked[..] {
        let (secrets, value) = Secrets::take(parts[one].0, parts[one].1);
        shown[one] = value;
        return (secrets, shown);
    }
    let (mut values, mut schemas) = (Map::new(), Map::new());
    for i in marked {
        let key = i.to_string();
        schemas.insert(key.clone(), moved(parts[i].1, &format!("/properties/{key}")));
        values.insert(key, parts[i].0.clone());
    }
    let (secrets, mut all) = Secrets::take(&Value::Object(values), &json!({ "properties": schemas }));
    for (i, shown) in shown.iter_mut().enumerate() {
        if let Some(value) = all.get_mut(i.to_string()) {
            *shown = value.take();
        }
    }
    (secrets, shown)
}

/// Returns secret texts as a value with the schema that marks them, for [`take_all`].
pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> (Value, Value) {
    let texts = texts.into_iter().map(Value::from).collect();
    (Value::Array(texts), json!({ "items": { "writeOnly": true } }))
}

/// Returns whether a schema marks anything as secret.
pub fn marks(schema: &Value) -> bool {
    match schema {
        Value::Object(entries) => {
            entries.get("writeOnly") == Some(&Value::Bool(true)) || entries.values().any(marks)
        }
        Value::Array(items) => items.iter().any(marks),
        _ => false,
    }
}

/// Returns the schema with its references moved, as it is placed at `pointer` in another schema.
fn moved(schema: &Value, pointer: &str) -> Value {
    match schema {
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| match (key.as_str(), value) {
                ("$ref", Value::String(to)) if to.starts_with('#') => {
                    (key.clone(), Value::from(format!("#{pointer}{}", &to[1..])))
                }
                _ => (key.clone(), moved(value, pointer)),
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Value::Array(items) => items.iter().map(|item| moved(item, pointer)).collect(),
        other => other.clone(),
    }
}

/// Returns the path of every non-empty value that the schema marks as secret. A value that is already masked
/// counts too.
pub fn marked(value: &Value, schema: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    if marks(schema) {
        let value = without_masks(value);
        let (_, shown) = Secrets::take(&value, schema);
        compare(&value, &shown, &mut Vec::new(), &mut found);
    }
    found
}

/// Returns a path as people write it: `servers[0].key`.
pub fn path(words: &[String]) -> String {
    let mut path = String::new();
    for word in words {
        match word.parse::<usize>() {
            Ok(_) => path.extend(["[", word, "]"]),
            Err(_) if path.is_empty() => path.push_str(word),
            Err(_) => path.extend([".", word]),
        }
    }
    path
}

/// Returns whether a value contains a mask.
pub fn is_masked(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MASK),
        Value::Array(items) => items.iter().any(is_masked),
        Value::Object(entries) => entries.iter().any(|(key, value)| key.contains(MASK) || is_masked(value)),
        _ => false,
    }
}

/// Returns the value with each mask replaced by another text. Masking a mask does not change it, so [`compare`]
/// would find no difference.
fn without_masks(value: &Value) -> Value {
    match value {
        Value::String(text) if text == MASK => Value::from("secret"),
        Value::Array(items) => items.iter().map(without_masks).collect(),
        Value::Object(entries) => entries.iter().map(|(key, it)| (key.clone(), without_masks(it))).collect(),
        other => other.clone(),
    }
}

/// Collects the paths where the two values differ, which are those that were masked.
fn compare(given: &Value, shown: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut descend = |key: String, given: &Value, shown: &Value| {
        path.push(key);
        compare(given, shown, path, found);
        path.pop();
    };
    match (given, shown) {
        (Value::Object(given), Value::Object(shown)) => {
            for (key, value) in given {
                descend(key.clone(), value, shown.get(key).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(given), Value::Array(shown)) => {
            for (i, value) in given.iter().enumerate() {
                descend(i.to_string(), value, shown.get(i).unwrap_or(&Value::Null));
            }
        }
        _ if given == shown || is_empty(given) => {}
        _ => found.push(path.clone()),
    }
}

/// Returns whether a value is empty and so hides nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(entries) => entries.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o04_the_secrets_of_several_values_are_masked_as_one() {
        let config = json!({
            "properties": { "token": { "$ref": "#/$defs/Secret" } },
            "$defs": { "Secret": { "type": "string", "writeOnly": true } },
        });
        let data = json!({ "properties": { "key": { "$ref": "#/$defs/Secret" } },
            "$defs": { "Secret": { "writeOnly": true }, "Other": {} } });
        let (resolved, of_texts) = texts(["abcdef", "4711"]);
        let (secrets, [config, plain, data, resolved]) = take_all([
            (&json!({ "token": "abc", "name": "n" }), &config),
            (&json!({ "token": "shown" }), &json!({})),
            (&json!({ "key": "k3y" }), &data),
            (&resolved, &of_texts),
        ]);
        assert_eq!(config, json!({ "token": MASK, "name": "n" }));
        assert_eq!(plain, json!({ "token": "shown" }));
        assert_eq!((data, resolved), (json!({ "key": MASK }), json!([MASK, MASK])));
        assert_eq!(secrets.mask("abc abcdef k3y shown"), format!("{MASK} {MASK} {MASK} shown"));
        assert_eq!(secrets.mask_value(json!({ "n": 4711 })), json!({ "n": MASK }));
    }

    #[test]
    fn o04_values_without_a_secret_stay_as_they_are() {
        let value = json!({ "a": 1 });
        let (secrets, [shown, nothing]) =
            take_all([(&value, &json!({})), (&Value::Null, &json!({ "writeOnly": true }))]);
        assert_eq!((secrets, shown, nothing), (Secrets::default(), value, Value::Null));
    }

    #[test]
    fn o04_marked_values_that_are_not_empty_are_found() {
        let schema = json!({ "properties": {
            "token": { "writeOnly": true },
            "hooks": { "items": { "properties": { "key": { "writeOnly": true } } } },
        } });
        let found =
            |value: Value| marked(&value, &schema).iter().map(|words| path(words)).collect::<Vec<_>>();
        assert_eq!(
            found(json!({ "token": "s3cr3t", "hooks": [{ "key": "" }, { "key": "b" }] })),
            ["hooks[1].key", "token"]
        );
        assert_eq!(found(json!({ "token": 7 })), ["token"]);
        assert_eq!(found(json!({ "token": MASK })), ["token"]);
        assert_eq!(
            found(json!({ "token": "", "hooks": [{ "key": null, "url": "u" }] })),
            Vec::<String>::new()
        );
        assert_eq!(found(json!({ "other": "x" })), Vec::<String>::new());
        assert!(is_masked(&json!({ "a": [MASK] })) && !is_masked(&json!({ "a": ["x"] })));
    }
}
