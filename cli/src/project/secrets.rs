//! Which values of a configuration are secret and stand there in clear.

use lamplighter_core::secret::Secrets;
use serde_json::Value;

/// Where CloudFormation itself may look a value up for a function's environment. It knows `ssm-secure` too, but
/// not in that place. Source: CloudFormation User Guide, "Get values stored in other services".
const RESOLVED: [&str; 2] = ["{{resolve:secretsmanager:", "{{resolve:ssm:"];

/// The path of every value that the schema marks as secret and that is not looked up by CloudFormation. An empty
/// one says nothing.
pub(crate) fn in_clear(config: &Value, schema: &Value) -> Vec<Vec<String>> {
    let (_, shown) = Secrets::take(config, schema);
    let mut found = Vec::new();
    compare(config, &shown, &mut Vec::new(), &mut found);
    found
}

/// Finds what was masked: where the two differ.
fn compare(given: &Value, shown: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut descend = |key: String, given: &Value, shown: &Value| {
        path.push(key);
        compare(given, shown, path, found);
        path.pop();
    };
    match (given, shown) {
        (Value::Object(given), Value::Object(shown)) => {
            for (key, value) in given {
                descend(key.clone(), value, &shown[key]);
            }
        }
        (Value::Array(given), Value::Array(shown)) => {
            for (i, (value, shown)) in given.iter().zip(shown).enumerate() {
                descend(i.to_string(), value, shown);
            }
        }
        _ if given == shown || given == "" => {}
        (Value::String(text), _) if is_looked_up(text) => {}
        _ => found.push(path.clone()),
    }
}

fn is_looked_up(text: &str) -> bool {
    RESOLVED.iter().any(|start| text.starts_with(start)) && text.ends_with("}}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn l23_a_secret_must_be_looked_up() {
        let schema = json!({ "properties": {
            "token": { "writeOnly": true },
            "hooks": { "items": { "properties": { "key": { "writeOnly": true } } } },
        } });
        let found = |config: Value| in_clear(&config, &schema);
        let reference = "{{resolve:secretsmanager:shop:SecretString:token}}";
        assert_eq!(found(json!({ "token": reference, "url": "u" })), Vec::<Vec<String>>::new());
        assert_eq!(found(json!({ "token": "" })), Vec::<Vec<String>>::new());
        assert_eq!(found(json!({ "token": "s3cr3t" })), [["token"]]);
        assert_eq!(found(json!({ "token": "{{resolve:ssm-secure:x}}" })), [["token"]]);
        assert_eq!(found(json!({ "hooks": [{ "key": "a" }] })), [["hooks", "0", "key"]]);
    }
}
