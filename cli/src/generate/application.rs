//! The user's own resources: a SAM template that becomes part of the generated one.

use serde_yaml_ng::{Mapping, Value, value::TaggedValue};

use super::{
    deployment::BEFORE,
    functions::mapping,
    intrinsics::reference,
    queues,
    storage::{BUCKET, TABLE},
    yaml::{list, map},
};
use crate::{config, fault::Faults, project::Project};

/// The sections that are taken over. What a template must begin with is ours already.
const SECTIONS: [&str; 5] = ["Parameters", "Mappings", "Conditions", "Resources", "Outputs"];
const OURS: [&str; 3] = ["AWSTemplateFormatVersion", "Transform", "Description"];
/// The resources that are traffic's way to the application's code.
const FUNCTIONS: [&str; 2] = ["AWS::Serverless::Function", "AWS::Lambda::Function"];

/// The user's own resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    file: String,
    sections: Vec<(&'static str, Mapping)>,
}

impl Application {
    /// Reads a template. `file` is its name for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let template = match serde_yaml_ng::from_str::<Value>(text).map(long_form) {
            Ok(Value::Mapping(template)) => template,
            Ok(_) => {
                faults.add(file, "", "is not a template: it must be a mapping with `Resources`");
                return Err(faults);
            }
            Err(error) => {
                faults.add(file, "", format!("is not YAML: {error}"));
                return Err(faults);
            }
        };
        for key in template.keys().map(text_of) {
            if !SECTIONS.contains(&key.as_str()) && !OURS.contains(&key.as_str()) {
                let reason = format!("is not taken over: there may be {}", SECTIONS.join(", "));
                faults.add(file, key, reason);
            }
        }
        let mut sections = Vec::new();
        for section in SECTIONS {
            match template.get(section) {
                Some(Value::Mapping(entries)) => sections.push((section, entries.clone())),
                None | Some(Value::Null) => {}
                Some(_) => faults.add(file, section, "is not a mapping"),
            }
        }
        for (section, entries) in &sections {
            for (name, entry) in entries {
                let is_resource = *section != "Resources" || entry["Type"].is_string();
                if !is_resource || !entry.is_mapping() {
                    let reason = "is not a resource: it must be a mapping with a `Type`";
                    let reason = if is_resource { "is not a mapping" } else { reason };
                    faults.add(file, format!("{section}.{}", text_of(name)), reason);
                }
            }
        }
        faults.none_or(Self { file: file.to_owned(), sections })
    }

    /// The file it is from.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The entries of a section.
    pub(super) fn section(&self, name: &str) -> impl Iterator<Item = (String, &Value)> {
        let entries = self.sections.iter().filter(move |(section, _)| *section == name);
        entries.flat_map(|(_, entries)| entries.iter().map(|(name, value)| (text_of(name), value)))
    }

    /// The logical ids of its resources.
    pub(super) fn resource_ids(&self) -> impl Iterator<Item = String> {
        self.section("Resources").map(|(id, _)| id)
    }

    /// Its resources. Where there are tasks before the application, its functions wait for them; those that enqueue jobs
    /// are told where.
    pub(super) fn resources(&self, project: &Project, gated: bool) -> impl Iterator<Item = (String, Value)> {
        self.section("Resources").map(move |(id, resource)| {
            let resource = if gated && is_function(resource) { waiting(resource) } else { resource.clone() };
            let enqueues = project.functions.get(&id).is_some_and(|tasks| !tasks.is_empty());
            let resource = if enqueues { enqueuing(resource, project) } else { resource };
            (id, resource)
        })
    }

    /// The roles of its functions that enqueue jobs, by the functions' logical ids.
    pub(super) fn enqueuing_roles(&self, project: &Project, faults: &mut Faults) -> Vec<(String, Value)> {
        let mut roles = Vec::new();
        for (id, _) in project.functions.iter().filter(|(_, tasks)| !tasks.is_empty()) {
            let found = self.section("Resources").find(|(other, _)| other == id);
            match found.filter(|(_, resource)| is_function(resource)).map(|(_, function)| self.role(id, function)) {
                Some(Some(role)) => roles.push((id.clone(), role)),
                Some(None) => faults.add(
                    &self.file,
                    format!("Resources.{id}.Properties.Role"),
                    "must be `!GetAtt` of a role in this file, or left out: what lets it enqueue jobs is added to that",
                ),
                None => {
                    let reason = format!("there is no function `{id}` in {}", self.file);
                    faults.add(config::FILE, format!("functions.{id}"), reason);
                }
            }
        }
        roles
    }

    /// The role of a function, if it is in this template. SAM makes one where it is left out.
    fn role(&self, id: &str, function: &Value) -> Option<Value> {
        let of_sam = function["Type"] == FUNCTIONS[0];
        let arn = match &function["Properties"]["Role"] {
            Value::Null if of_sam => return Some(reference(&format!("{id}Role"))),
            role => role.get("Fn::GetAtt")?.as_sequence()?,
        };
        let role = arn.first()?.as_str()?;
        self.resource_ids().any(|other| other == role).then(|| reference(role))
    }
}

fn is_function(resource: &Value) -> bool {
    resource["Type"].as_str().is_some_and(|kind| FUNCTIONS.contains(&kind))
}

/// The function with the variables of whoever enqueues jobs. What it says itself stands.
fn enqueuing(function: Value, project: &Project) -> Value {
    let mut variables = mapping(map! {
        "LAMPLIGHTER_TABLE" => reference(TABLE),
        "LAMPLIGHTER_BUCKET" => reference(BUCKET),
        "LAMPLIGHTER_ENVIRONMENT" => project.environment.as_str(),
        queues::VARIABLE => queues::prefix(),
    });
    let mut function = mapping(function);
    let mut properties = mapping(function.get("Properties").cloned().unwrap_or_default());
    let mut environment = mapping(properties.get("Environment").cloned().unwrap_or_default());
    variables.extend(mapping(environment.get("Variables").cloned().unwrap_or_default()));
    environment.insert("Variables".into(), variables.into());
    properties.insert("Environment".into(), environment.into());
    function.insert("Properties".into(), properties.into());
    function.into()
}

/// The resource, waiting for the tasks before the application besides what it waits for already.
fn waiting(resource: &Value) -> Value {
    let depends_on = match &resource["DependsOn"] {
        Value::Sequence(ids) => {
            let own = ids.iter().filter(|id| id.as_str() != Some(BEFORE));
            Value::Sequence(own.cloned().chain([BEFORE.into()]).collect())
        }
        Value::String(id) if id != BEFORE => list![id.as_str(), BEFORE],
        _ => BEFORE.into(),
    };
    let mut waiting = Mapping::new();
    for (key, value) in resource.as_mapping().into_iter().flatten().filter(|(key, _)| *key != "DependsOn") {
        waiting.insert(key.clone(), value.clone());
        if key == "Type" {
            waiting.insert("DependsOn".into(), depends_on.clone());
        }
    }
    waiting.into()
}

/// The value with CloudFormation's short tags (`!Ref x`) in their long form.
fn long_form(value: Value) -> Value {
    match value {
        Value::Tagged(tagged) => {
            let TaggedValue { tag, value } = *tagged;
            let tag = tag.to_string();
            let name = match tag.trim_start_matches('!') {
                plain @ ("Ref" | "Condition") => plain.to_owned(),
                function => format!("Fn::{function}"),
            };
            let value = match (name.as_str(), long_form(value)) {
                ("Fn::GetAtt", Value::String(path)) => match path.split_once('.') {
                    Some((id, attribute)) => list![id, attribute],
                    None => path.into(),
                },
                (_, value) => value,
            };
            Value::Mapping(Mapping::from_iter([(name.into(), value)]))
        }
        Value::Sequence(items) => items.into_iter().map(long_form).collect(),
        Value::Mapping(entries) => {
            Value::Mapping(entries.into_iter().map(|(key, value)| (key, long_form(value))).collect())
        }
        other => other,
    }
}

fn text_of(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => serde_yaml_ng::to_string(other).unwrap_or_default().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_long() {
        let short =
            "a: !Ref B\nb: !Sub '${C}-d'\nc: !GetAtt E.Outputs.F\nd: !If [G, !Ref H, !Join ['', [i]]]\n";
        let long = "a: {Ref: B}\nb: {'Fn::Sub': '${C}-d'}\nc: {'Fn::GetAtt': [E, Outputs.F]}\n\
                    d: {'Fn::If': [G, {Ref: H}, {'Fn::Join': ['', [i]]}]}\n";
        let read = |text| serde_yaml_ng::from_str::<Value>(text).unwrap();
        assert_eq!(long_form(read(short)), read(long));
    }

    #[test]
    fn l24_functions_wait_and_other_resources_do_not() {
        let text = "Resources:\n  A: {Type: 'AWS::Serverless::Function', DependsOn: B}\n  \
                    B: {Type: 'AWS::SQS::Queue'}\n  C: {Type: 'AWS::Lambda::Function'}\n  \
                    D: {Type: 'AWS::Lambda::Function', DependsOn: [B, LamplighterBefore]}\n";
        let application = Application::parse("a.yaml", text).unwrap();
        let project = super::super::fixtures::shop();
        let waits: Vec<_> =
            application.resources(&project, true).map(|(_, r)| r["DependsOn"].clone()).collect();
        assert_eq!(waits, [list!["B", BEFORE], Value::Null, BEFORE.into(), list!["B", BEFORE]]);
        assert!(application.resources(&project, false).all(|(id, r)| id != "C" || r["DependsOn"].is_null()));
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        let faults = |text| Application::parse("infra/a.yaml", text).unwrap_err().to_string();
        assert!(faults("- 1").starts_with("infra/a.yaml: is not a template"));
        assert!(faults("a: b: c").starts_with("infra/a.yaml: is not YAML"));
        assert!(faults("Globals: {}").starts_with("infra/a.yaml: Globals: is not taken over"));
        assert!(faults("Resources: {A: {}}").starts_with("infra/a.yaml: Resources.A: is not a resource"));
        assert!(faults("Resources: 1").starts_with("infra/a.yaml: Resources: is not a mapping"));
    }
}
