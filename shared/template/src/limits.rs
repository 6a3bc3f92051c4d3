//! Limits of a stack: how large it may be, and which names must differ.

use std::collections::BTreeMap;

use lamplighter_project::fault::Faults;
use serde_yaml_ng::Value;

use super::{Application, TEMPLATE, group::Group, sam};

/// The most resources of a stack. Source: AWS CloudFormation User Guide, "Understand CloudFormation quotas", as the rest.
const RESOURCES: usize = 500;
/// The most entries of these sections.
const ENTRIES: [(&str, usize); 3] = [("Parameters", 200), ("Mappings", 200), ("Outputs", 200)];
/// The most bytes of a template.
const BYTES: usize = 1_000_000;
/// The properties that give a resource a name of its own, with what it is called and how long the name may be.
const NAMES: [(&str, &str, &str, usize); 8] = [
    ("AWS::Serverless::Function", "FunctionName", "function", 64),
    ("AWS::Lambda::Function", "FunctionName", "function", 64),
    ("AWS::SQS::Queue", "QueueName", "queue", 80),
    ("AWS::Logs::LogGroup", "LogGroupName", "log group", 512),
    ("AWS::Scheduler::Schedule", "Name", "schedule", 64),
    ("AWS::IAM::Role", "RoleName", "role", 64),
    ("AWS::S3::Bucket", "BucketName", "bucket", 63),
    ("AWS::DynamoDB::Table", "TableName", "table", 255),
];

/// Adds a fault for more resources than a stack takes, for a logical id that stands for two, and for a name that two have.
pub(super) fn resources(groups: &[Group], application: Option<&Application>, faults: &mut Faults) {
    let all: Vec<_> =
        groups.iter().flat_map(|group| &group.resources).map(|(id, of)| (id.as_str(), of)).collect();
    let generated = sam::generated(&all.iter().copied());
    let count = all.len() + generated.len();
    if count > RESOURCES {
        let theirs = application.map_or(0, |own| own.section("Resources").count());
        let reason = format!(
            "the stack would have {count} resources, of which {theirs} are written in the application and {} are made by \
             SAM, and CloudFormation takes {RESOURCES}: move tasks or resources into a project of their own",
            generated.len()
        );
        faults.add(TEMPLATE, "Resources", reason);
    }
    let written = all.iter().map(|(id, _)| (*id).to_owned());
    let known = generated.iter().filter(|id| !id.contains('*')).cloned();
    unique("Resources", written.chain(known), application, faults);
    names(&all, application, faults);
}

/// Adds a fault for each name of a section that stands for two things, and for more entries than may be there.
pub(super) fn section(
    section: &str,
    names: impl Iterator<Item = String> + Clone,
    application: Option<&Application>,
    faults: &mut Faults,
) {
    let count = names.clone().count();
    if let Some((_, most)) = ENTRIES.iter().find(|(name, most)| *name == section && count > *most) {
        let reason = format!("there are {count}, and CloudFormation takes {most}");
        faults.add(TEMPLATE, section, reason);
    }
    unique(section, names, application, faults);
}

/// Adds a fault for each name under which two outputs of the application are exported.
pub(super) fn exports(application: Option<&Application>, faults: &mut Faults) {
    let outputs = application.into_iter().flat_map(|own| own.section("Outputs"));
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (id, output) in outputs {
        let Some(name) = text(&output["Export"]["Name"]) else { continue };
        if let Some(first) = seen.get(&name) {
            let (file, key) = place(application, &format!("Outputs.{id}.Export.Name"));
            faults.add(file, key, format!("`{first}` is exported under the same name: give it another"));
        }
        seen.entry(name).or_insert(id);
    }
}

/// Adds a fault for a template that is too long.
pub(super) fn length(text: &str, faults: &mut Faults) {
    if text.len() > BYTES {
        let reason = format!("it would be {} bytes, and CloudFormation takes {BYTES}", text.len());
        faults.add(TEMPLATE, "", reason);
    }
}

fn unique(
    section: &str,
    names: impl Iterator<Item = String>,
    application: Option<&Application>,
    faults: &mut Faults,
) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 2 {
            let reason =
                "stands for two things in the template: rename a task or a resource of the application";
            let (file, key) = place(application, &format!("{section}.{name}"));
            faults.add(file, key, reason);
        }
    }
}

/// The file and the key for a fault, with the line where the application has one.
fn place(application: Option<&Application>, key: &str) -> (String, String) {
    match application {
        Some(own) => (own.file().to_owned(), own.place(key)),
        None => (TEMPLATE.to_owned(), key.to_owned()),
    }
}

/// Names that are too long in every stack, and those of the application that a resource of ours has.
fn names(all: &[(&str, &Value)], application: Option<&Application>, faults: &mut Faults) {
    let theirs = |id: &str| application.is_some_and(|own| own.resource_ids().any(|own| own == id));
    let mut ours: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let found: Vec<_> = all.iter().filter_map(|(id, resource)| Some((*id, name(resource)?))).collect();
    for (id, (kind, _, name, _)) in found.iter().filter(|(id, _)| !theirs(id)) {
        ours.insert((*kind, name.clone()), *id);
    }
    for (id, (kind, property, name, most)) in found.iter().filter(|(id, _)| theirs(id)) {
        let key = format!("Resources.{id}.Properties.{property}");
        if let Some(other) = ours.get(&(*kind, name.clone())) {
            let (file, key) = place(application, &key);
            faults.add(file, key, format!("the {kind} of `{other}` has the same name: give it another"));
        }
        // A stack's name has at least one letter.
        let least = name.replace("${AWS::StackName}", "s");
        if !least.contains("${") && least.chars().count() > *most {
            let (file, key) = place(application, &key);
            faults.add(
                file,
                key,
                format!("is longer than the {most} characters that the name of a {kind} may have"),
            );
        }
    }
}

/// The resource's kind, the property that names it, the name, and the longest one.
fn name(resource: &Value) -> Option<(&'static str, &'static str, String, usize)> {
    let kind = resource["Type"].as_str()?;
    let (_, property, what, most) = NAMES.into_iter().find(|(name, ..)| *name == kind)?;
    Some((what, property, text(&resource["Properties"][property])?, most))
}

/// The value as a text in which `${..}` is filled in.
fn text(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    if let Some(to) = value.get("Ref").and_then(Value::as_str) {
        return Some(format!("${{{to}}}"));
    }
    if let Some(sub) = value.get("Fn::Sub") {
        return sub.as_str().map(str::to_owned);
    }
    let (separator, parts) = match value.get("Fn::Join")?.as_sequence()?.as_slice() {
        [separator, parts] => (separator.as_str()?, parts.as_sequence()?),
        _ => return None,
    };
    let parts: Option<Vec<_>> = parts.iter().map(text).collect();
    Some(parts?.join(separator))
}
