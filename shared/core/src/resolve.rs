//! References that CloudFormation resolves, and how their values reach a task.
//!
//! A text of a configuration may contain references such as
//! `{{resolve:secretsmanager:shop:SecretString:token}}`. CloudFormation inserts the value without escaping
//! it. So a text with a reference is not part of the settings' JSON. [`pack`] moves the text into an
//! environment variable of its own, and the settings name its place in the configuration. When the task's
//! process starts, [`unpack`] inserts the resolved text there, whatever characters it contains.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{digest::sha256, schema, settings::Settings};

/// The prefix of variables for texts that contain a value of Secrets Manager.
pub const SECRET_VARIABLE: &str = "LAMPLIGHTER_SECRET_";
/// The prefix of variables for texts that contain parameters of Systems Manager and no secret.
pub const PARAMETER_VARIABLE: &str = "LAMPLIGHTER_PARAMETER_";

/// The key of the settings that maps variables to their places.
const PLACES: &str = "resolved";
/// The beginning and the end of every reference.
const OPENING: &str = "{{resolve:";
const CLOSING: &str = "}}";

/// The error of a reference that is not allowed in a task's environment. Source: CloudFormation User Guide,
/// "Get values stored in other services using dynamic references".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The reference has no end.
    #[error("has a reference that begins with `{OPENING}` and does not end with `{CLOSING}`")]
    Unclosed,
    /// CloudFormation does not resolve references to this service here.
    #[error(
        "has a reference to `{0}`, which CloudFormation does not resolve for a function: write \
         `{{{{resolve:secretsmanager:...}}}}` or `{{{{resolve:ssm:...}}}}`"
    )]
    Service(String),
    /// The reference names no value.
    #[error("has the reference `{0}`, which names no value")]
    Unnamed(String),
}

/// Returns the references in a text, each with its braces, in order.
pub fn references(text: &str) -> Result<Vec<&str>, InvalidReference> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPENING) {
        let from = &rest[start..];
        let end = from.find(CLOSING).ok_or(InvalidReference::Unclosed)?;
        let (reference, after) = from.split_at(end + CLOSING.len());
        let inner = &from[OPENING.len()..end];
        // CloudFormation does not read a text with braces or line ends inside as one reference.
        if inner.contains(['{', '}', '\n', '\r']) {
            return Err(InvalidReference::Unclosed);
        }
        match inner.split_once(':') {
            Some(("secretsmanager" | "ssm", name)) if !name.trim().is_empty() => found.push(reference),
            Some(("secretsmanager" | "ssm", _)) | None => {
                return Err(InvalidReference::Unnamed(reference.to_owned()));
            }
            Some((service, _)) => return Err(InvalidReference::Service(service.to_owned())),
        }
        rest = after;
    }
    Ok(found)
}

/// Returns whether a reference is to a value of Secrets Manager.
pub fn is_secret(reference: &str) -> bool {
    reference.starts_with("{{resolve:secretsmanager:")
}

/// Returns whether a text contains the beginning of a reference, valid or not.
pub fn has_reference(text: &str) -> bool {
    text.contains(OPENING)
}

/// Returns the text with each reference replaced by its value. A reference inside a value stays.
pub fn replaced<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let (mut whole, mut rest) = (String::new(), text);
    for reference in references(text).ok()? {
        let (before, after) = rest.split_once(reference)?;
        whole.push_str(before);
        whole.push_str(value(reference)?);
        rest = after;
    }
    whole.push_str(rest);
    Some(whole)
}

/// A text in a configuration, or the key of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The path, such as `servers[0].url`.
    pub path: String,
    /// The path as a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// The text.
    pub text: &'a str,
    /// The text is a key, in which CloudFormation resolves nothing.
    pub is_key: bool,
}

/// Returns every text and key in `config` that contains the beginning of a reference.
pub fn find(config: &Value) -> Vec<Place<'_>> {
    let mut found = texts(config);
    found.retain(|place| has_reference(place.text));
    found
}

/// Returns the path of the first text or key with the beginning of a reference outside of `places`, which are
/// JSON Pointers.
pub fn unresolved(config: &Value, places: &[String]) -> Option<String> {
    fn any(value: &Value) -> bool {
        match value {
            Value::String(text) => has_reference(text),
            Value::Array(items) => items.iter().any(any),
            Value::Object(entries) => entries.iter().any(|(key, value)| has_reference(key) || any(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    // Most configurations have none, and this runs in each run.
    let found = if any(config) { find(config) } else { Vec::new() };
    found.into_iter().find(|it| it.is_key || !places.contains(&it.pointer)).map(|it| it.path)
}

/// Returns every text and key in a value.
fn texts(value: &Value) -> Vec<Place<'_>> {
    fn walk<'a>(value: &'a Value, path: &str, pointer: &str, found: &mut Vec<Place<'a>>) {
        let place = |text, is_key| Place { path: path.to_owned(), pointer: pointer.to_owned(), text, is_key };
        match value {
            Value::String(text) => found.push(place(text, false)),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}[{i}]"), &format!("{pointer}/{i}"), found);
                }
            }
            Value::Object(entries) => {
                for (key, entry) in entries {
                    found.push(place(key, true));
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(entry, &path, &format!("{pointer}/{key}"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", "", &mut found);
    found
}

/// Checks a configuration as [`schema::check`] does. References are not checked, since their values are not
/// known yet.
pub fn check(config: &Value, schema: &Value) -> Result<(), schema::Violation> {
    let related =
        |violation: &schema::Violation| find(config).iter().any(|it| are_related(&violation.path, &it.path));
    schema::check(config, schema)
        .or_else(|violation| if related(&violation) { Ok(()) } else { Err(violation) })
}

/// Returns whether the paths are equal, or one leads to the other.
fn are_related(one: &str, other: &str) -> bool {
    let leads = |short: &str, long: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    leads(one, other) || leads(other, one)
}

/// Settings that are packed for a task's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The settings without texts that contain references, and with the places of those texts.
    pub settings: Value,
    /// The texts with references, by the names of their variables.
    pub variables: BTreeMap<String, String>,
}

/// Moves the texts with references out of the settings. The name of a variable is derived from its text. So the
/// packed settings change with the references, and not with the values behind them.
pub fn pack(settings: &Settings) -> Packed {
    let mut places = serde_json::Map::new();
    let mut variables = BTreeMap::new();
    let mut config = settings.config.clone();
    for found in find(&settings.config).into_iter().filter(|found| !found.is_key) {
        let name = variable(found.text);
        if let Some(place) = config.pointer_mut(&found.pointer) {
            *place = Value::String(String::new());
        }
        places.insert(found.pointer, Value::String(name.clone()));
        variables.insert(name, found.text.to_owned());
    }
    // Settings are plain records, which JSON can always represent.
    let mut packed = serde_json::to_value(Settings { config, ..settings.clone() }).unwrap_or_default();
    if !places.is_empty() {
        packed[PLACES] = Value::Object(places);
    }
    Packed { settings: packed, variables }
}

impl Packed {
    /// Returns the packed settings after `text` has mapped the text of each variable. An empty text needs no
    /// variable: its place is already empty, and an empty variable is not passed to every process.
    #[must_use]
    pub fn mapped(mut self, text: impl Fn(String) -> String) -> Self {
        let variables = self.variables.into_iter().map(|(name, it)| (name, text(it)));
        let (variables, empty): (BTreeMap<_, _>, BTreeMap<_, _>) =
            variables.partition(|(_, it)| !it.is_empty());
        if let Some(places) = self.settings.get_mut(PLACES).and_then(Value::as_object_mut) {
            places.retain(|_, name| name.as_str().is_none_or(|name| !empty.contains_key(name)));
        }
        Self { variables, ..self }
    }
}

/// Returns the name of a text's variable: 48 bits of its digest, enough to distinguish the few of a task.
fn variable(text: &str) -> String {
    let of_secrets = references(text).is_ok_and(|found| found.into_iter().any(is_secret));
    let prefix = if of_secrets { SECRET_VARIABLE } else { PARAMETER_VARIABLE };
    format!("{prefix}{}", &sha256(text)[..12])
}

/// The error of settings that cannot be unpacked. It never contains a value.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The text is not settings.
    #[error(transparent)]
    Settings(#[from] serde_json::Error),
    /// A variable is missing.
    #[error("the variable {variable} is not set: it must hold the text of `{place}` in the configuration")]
    Missing {
        /// Its name.
        variable: String,
        /// The place of its text.
        place: String,
    },
    /// The configuration has no such place.
    #[error("the configuration has no `{0}`, where a variable's text belongs")]
    Place(String),
}

/// Unpacked settings, and the places of the texts that came from variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The settings, complete.
    pub settings: Settings,
    /// The places, as JSON Pointers.
    pub places: Vec<String>,
}

/// Unpacks settings that were [`pack`]ed. `variable` returns the value of an environment variable.
pub fn unpack<'a>(text: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Unpacked, UnpackError> {
    // A struct by itself would also be read from a list.
    let mut packed: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    let places: BTreeMap<String, String> =
        packed.remove(PLACES).map(serde_json::from_value).transpose()?.unwrap_or_default();
    let mut settings: Settings = serde_json::from_value(Value::Object(packed))?;
    for (place, name) in &places {
        let text = variable(name)
            .ok_or_else(|| UnpackError::Missing { variable: name.clone(), place: place.clone() })?;
        let at = settings.config.pointer_mut(place).ok_or_else(|| UnpackError::Place(place.clone()))?;
        *at = Value::String(text.to_owned());
    }
    Ok(Unpacked { settings, places: places.into_keys().collect() })
}

impl Unpacked {
    /// Returns the settings with the texts from variables converted to the types that `schema` requires. If the
    /// schema does not accept a text in its place, the text is parsed as JSON. `whole` returns the complete
    /// configuration that results from these settings.
    #[must_use]
    pub fn typed(self, whole: impl Fn(&Settings) -> Value, schema: &Value) -> Settings {
        let Self { mut settings, places } = self;
        let is_one = |place: &Place<'_>| !place.is_key && places.contains(&place.pointer);
        let read = |place: Place<'_>| {
            let value: Value = serde_json::from_str(place.text).ok()?;
            (!value.is_string()).then_some((place.pointer, place.path, value))
        };
        let mut left: Vec<_> = texts(&settings.config).into_iter().filter(is_one).filter_map(read).collect();
        while !left.is_empty()
            && let Err(violation) = schema::check(&whole(&settings), schema)
        {
            let exact = left.iter().position(|(_, path, _)| *path == violation.path);
            let near = || left.iter().position(|(_, path, _)| are_related(&violation.path, path));
            let Some(at) = exact.or_else(near) else { break };
            let (place, _, value) = left.swap_remove(at);
            if let Some(text) = settings.config.pointer_mut(&place) {
                *text = value;
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "{{resolve:secretsmanager:shop:SecretString:token}}";

    fn settings(config: Value) -> Settings {
        Settings { config, ..Settings::default() }
    }

    /// Returns the settings as a process receives them. Every reference in the text of each variable is
    /// replaced by `value` without escaping, as CloudFormation does it.
    fn arrived(settings: &Settings, value: &str) -> Unpacked {
        let Packed { settings, variables } = pack(settings);
        let resolved = |text: &str| {
            references(text).unwrap().iter().fold(text.to_owned(), |text, it| text.replacen(it, value, 1))
        };
        let variables: BTreeMap<_, _> =
            variables.iter().map(|(name, text)| (name.as_str(), resolved(text))).collect();
        let packed = settings.to_string();
        assert!(!has_reference(&packed), "{packed}");
        unpack(&packed, |name| variables.get(name).map(String::as_str)).unwrap()
    }

    #[test]
    fn o04_references_are_parsed_as_cloudformation_parses_them() {
        let found = |text| references(text);
        assert_eq!(found("plain {{resolve}} {{other:x}}"), Ok(vec![]));
        assert_eq!(found(TOKEN), Ok(vec![TOKEN]));
        assert_eq!(
            found("postgres://{{resolve:ssm:/shop/user}}:{{resolve:ssm:/shop/word:3}}@db/shop"),
            Ok(vec!["{{resolve:ssm:/shop/user}}", "{{resolve:ssm:/shop/word:3}}"])
        );
        assert_eq!(found("{{resolve:ssm:/shop"), Err(InvalidReference::Unclosed));
        assert_eq!(found("{{resolve:ssm:/a{{resolve:ssm:/b}}"), Err(InvalidReference::Unclosed));
        assert_eq!(found("{{resolve:ssm-secure:/a}}"), Err(InvalidReference::Service("ssm-secure".into())));
        assert_eq!(found("{{resolve:ssm:}}"), Err(InvalidReference::Unnamed("{{resolve:ssm:}}".into())));
        assert_eq!(found("{{resolve:ssm}}"), Err(InvalidReference::Unnamed("{{resolve:ssm}}".into())));
    }

    #[test]
    fn o04_a_value_replaces_its_reference_and_is_not_resolved_again() {
        let text = "{{resolve:ssm:a}}-{{resolve:ssm:b}}-{{resolve:ssm:a}}";
        let values = BTreeMap::from([("{{resolve:ssm:a}}", "{{resolve:ssm:b}}"), ("{{resolve:ssm:b}}", "")]);
        let replaced =
            |values: &BTreeMap<_, &'static str>| super::replaced(text, |it| values.get(it).copied());
        assert_eq!(replaced(&values).unwrap(), "{{resolve:ssm:b}}--{{resolve:ssm:b}}");
        assert_eq!(replaced(&BTreeMap::new()), None);
    }

    #[test]
    fn o04_the_location_of_a_reference_is_a_path_and_a_pointer() {
        let config = json!({ "a": [{ "x/y~z": TOKEN }], "b": "plain", TOKEN: 1 });
        let found = find(&config);
        let places: Vec<_> =
            found.iter().map(|it| (it.path.as_str(), it.pointer.as_str(), it.is_key)).collect();
        assert!(places.contains(&("a[0].x/y~z", "/a/0/x~1y~0z", false)), "{places:?}");
        assert!(places.contains(&("", "", true)), "{places:?}");
        assert_eq!(places.len(), 2);
    }

    #[test]
    fn o04_no_character_of_a_resolved_text_breaks_or_extends_the_settings() {
        for value in [
            "hunter2",
            "",
            "a \"b\" \\",
            "1\n2\r\u{0}",
            "\",\"admin\":true,\"x\":\"",
            "{{resolve:ssm:x}}",
            "ä🦀",
            "17",
        ] {
            let settings = settings(json!({
                "token": TOKEN, "url": format!("postgres://u:{TOKEN}@h"), "hooks": [{ "key": TOKEN, "n": 1 }],
            }));
            let Unpacked { settings, places } = arrived(&settings, value);
            let url = format!("postgres://u:{value}@h");
            assert_eq!(
                settings.config,
                json!({ "token": value, "url": url, "hooks": [{ "key": value, "n": 1 }] })
            );
            assert_eq!(places, ["/hooks/0/key", "/token", "/url"]);
        }
    }

    #[test]
    fn o04_the_settings_change_with_the_references_and_one_text_has_one_variable() {
        let of = |token: &str| pack(&settings(json!({ "a": token, "b": [token] })));
        let packed = of(TOKEN);
        assert_eq!(packed, of(TOKEN));
        assert_ne!(packed.settings, of("{{resolve:secretsmanager:shop:SecretString:other}}").settings);
        assert_eq!(packed.variables.len(), 1);
        assert!(packed.variables.keys().all(|name| name.starts_with(SECRET_VARIABLE)));
        let parameter = of("{{resolve:ssm:/shop/url}}");
        assert!(parameter.variables.keys().all(|name| name.starts_with(PARAMETER_VARIABLE)));
        let plain = settings(json!({ "a": 1 }));
        let nothing = Packed { settings: json!({ "config": { "a": 1 } }), variables: BTreeMap::new() };
        assert_eq!(pack(&plain), nothing);
    }

    #[test]
    fn o04_an_empty_text_needs_no_variable() {
        let settings = settings(json!({ "token": TOKEN, "url": "{{resolve:ssm:/url}}" }));
        let Packed { settings, variables } =
            pack(&settings).mapped(|text| if text == TOKEN { String::new() } else { text });
        assert_eq!(variables.values().collect::<Vec<_>>(), ["{{resolve:ssm:/url}}"]);
        let arrived =
            unpack(&settings.to_string(), |name| variables.contains_key(name).then_some("u")).unwrap();
        assert_eq!(arrived.settings.config, json!({ "token": "", "url": "u" }));
    }

    #[test]
    fn o04_a_missing_variable_is_named() {
        let packed = pack(&settings(json!({ "token": TOKEN })));
        let error = unpack(&packed.settings.to_string(), |_| None).unwrap_err().to_string();
        let name = packed.variables.keys().next().unwrap();
        assert_eq!(
            error,
            format!("the variable {name} is not set: it must hold the text of `/token` in the configuration")
        );
        let error =
            unpack(r#"{"config":{},"resolved":{"/a":"X"}}"#, |_| Some("secret")).unwrap_err().to_string();
        assert_eq!(error, "the configuration has no `/a`, where a variable's text belongs");
    }

    #[test]
    fn o04_a_text_is_converted_to_the_type_of_its_location() {
        let schema = json!({
            "properties": {
                "text": { "type": "string" }, "maybe": { "type": ["string", "null"] },
                "pin": { "type": "integer" }, "on": { "type": "boolean" },
                "login": { "$ref": "#/$defs/Login" }, "list": { "items": { "type": "number" } },
            },
            "$defs": { "Login": { "type": "object", "properties": { "user": { "type": "string" } } } },
        });
        let all = settings(json!({
            "text": TOKEN, "maybe": TOKEN, "pin": TOKEN, "on": TOKEN, "login": TOKEN, "list": [TOKEN],
        }));
        let typed = |key: &str, value| {
            let one = settings(json!({ key: all.config[key] }));
            let typed = arrived(&one, value).typed(|settings| settings.config.clone(), &schema);
            typed.config[key].clone()
        };
        assert_eq!(typed("text", "17"), "17");
        assert_eq!(typed("text", "{\"a\": 1}"), "{\"a\": 1}");
        assert_eq!(typed("maybe", "null"), "null");
        assert_eq!(typed("pin", "4711"), 4711);
        assert_eq!(typed("pin", "none"), "none", "it is not JSON and stays a text");
        assert_eq!(typed("on", "true"), true);
        assert_eq!(typed("login", r#"{"user": "ada"}"#), json!({ "user": "ada" }));
        assert_eq!(typed("list", "0.5"), json!([0.5]));
        let several = settings(json!({ "text": TOKEN, "pin": TOKEN, "list": [TOKEN, TOKEN] }));
        let several = arrived(&several, "1").typed(|settings| settings.config.clone(), &schema);
        assert_eq!(several.config, json!({ "text": "1", "pin": 1, "list": [1, 1] }));
    }

    #[test]
    fn o04_an_unresolved_reference_is_not_validated() {
        let schema = json!({ "properties": { "pin": { "type": "integer" }, "n": { "type": "integer" } } });
        assert!(check(&json!({ "pin": TOKEN, "n": 1 }), &schema).is_ok());
        assert_eq!(check(&json!({ "n": "x" }), &schema).unwrap_err().path, "n");
        assert_eq!(check(&json!({ "a": TOKEN, "n": "x" }), &schema).unwrap_err().path, "n");
    }

    /// Configurations in which some texts are references.
    fn configs() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::from(TOKEN)),
            ".{0,8}".prop_map(|text| Value::from(format!("a{{{{resolve:ssm:/x}}}}{text}"))),
            ".{0,8}".prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec(("[a-z/~.\\[]{0,4}", inner), 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn o04_any_text_arrives_unchanged_in_any_location(config in configs(), value in ".*") {
            let mut expected = config.clone();
            for place in find(&config) {
                let text = replaced(place.text, |_| Some(&value)).unwrap();
                *expected.pointer_mut(&place.pointer).unwrap() = Value::from(text);
            }
            let arrived = arrived(&settings(config), &value);
            prop_assert_eq!(arrived.settings.config, expected);
        }

        #[test]
        fn o04_no_text_panics(text in "[{}a-z:\\n]{0,40}|(\\{\\{resolve:[a-z-]{0,15}:?[^{]{0,5}(\\}\\})?){0,3}") {
            if let Ok(found) = references(&text) {
                prop_assert_eq!(found.is_empty(), !has_reference(&text));
                prop_assert_eq!(replaced(&text, |_| Some("")).is_some(), true);
            }
        }
    }
}
