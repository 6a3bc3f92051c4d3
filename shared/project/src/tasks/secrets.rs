//! Secrets and references in a configuration: what may stand in a file, and what may not.

use lamplighter_core::{hidden, resolve, secret::MASK};
use serde_json::Value;

/// The path of every value that the schema marks as secret and that CloudFormation does not look up. An empty one says
/// nothing.
pub fn in_clear(config: &Value, schema: &Value) -> Vec<Vec<String>> {
    let mut marked = hidden::marked(config, schema);
    marked.retain(|path| !is_looked_up(at(config, path)));
    marked
}

/// What a configuration has that only lamplighter.toml may have, since nobody resolves or hides it elsewhere.
pub fn only_in_a_file(config: &Value, schema: &Value) -> Option<String> {
    let place = "put it into lamplighter.toml, such as `{{resolve:secretsmanager:...}}` in the task's `config`, and deploy it";
    if let Some(path) = hidden::marked(config, schema).first() {
        return Some(format!(
            "`{}` is secret, and would stand in the table in clear: {place}",
            hidden::path(path)
        ));
    }
    let found = resolve::find(config).into_iter().next()?;
    Some(unresolved(&found.path))
}

/// What is said of a reference where nobody resolves it.
pub fn unresolved(path: &str) -> String {
    format!(
        "`{path}` is a reference, and CloudFormation resolves one only as it deploys: put it into lamplighter.toml, in the \
         task's `config`, or give the value itself where it may stand in clear"
    )
}

/// The value at a path.
pub(super) fn at<'a>(config: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(config, |value, word| match value {
        Value::Array(items) => word.parse().ok().and_then(|i: usize| items.get(i)).unwrap_or(&Value::Null),
        other => other.get(word).unwrap_or(&Value::Null),
    })
}

/// Whether a value has nothing but texts with references. What is masked already is no value: it says that there is none.
fn is_looked_up(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.is_empty() || text == MASK || resolve::references(text).is_ok_and(|found| !found.is_empty())
        }
        Value::Array(items) => items.iter().all(is_looked_up),
        Value::Object(entries) => entries.values().all(is_looked_up),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "token": { "writeOnly": true },
            "hooks": { "items": { "properties": { "key": { "writeOnly": true } } } },
        } })
    }

    #[test]
    fn l23_a_secret_must_be_looked_up() {
        let found = |config: Value| in_clear(&config, &schema());
        let reference = "{{resolve:secretsmanager:shop:SecretString:token}}";
        assert_eq!(found(json!({ "token": reference, "url": "u" })), Vec::<Vec<String>>::new());
        assert_eq!(
            found(json!({ "token": format!("postgres://u:{reference}@h") })),
            Vec::<Vec<String>>::new()
        );
        assert_eq!(found(json!({ "token": "" })), Vec::<Vec<String>>::new());
        assert_eq!(found(json!({ "token": MASK })), Vec::<Vec<String>>::new());
        assert_eq!(found(json!({ "token": "s3cr3t" })), [["token"]]);
        assert_eq!(found(json!({ "token": 4711 })), [["token"]]);
        assert_eq!(found(json!({ "token": "{{resolve:ssm-secure:x}}" })), [["token"]]);
        assert_eq!(found(json!({ "hooks": [{ "key": "a" }] })), [["hooks", "0", "key"]]);
    }

    #[test]
    fn o04_what_stands_in_the_table_has_no_secret_and_no_reference() {
        let said = |config: Value| only_in_a_file(&config, &schema()).unwrap_or_default();
        assert_eq!(said(json!({ "url": "u", "token": "" })), "");
        let secret = said(json!({ "hooks": [{ "key": "hunter2" }] }));
        assert!(
            secret.starts_with("`hooks[0].key` is secret") && secret.contains("lamplighter.toml"),
            "{secret}"
        );
        assert!(!secret.contains("hunter2"), "{secret}");
        let reference = said(json!({ "url": "http://{{resolve:ssm:/shop/host}}/" }));
        assert!(reference.starts_with("`url` is a reference"), "{reference}");
        assert!(said(json!({ "token": "{{resolve:ssm:/shop/token}}" })).starts_with("`token` is secret"));
    }
}
