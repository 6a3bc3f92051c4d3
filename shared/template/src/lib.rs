//! The template of the stack: from the tasks of a project to `infra/template.yaml`, pure and byte for byte the same
//! on every run.
//!
//! Each file has one group of resources; [`render`] puts them together.

mod application;
mod deployment;
mod functions;
mod globals;
mod intrinsics;
mod limits;
mod paths;
mod pulse;
mod queues;
mod read;
mod roles;
mod sam;
mod scalars;
mod schedules;
mod storage;
mod yaml;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use application::Application;
pub use deployment::{AFTER, BEFORE, logical_id, properties};
pub use queues::OUTPUT as QUEUES_OUTPUT;
use serde_yaml_ng::Value;

use self::{
    functions::mapping,
    intrinsics::{attribute, reference},
    yaml::{list, map},
};
use lamplighter_project::{Project, config, fault::Faults};

/// Where the template is, from the workspace's folder.
pub const TEMPLATE: &str = "infra/template.yaml";

/// The parameter by which an emulator's endpoint may be answered.
const ANSWER_ENDPOINT: &str = "AnswerEndpoint";
/// The condition that holds in AWS, where everything is reached by TLS.
const ON_AWS: &str = "OnAws";
/// The output that says what the table is called.
pub const TABLE_OUTPUT: &str = "LamplighterTableName";
/// The output that says what the bucket is called.
pub const BUCKET_OUTPUT: &str = "LamplighterBucketName";

const HEAD: &str = "\
# Written by `lamplighter generate` from the tasks of this workspace and lamplighter.toml. Not edited by hand.
AWSTemplateFormatVersion: \"2010-09-09\"
";
/// What makes functions of our resources.
const SAM: &str = "AWS::Serverless-2016-10-31";

/// The template of the project's stack, or everything in it that clashes.
pub fn render(project: &Project, application: Option<&Application>) -> Result<String, Faults> {
    let mut faults = Faults::default();
    let enqueuing = enqueuing_roles(project, application, &mut faults);
    let groups = [
        storage::groups(project),
        schedules::groups(project),
        functions::groups(project),
        pulse::groups(project),
        deployment::groups(project, application),
        application.map(|own| group_of(project, own)).into_iter().collect(),
        queues::groups(project, &enqueuing),
    ];
    let groups: Vec<_> = groups.into_iter().flatten().collect();
    limits::resources(&groups, application, &mut faults);
    let mut text = HEAD.to_owned();
    yaml::entry(&mut text, "Transform", &transform(application), 0);
    let description = application.and_then(Application::description).map(str::to_owned);
    let description = description.unwrap_or_else(|| format!("The tasks of {}", project.name));
    yaml::entry(&mut text, "Description", &description.into(), 0);
    for section in ["Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Globals", "Hooks"] {
        let ours = match section {
            "Parameters" => parameters(),
            "Conditions" => conditions(),
            _ => Vec::new(),
        };
        write_section(&mut text, section, ours, application, &mut faults);
    }
    text.push_str("\nResources:\n");
    for (i, group) in groups.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        group.write(&mut text);
    }
    write_section(&mut text, "Outputs", outputs(project), application, &mut faults);
    limits::exports(application, &mut faults);
    limits::length(&text, &mut faults);
    faults.none_or(text)
}

/// What CloudFormation does with the template first: in the application's order, and SAM last where that says nothing of it.
fn transform(application: Option<&Application>) -> Value {
    let mut transforms = application.map(|own| own.transforms().to_vec()).unwrap_or_default();
    if !transforms.iter().any(|transform| transform == SAM) {
        transforms.push(SAM.into());
    }
    match transforms.as_slice() {
        [only] => only.clone(),
        _ => transforms.into(),
    }
}

fn parameters() -> Vec<(String, Value)> {
    let version = map! {
        "Type" => "String",
        "Default" => "1",
        "Description" => "What is deployed. Another version runs the tasks again.",
    };
    let endpoint = map! {
        "Type" => "String",
        "Default" => "",
        "Description" => "Only for an emulator: where CloudFormation is answered without TLS.",
    };
    vec![("Version".to_owned(), version), (ANSWER_ENDPOINT.to_owned(), endpoint)]
}

fn conditions() -> Vec<(String, Value)> {
    let on_aws = map! { "Fn::Equals" => list![reference(ANSWER_ENDPOINT), ""] };
    vec![(ON_AWS.to_owned(), on_aws)]
}

fn outputs(project: &Project) -> Vec<(String, Value)> {
    let output = |id: &str, description: &str, value: Value| {
        (id.to_owned(), map! { "Description" => description, "Value" => value })
    };
    let mut outputs = vec![
        output(TABLE_OUTPUT, "Locks, history and ledgers.", reference(storage::TABLE)),
        output(
            BUCKET_OUTPUT,
            "What tasks put into files, and the large values of runs.",
            reference(storage::BUCKET),
        ),
    ];
    if project.tasks.iter().any(|task| task.definition.lifecycle().is_some()) {
        let arn = attribute("LamplighterDispatcherFunction", "Arn");
        outputs.push(output("LamplighterDispatcherArn", "Runs the tasks of a deployment.", arn));
    }
    if project.queues().next().is_some() {
        let description = "What the URLs of the tasks' queues begin with.";
        outputs.push(output(queues::OUTPUT, description, queues::prefix()));
    }
    outputs
}

/// The application's resources.
fn group_of(project: &Project, application: &Application) -> Group {
    let gated = project.phase(lamplighter_core::definition::Phase::Before).next().is_some();
    Group::new(format!("The application, from {}.", application.file()))
        .with_all(application.resources(project, gated))
}

/// The roles of the application's functions that enqueue jobs.
fn enqueuing_roles(
    project: &Project,
    application: Option<&Application>,
    faults: &mut Faults,
) -> Vec<(String, Value)> {
    if let Some(application) = application {
        return application.enqueuing_roles(project, faults);
    }
    for id in project.functions.keys() {
        let reason = "there is no application: `build.application` names its template";
        faults.add(config::FILE, format!("functions.{id}"), reason);
    }
    Vec::new()
}

/// Writes a section of our own entries and the application's, if there are any.
fn write_section(
    text: &mut String,
    section: &str,
    ours: Vec<(String, Value)>,
    application: Option<&Application>,
    faults: &mut Faults,
) {
    let theirs = application.into_iter().flat_map(|own| own.section(section));
    let theirs = theirs.map(|(name, value)| (name, value.clone()));
    let entries: Vec<_> = ours.into_iter().chain(theirs).collect();
    limits::section(section, entries.iter().map(|(name, _)| name.clone()), application, faults);
    if !entries.is_empty() {
        let _ = writeln!(text, "\n{section}:");
    }
    for (name, value) in &entries {
        yaml::entry(text, name, value, 2);
    }
}

/// Resources that belong together, under one comment.
struct Group {
    comment: String,
    resources: Vec<(String, Value)>,
}

impl Group {
    fn new(comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), resources: Vec::new() }
    }

    fn with(mut self, id: &str, resource: Value) -> Self {
        self.resources.push((id.to_owned(), resource));
        self
    }

    fn with_all(mut self, resources: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.resources.extend(resources);
        self
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "  # {}", self.comment);
        for (i, (id, resource)) in self.resources.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            yaml::entry(text, id, resource, 2);
        }
    }
}

/// A check of checkov that does not fit a resource, and why.
struct Skip(&'static str, &'static str);

/// The resource with the checks that do not fit it, which stand last.
fn skipping(resource: Value, skips: &[Skip]) -> Value {
    let skips: Vec<_> =
        skips.iter().map(|Skip(id, comment)| map! { "id" => *id, "comment" => *comment }).collect();
    let mut resource = mapping(resource);
    resource.insert("Metadata".into(), map! { "checkov" => map! { "skip" => skips } });
    resource.into()
}
