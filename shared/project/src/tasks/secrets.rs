//! Secrets and references in a configuration, and where they are allowed.

use lamplighter_core::{hidden, resolve, secret::MASK};
use serde_json::Value;

/// Returns the paths of secrets in plain text: values that the schema marks as secret and that are no references. An empty
/// value is none.
pub fn in_clear(config: &Value, schema: &Value) -> Vec<Vec<String>> {
    let mut marked = hidden::marked(config, schema);
    marked.retain(|path| !is_resolved_later(at(config, path)));
    marked
}

/// Returns the reason to reject a configuration that is stored in the table, if it has a secret or a reference. Those are only
/// allowed in lamplighter.toml: elsewhere they are neither masked nor resolved.
pub fn only_in_a_file(config: &Value, schema: &Value) -> Option<String> {
    let place = "put a reference such as `{{resolve:secretsmanager:...}}` into the task's `config` in lamplighter.toml, and \
                 deploy it";
    if let Some(path) = hidden::marked(config, schema).first() {
        return Some(format!(
            "`{}` is secret, and the table would store it in plain text: {place}",
            hidden::path(path)
        ));
    }
    let found = resolve::find(config).into_iter().next()?;
    Some(unresolved(&found.path))
}

/// The message about a reference in a place where it is not resolved.
pub fn unresolved(path: &str) -> String {
    format!(
        "`{path}` is a reference, which CloudFormation resolves only during a deployment: put it into the task's `config` in \
         lamplighter.toml, or write the value itself if it is no secret"
    )
}

/// The value at a path.
pub(super) fn at<'a>(config: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(config, |value, word| match value {
        Value::Array(items) => word.parse().ok().and_then(|i: usize| items.get(i)).unwrap_or(&Value::Null),
        other => other.get(word).unwrap_or(&Value::Null),
    })
}

/// Returns true if a value consists only of texts with references. Empty and masked texts count as such.
fn is_resolved_later(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.is_empty() || text == MASK || resolve::references(text).is_ok_and(|found| !found.is_empty())
        }
        Value::Array(items) => items.iter().all(is_resolved_later),
        Value::Object(entries) => entries.values().all(is_resolved_later),
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
    fn l23_a_secret_must_be_a_reference() {
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
    fn o04_the_table_stores_no_secret_and_no_reference() {
        let message = |config: Value| only_in_a_file(&config, &schema()).unwrap_or_default();
        assert_eq!(message(json!({ "url": "u", "token": "" })), "");
        let secret = message(json!({ "hooks": [{ "key": "hunter2" }] }));
        assert!(
            secret.starts_with("`hooks[0].key` is secret") && secret.contains("lamplighter.toml"),
            "{secret}"
        );
        assert!(!secret.contains("hunter2"), "{secret}");
        let reference = message(json!({ "url": "http://{{resolve:ssm:/shop/host}}/" }));
        assert!(reference.starts_with("`url` is a reference"), "{reference}");
        assert!(message(json!({ "token": "{{resolve:ssm:/shop/token}}" })).starts_with("`token` is secret"));
    }
}
