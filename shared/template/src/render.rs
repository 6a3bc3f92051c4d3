//! The whole template, put together from its groups and sections.

use std::fmt::Write as _;

use lamplighter_aws::environment::{BUCKET_OUTPUT, QUEUES_OUTPUT, TABLE_OUTPUT};
use lamplighter_core::definition::Phase;
use lamplighter_project::{Project, config, fault::Faults, functions::functions};
use serde_yaml_ng::Value;

use super::{
    TEMPLATE,
    application::Application,
    deployment,
    destination::{self, Destination},
    group::Group,
    ids::{self, ANSWER_ENDPOINT, ENVIRONMENT, Ids, ON_AWS},
    intrinsics::{attribute, queue_url_prefix, reference},
    limits::{self, Sources},
    paths::Paths,
    pulse, queues, schedules, storage, tasks,
    yaml::{self, list, map},
};

const HEAD: &str = "\
# Written by `lamplighter generate` from the tasks of this workspace and lamplighter.toml. Not edited by hand.
AWSTemplateFormatVersion: \"2010-09-09\"
";
/// The transform that expands SAM's resources.
const SAM: &str = "AWS::Serverless-2016-10-31";

/// Renders the template of the project's stack, as it is committed, or returns all of its conflicts.
pub fn render(project: &Project, application: Option<&Application>) -> Result<String, Faults> {
    render_to(&Destination::default(), project, application)
}

/// Renders the template of the project's stack for a destination. The application must be parsed for the same one.
pub fn render_to(
    destination: &Destination,
    project: &Project,
    application: Option<&Application>,
) -> Result<String, Faults> {
    let mut faults = Faults::default();
    let enqueuing = enqueuing_roles(project, application, &mut faults);
    let plans = functions(project);
    let own = [
        storage::groups(project),
        schedules::groups(project),
        tasks::groups(project, &plans),
        pulse::groups(project, &plans),
        deployment::groups(project, &plans, application),
    ];
    let paths = Paths::between(TEMPLATE, &destination.file);
    let own = own.into_iter().flatten().map(|group| group.changed(|resource| paths.of_resource(resource)));
    let groups = [
        own.collect(),
        application.map(|own| application_group(project, own)).into_iter().collect(),
        queues::groups(project, &enqueuing),
    ];
    let groups: Vec<_> = groups.into_iter().flatten().collect();
    let sources = Sources { template: &destination.file, application };
    limits::resources(&groups, sources, &mut faults);
    let mut text = HEAD.to_owned();
    yaml::entry(&mut text, "Transform", &transform(application), 0);
    let description = application.and_then(Application::description).map(str::to_owned);
    let description = description.unwrap_or_else(|| format!("The tasks of {}", project.name));
    yaml::entry(&mut text, "Description", &description.into(), 0);
    for section in ["Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Globals", "Hooks"] {
        let ours = match section {
            "Parameters" => parameters(project, destination),
            "Conditions" => conditions(),
            _ => Vec::new(),
        };
        write_section(&mut text, section, &ours, sources, &mut faults);
    }
    text.push_str("\nResources:\n");
    for (i, group) in groups.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        group.write(&mut text);
    }
    write_section(&mut text, "Outputs", &outputs(project), sources, &mut faults);
    limits::exports(sources, &mut faults);
    limits::length(&text, sources, &mut faults);
    faults.none_or(text)
}

/// The transforms of the template: those of the application in its order, and SAM last unless it is among them.
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

fn parameters(project: &Project, destination: &Destination) -> Vec<(String, Value)> {
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
    let environment = destination::parameter(&project.environment, &destination.environments);
    vec![
        ("Version".to_owned(), version),
        (ENVIRONMENT.to_owned(), environment),
        (ANSWER_ENDPOINT.to_owned(), endpoint),
    ]
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
        output(TABLE_OUTPUT, "Locks, history and ledgers.", reference(ids::TABLE)),
        output(
            BUCKET_OUTPUT,
            "What tasks put into files, and the large values of runs.",
            reference(ids::BUCKET),
        ),
    ];
    if project.tasks.iter().any(|task| task.definition.lifecycle().is_some()) {
        let arn = attribute(&Ids::of_dispatcher().function, "Arn");
        outputs.push(output("LamplighterDispatcherArn", "Runs the tasks of a deployment.", arn));
    }
    if project.queues().next().is_some() {
        let description = "What the URLs of the tasks' queues begin with.";
        outputs.push(output(QUEUES_OUTPUT, description, queue_url_prefix()));
    }
    outputs
}

/// Renders the application's resources.
fn application_group(project: &Project, application: &Application) -> Group {
    let gated = project.phase(Phase::Before).next().is_some();
    Group::new(format!("The application, from {}.", application.file()))
        .with_all(application.resources(project, gated))
}

/// Returns the roles of the application's functions that enqueue jobs, by the functions' logical ids.
fn enqueuing_roles(
    project: &Project,
    application: Option<&Application>,
    faults: &mut Faults,
) -> Vec<(String, Value)> {
    if let Some(application) = application {
        return application.enqueuing_roles(project, faults);
    }
    for id in project.functions.keys() {
        let reason = "the project has no application: set `build.application` to its template";
        faults.add(config::FILE, format!("functions.{id}"), reason);
    }
    Vec::new()
}

/// Writes a section with our own entries and the application's, if there are any.
fn write_section(
    text: &mut String,
    section: &str,
    ours: &[(String, Value)],
    sources: Sources<'_>,
    faults: &mut Faults,
) {
    let theirs = sources.application.into_iter().flat_map(|own| own.section(section));
    let theirs: Vec<_> = theirs.map(|(name, value)| (name, value.clone())).collect();
    limits::section(section, ours, &theirs, sources, faults);
    let mut entries = ours.iter().chain(&theirs).peekable();
    if entries.peek().is_some() {
        let _ = writeln!(text, "\n{section}:");
    }
    for (name, value) in entries {
        yaml::entry(text, name, value, 2);
    }
}
