//! The destination of a template: the file to which it is written, and the environments that it serves.

use lamplighter_project::environments::Environments;
use serde_yaml_ng::Value;

use super::{
    TEMPLATE,
    yaml::{map, mapping},
};

/// The destination of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The file's path from the workspace's folder, with `/`. The paths in the template are relative to it.
    pub file: String,
    /// The environments that the template serves.
    pub environments: Environments,
}

impl Default for Destination {
    /// The committed template of a project in which all environments have the same values.
    fn default() -> Self {
        Self { file: TEMPLATE.to_owned(), environments: Environments::default() }
    }
}

/// Renders the parameter with the environment. CloudFormation refuses the name of an environment that the template does not
/// serve.
pub(super) fn parameter(environment: &str, served: &Environments) -> Value {
    let mut parameter = mapping(map! {
        "Type" => "String",
        "Default" => environment,
        "Description" => "The environment, which runs and tasks see.",
    });
    let is_name = |name: &&String| !name.is_empty() && name.chars().all(is_word);
    let elsewhere = "use the template that `lamplighter generate --environment .. --output ..` writes for it";
    let constraint = match served {
        Environments::Only(names) => {
            let mut names: Vec<_> = names.iter().map(String::as_str).collect();
            if !names.contains(&environment) {
                names.push(environment);
            }
            let names = names.into_iter().map(Value::from).collect::<Vec<_>>();
            parameter.insert("AllowedValues".into(), names.into());
            format!("another environment has other values: {elsewhere}")
        }
        Environments::AllBut(names) => {
            let names: Vec<_> = names.iter().filter(is_name).map(String::as_str).collect();
            let others =
                if names.is_empty() { String::new() } else { format!("(?!(?:{})$)", names.join("|")) };
            parameter.insert("AllowedPattern".into(), format!("^{others}[-_0-9A-Za-z]+$").into());
            match names.as_slice() {
                [] => "use letters, digits, `-` and `_`".to_owned(),
                names => format!("{} has values of its own: {elsewhere}", names.join(" or ")),
            }
        }
    };
    parameter.insert("ConstraintDescription".into(), constraint.into());
    parameter.into()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::{super::yaml::list, *};

    #[test]
    fn g09_the_parameter_allows_the_environments_with_the_same_values() {
        let all_but =
            |names: &[&str]| Environments::AllBut(names.iter().map(|name| (*name).to_owned()).collect());
        let pattern = |names: &[&str]| parameter("dev", &all_but(names))["AllowedPattern"].clone();
        assert_eq!(pattern(&[]), "^[-_0-9A-Za-z]+$");
        assert_eq!(pattern(&["prod", "load-test"]), "^(?!(?:prod|load-test)$)[-_0-9A-Za-z]+$");
        assert_eq!(pattern(&["a.b", ""]), "^[-_0-9A-Za-z]+$", "no environment can have such a name");
        let only = parameter("prod", &Environments::Only(vec!["prod".to_owned()]));
        assert_eq!((&only["Default"], &only["AllowedValues"]), (&"prod".into(), &list!["prod"]));
    }
}
