//! The values of references on this machine, where CloudFormation does not resolve them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lamplighter_core::{hidden, resolve, secret::Secrets};
use serde_json::Value;

use super::{Project, Task, secrets};
use crate::{config, fault::Faults};

/// The prefix of the variables that hold the values of references.
const VARIABLE: &str = "LAMPLIGHTER_RESOLVE_";

/// The shortest line of a secret of several lines that is masked by itself, in bytes.
const MIN_LINE: usize = 4;

/// The path of a TOML file with the values of references: `"{{resolve:ssm:/shop/token}}" = "value"`.
#[derive(Clone, Debug, Default)]
pub struct SecretsFile(pub Option<PathBuf>);

/// The values of references on this machine. They are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LocalValues(BTreeMap<String, String>);

impl fmt::Debug for LocalValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl LocalValues {
    /// Replaces the references in a text by their values. The text stays as it is if one has no value.
    pub(super) fn put_into(&self, text: String) -> String {
        if !resolve::has_reference(&text) {
            return text;
        }
        resolve::replaced(&text, |reference| self.0.get(reference).map(String::as_str)).unwrap_or(text)
    }
}

impl SecretsFile {
    /// Reads the file, if there is a path.
    pub fn read(&self) -> anyhow::Result<LocalValues> {
        // An empty environment variable counts as unset.
        let Some(path) = self.0.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(LocalValues::default());
        };
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(path, &text).map(LocalValues)
    }
}

/// Parses the text of a file. An error names the line, but never its content.
fn parse(path: &Path, text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let file = path.display();
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        anyhow::anyhow!(
            "{file}: line {line}: expected TOML such as `\"{{{{resolve:ssm:/shop/token}}}}\" = \"value\"`"
        )
    })?;
    let mut values = BTreeMap::new();
    for (reference, value) in table {
        if resolve::references(&reference).ok().as_deref() != Some(&[reference.as_str()]) {
            bail!(
                "{file}: `{reference}` is not a reference: write it with its braces, as in lamplighter.toml, such as \
                 `\"{{{{resolve:secretsmanager:shop:SecretString:token}}}}\" = \"value\"`"
            );
        }
        match value {
            toml::Value::String(value) if value.contains('\0') => {
                bail!(
                    "{file}: the value of `{reference}` has a NUL character, which no environment variable can have"
                )
            }
            toml::Value::String(value) => values.insert(reference, value),
            _ => bail!("{file}: the value of `{reference}` must be a string in quotes"),
        };
    }
    Ok(values)
}

/// The name of the variable that holds the value of a reference: the words of the reference in capitals.
fn variable(reference: &str) -> String {
    let inner = reference.trim_start_matches("{{resolve:").trim_end_matches("}}");
    let words = inner.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    format!("{VARIABLE}{}", words.collect::<Vec<_>>().join("_").to_ascii_uppercase())
}

impl Project {
    /// Gives the references of each task that `runs` their values on this machine, from the file or else from the environment.
    /// A reference without a value is a fault.
    pub fn with_values(
        mut self,
        values: &LocalValues,
        environment: impl Fn(&str) -> Option<String>,
        runs: impl Fn(&Task) -> bool,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        for task in self.tasks.iter_mut().filter(|task| runs(task)) {
            let mut found = BTreeMap::new();
            for (key, text) in task.texts_with_references() {
                for reference in resolve::references(&text).unwrap_or_default() {
                    let name = variable(reference);
                    if let Some(value) = values.0.get(reference).cloned().or_else(|| environment(&name)) {
                        found.insert(reference.to_owned(), value);
                        continue;
                    }
                    let reason = format!(
                        "`{reference}` has no value on this machine: add the line `\"{reference}\" = \"value\"` to the file \
                         that --secrets or LAMPLIGHTER_SECRETS names, or set {name}"
                    );
                    faults.add(config::FILE, format!("tasks.{}.{key}", task.name()), reason);
                }
            }
            task.local_values = LocalValues(found);
        }
        faults.none_or(self)
    }
}

impl Task {
    /// The texts with references in its configuration and its variables, by their keys below the task's.
    fn texts_with_references(&self) -> Vec<(String, String)> {
        let config = resolve::find(&self.definition.config).into_iter();
        let config = config.map(|place| (format!("config.{}", place.path), place.text.to_owned()));
        let variables = self.environment.iter().filter(|(_, value)| resolve::has_reference(value));
        let variables = variables.map(|(name, value)| (format!("environment.{name}"), value.clone()));
        config.chain(variables).collect()
    }

    /// The secrets that it has on this machine: the values of references to secrets, the values that its configuration marks as
    /// secret, and those in the configuration of one run.
    pub fn local_secrets(&self, of_run: &Value) -> Secrets {
        let marked = hidden::marked(&self.definition.config, &self.definition.config_schema);
        let marked: Vec<_> = marked.iter().map(|words| format!("config.{}", hidden::path(words))).collect();
        let mut secret = Vec::new();
        for (key, text) in self.texts_with_references() {
            let references = resolve::references(&text).unwrap_or_default().into_iter();
            let chosen = references.filter(|it| marked.contains(&key) || resolve::is_secret(it));
            secret.extend(chosen.filter_map(|it| self.local_values.0.get(it).cloned()));
        }
        for path in hidden::marked(of_run, &self.definition.config_schema) {
            let value = secrets::at(of_run, &path);
            secret.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        // A body may print a secret of several lines line by line. A very short line would mask too much.
        let lines = secret.iter().flat_map(|text| text.lines()).filter(|line| line.trim().len() >= MIN_LINE);
        let (texts, schema) = hidden::texts(secret.iter().map(String::as_str).chain(lines));
        hidden::take_all([(&texts, &schema)]).0
    }

    /// Returns true if one of its references has no value on this machine.
    pub fn is_unresolved(&self) -> bool {
        let unknown = |text: &str| {
            resolve::references(text)
                .is_ok_and(|found| found.iter().any(|it| !self.local_values.0.contains_key(*it)))
        };
        self.texts_with_references().iter().any(|(_, text)| unknown(text))
    }
}

/// Reads a variable of this process's environment. One that is not UTF-8 counts as unset.
pub fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::Config, fixtures::described};

    const TOKEN: &str = "{{resolve:secretsmanager:shop:SecretString:token}}";

    fn values(text: &str) -> Result<BTreeMap<String, String>, String> {
        parse(Path::new("secrets.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn o04_a_file_has_a_value_for_each_reference() {
        let text =
            format!("\"{TOKEN}\" = \"a \\\"b\\\"\"\n\"{{{{resolve:ssm:/k}}}}\" = \"\"\"\n-----\nkey\"\"\"\n");
        let found = values(&text).unwrap();
        assert_eq!((found[TOKEN].as_str(), found["{{resolve:ssm:/k}}"].as_str()), ("a \"b\"", "-----\nkey"));
    }

    #[test]
    fn o04_an_error_in_a_file_names_the_line_and_shows_no_value() {
        let refused = |text: &str| {
            let error = values(text).unwrap_err();
            assert!(error.starts_with("secrets.toml: ") && !error.contains("hunter2"), "{error}");
            error
        };
        assert!(refused("\"a\" = \"x\"\nb = hunter2\n").contains("line 2: expected TOML"));
        assert!(refused("token = \"hunter2\"").contains("`token` is not a reference"));
        assert!(refused(&format!("\"u:{TOKEN}\" = \"hunter2\"")).contains("is not a reference"));
        assert!(refused(&format!("\"{TOKEN}\" = 17")).contains("must be a string in quotes"));
        assert!(refused(&format!("\"{TOKEN}\" = \"hunter2\\u0000\"")).contains("NUL"));
    }

    #[test]
    fn o04_each_reference_has_its_own_variable() {
        assert_eq!(variable(TOKEN), "LAMPLIGHTER_RESOLVE_SECRETSMANAGER_SHOP_SECRETSTRING_TOKEN");
        assert_eq!(variable("{{resolve:ssm:/shop/db-url:3}}"), "LAMPLIGHTER_RESOLVE_SSM_SHOP_DB_URL_3");
    }

    fn project() -> Project {
        let schema = json!({ "properties": { "token": {}, "pin": { "writeOnly": true } } });
        let keys = json!({ "config": { "token": "", "pin": "" }, "config_schema": schema });
        let config = format!(
            "[tasks.a.config]\ntoken = \"{TOKEN}\"\npin = \"{{{{resolve:ssm:/pin}}}}\"\n\
             [tasks.a.environment]\nURL = \"postgres://u:{TOKEN}@h\"\n[tasks.b.config]\nkey = \"{{{{resolve:ssm:/b}}}}\"\n"
        );
        let tasks = vec![described("a", keys), described("b", json!({ "config": { "key": "" } }))];
        Project::resolve("shop", tasks, &Config::parse(&config).unwrap(), None).unwrap()
    }

    #[test]
    fn o04_a_reference_without_a_local_value_is_a_fault_with_a_remedy() {
        let given = LocalValues(BTreeMap::from([(TOKEN.to_owned(), "hunter2".to_owned())]));
        let pin = |name: &str| (name == "LAMPLIGHTER_RESOLVE_SSM_PIN").then(|| "47\"11".to_owned());
        let is_a = |task: &Task| task.name().as_str() == "a";
        let faults =
            project().with_values(&LocalValues::default(), |_| None, |_| true).unwrap_err().to_string();
        for part in [
            format!("lamplighter.toml: tasks.a.config.token: `{TOKEN}` has no value on this machine"),
            "tasks.a.config.pin: ".to_owned(),
            "tasks.a.environment.URL: ".to_owned(),
            "tasks.b.config.key: ".to_owned(),
            "`\"{{resolve:ssm:/b}}\" = \"value\"`".to_owned(),
            "--secrets or LAMPLIGHTER_SECRETS names, or set LAMPLIGHTER_RESOLVE_SSM_B".to_owned(),
        ] {
            assert!(faults.contains(&part), "{part}: {faults}");
        }

        let project = project().with_values(&given, pin, is_a).unwrap();
        let [a, b] = &project.tasks[..] else { panic!("two tasks") };
        assert!(!a.is_unresolved() && b.is_unresolved());
        let variables = a.variables();
        assert_eq!(variables["URL"], "postgres://u:hunter2@h");
        let texts: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with("LAMPLIGHTER_")).collect();
        let has = |text: &str| texts.iter().any(|(_, value)| *value == text);
        assert!(has("hunter2") && has("47\"11"), "{texts:?}");
        assert!(!variables["LAMPLIGHTER_SETTINGS"].contains("hunter2"));
        assert_eq!(a.local_secrets(&Value::Null).mask("hunter2 47\"11"), "[secret] [secret]");
        let of_run = json!({ "pin": "one\nof two lines", "token": "shown" });
        let masked = a.local_secrets(&of_run).mask("shown: of two lines, one");
        assert_eq!(masked, "shown: [secret], one");
        assert!(!format!("{project:?}").contains("hunter2"), "nothing prints them");
    }
}
