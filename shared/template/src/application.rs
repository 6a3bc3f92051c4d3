//! The application: a SAM template with the user's own resources, which becomes part of the generated template.

use std::collections::BTreeMap;

use lamplighter_project::{
    Project, config,
    fault::Faults,
    functions::enqueuing_variables,
    variables::{MAX_BYTES, NO_NAME, is_name, reserved},
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    TEMPLATE, functions, globals,
    ids::BEFORE,
    intrinsics::reference,
    paths::Paths,
    read::{self, Entry, Node},
    scalars::as_text,
    yaml::{list, mapping},
};

/// The sections that are copied. Source: AWS CloudFormation User Guide, "Template sections".
const SECTIONS: [&str; 9] =
    ["Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Globals", "Hooks", "Resources", "Outputs"];
/// The top-level keys of a template that are no sections.
const HEAD: [&str; 3] = ["AWSTemplateFormatVersion", "Transform", "Description"];
/// The only version of the template format.
const VERSION: &str = "2010-09-09";
/// The most bytes of a description. Source for this and the next: AWS CloudFormation User Guide, "Template Description syntax".
const DESCRIPTION: usize = 1024;
/// The longest name of an entry.
const NAME: usize = 255;
/// The prefix of an entry that is a loop.
const FOR_EACH: &str = "Fn::ForEach::";
/// The transform that expands loops.
const LANGUAGE_EXTENSIONS: &str = "AWS::LanguageExtensions";
/// The types of the application's functions.
const FUNCTIONS: [&str; 2] = ["AWS::Serverless::Function", "AWS::Lambda::Function"];

/// The application's template.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    file: String,
    description: Option<String>,
    transforms: Vec<Value>,
    sections: Vec<(&'static str, Mapping)>,
    /// The lines of entries, by section and name.
    lines: BTreeMap<String, usize>,
}

impl Application {
    /// Parses a template for the committed template. `file` is its path from the workspace's folder.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        Self::parse_for(TEMPLATE, file, text)
    }

    /// Parses a template as a part of the template `destination`. Its paths become relative to the folder of
    /// `destination`. Both arguments are relative to the workspace's folder.
    pub fn parse_for(destination: &str, file: &str, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let template = match read::read(text) {
            Ok(template) => template,
            Err(error) => {
                faults.add(file, at(error.line, ""), error.reason);
                return Err(faults);
            }
        };
        let Some(entries) = template.entries() else {
            faults.add(file, "", "is not a template: expected a mapping with `Resources`");
            return Err(faults);
        };
        let mut own = Self {
            file: file.to_owned(),
            description: None,
            transforms: Vec::new(),
            sections: Vec::new(),
            lines: BTreeMap::new(),
        };
        for entry in entries {
            own.head(entry, &mut faults);
        }
        for section in SECTIONS {
            if let Some(entry) = entries.iter().find(|entry| entry.key == section) {
                own.copy_section(section, entry, &mut faults);
            }
        }
        if faults.iter().next().is_none() {
            own.apply_globals(&mut faults);
            own.rewrite_paths(destination);
            own.variables(&template, &mut faults);
        }
        faults.none_or(own)
    }

    /// Copies a top-level key that is no section, or adds a fault.
    fn head(&mut self, entry: &Entry, faults: &mut Faults) {
        let key = as_text(&entry.key);
        let value = entry.node.value();
        let mut reject = |reason: String| faults.add(&self.file, at(entry.line, &key), reason);
        match (key.as_str(), value) {
            ("AWSTemplateFormatVersion", version) if version != VERSION => {
                reject(format!("expected `{VERSION}`, the only version"));
            }
            ("Description", Value::String(text)) if text.len() <= DESCRIPTION => {
                self.description = Some(text);
            }
            ("Description" | "Transform", Value::Null) => {}
            ("Description", _) => reject(format!("expected a string of at most {DESCRIPTION} bytes")),
            ("Transform", Value::Sequence(items)) => {
                for item in items {
                    if !self.transforms.contains(&item) {
                        self.transforms.push(item);
                    }
                }
            }
            ("Transform", one) => self.transforms.push(one),
            (key, _) if !SECTIONS.contains(&key) && !HEAD.contains(&key) => {
                let known = [&HEAD[..], &SECTIONS].concat().join(", ");
                reject(format!("is not a section of a template: expected one of {known}"));
            }
            _ => {}
        }
        if key == "Transform" && !self.transforms.iter().all(|one| one.is_string() || one["Name"].is_string())
        {
            faults.add(
                &self.file,
                at(entry.line, &key),
                "expected the name of a transform, or a list of names",
            );
        }
    }

    /// Copies a section, or adds its faults.
    fn copy_section(&mut self, section: &'static str, entry: &Entry, faults: &mut Faults) {
        self.lines.insert(section.to_owned(), entry.line);
        let Some(entries) = entry.node.entries() else {
            if !entry.node.value().is_null() {
                faults.add(&self.file, at(entry.line, section), "expected a mapping");
            }
            return;
        };
        for entry in entries {
            let name = as_text(&entry.key);
            let key = format!("{section}.{name}");
            if let Err(reason) = self.check_entry(section, &name, &entry.node.value()) {
                faults.add(&self.file, at(entry.line, &key), reason);
            }
            self.lines.insert(key, entry.line);
        }
        self.sections.push((section, mapping(entry.node.value())));
    }

    /// Checks that an entry is allowed in its section.
    fn check_entry(&self, section: &str, name: &str, entry: &Value) -> Result<(), String> {
        if let Some(call) = name.strip_prefix("Fn::") {
            let extends = self.transforms.iter().any(|one| one == LANGUAGE_EXTENSIONS);
            return match call.strip_prefix("ForEach::") {
                Some(_) if !extends => Err(format!("needs `Transform: {LANGUAGE_EXTENSIONS}`")),
                Some(_) if !entry.is_sequence() => Err("expected a list".to_owned()),
                None if call != "Transform" => {
                    Err("is not allowed here: only `Fn::Transform` and `Fn::ForEach` are".to_owned())
                }
                _ => Ok(()),
            };
        }
        if section == "Metadata" {
            return Ok(());
        }
        if section != "Globals" && (name.len() > NAME || !name.chars().all(|c| c.is_ascii_alphanumeric())) {
            return Err(format!("is not a valid name: use at most {NAME} letters and digits"));
        }
        let is_included = !entry["Fn::Transform"].is_null();
        if section == "Resources" && !entry["Type"].is_string() && !is_included {
            return Err("is not a resource: expected a mapping with a `Type`".to_owned());
        }
        if entry.is_mapping() { Ok(()) } else { Err("expected a mapping".to_owned()) }
    }

    /// Applies the globals of functions to the application's functions. The globals of other types stay in the template, since
    /// no generated resource is of those types.
    fn apply_globals(&mut self, faults: &mut Faults) {
        let Some(section) = self.sections.iter_mut().find(|(name, _)| *name == "Globals") else { return };
        let Some(function_globals) = section.1.shift_remove("Function").map(mapping) else { return };
        self.sections.retain(|(name, entries)| *name != "Globals" || !entries.is_empty());
        for key in globals::NEVER_GLOBAL.into_iter().filter(|key| function_globals.contains_key(*key)) {
            let reason = "is not allowed in `Globals`: set it on each function";
            faults.add(&self.file, self.place(&format!("Globals.Function.{key}")), reason);
        }
        self.each_resource(&|resource| globals::applied(&function_globals, resource));
    }

    /// Rewrites relative paths for the generated template's folder.
    fn rewrite_paths(&mut self, destination: &str) {
        let paths = Paths::between(&self.file, destination);
        self.each_resource(&|resource| paths.of_resource(resource));
        for (section, entries) in &mut self.sections {
            *entries = match *section {
                "Resources" => {
                    // Snippets among the resources. Those inside resources and loops were rewritten above.
                    let snippets = entries
                        .iter_mut()
                        .filter(|(_, entry)| !entry.is_sequence() && !entry["Type"].is_string());
                    for (_, entry) in snippets {
                        *entry = paths.of_includes(std::mem::take(entry));
                    }
                    continue;
                }
                "Metadata" => paths.of_metadata(std::mem::take(entries)),
                "Globals" => paths.of_globals(std::mem::take(entries)),
                _ => mapping(paths.of_includes(std::mem::take(entries).into())),
            };
        }
        self.transforms =
            std::mem::take(&mut self.transforms).into_iter().map(|one| paths.of_includes(one)).collect();
    }

    fn each_resource(&mut self, change: &dyn Fn(Value) -> Value) {
        for (_, entries) in self.sections.iter_mut().filter(|(section, _)| *section == "Resources") {
            let changed = std::mem::take(entries).into_iter();
            *entries = changed
                .map(|(id, value)| (id.clone(), changed_entry(&as_text(&id), value, change)))
                .collect();
        }
    }

    /// Adds faults for variables of its functions that Lambda rejects.
    fn variables(&self, template: &Node, faults: &mut Faults) {
        for (id, function) in self.section("Resources").filter(|(_, resource)| is_function(resource)) {
            let Some(variables) = function["Properties"]["Environment"]["Variables"].as_mapping() else {
                continue;
            };
            let mut reject = |keys: &[&str], reason: String| {
                let keys = [&["Resources", &id, "Properties", "Environment", "Variables"], keys].concat();
                faults.add(&self.file, at(line(template, &keys), &keys.join(".")), reason);
            };
            for name in variables.keys().map(as_text) {
                match reserved(&name) {
                    None if is_name(&name) || name.starts_with("Fn::") => {}
                    None => reject(&[&name], NO_NAME.to_owned()),
                    Some(reason) => reject(&[&name], reason.to_owned()),
                }
            }
            // The length of a value that CloudFormation fills in is not known here.
            let length = |value: &Value| if value.is_mapping() { 0 } else { as_text(value).len() };
            let bytes: usize =
                variables.iter().map(|(name, value)| as_text(name).len() + length(value)).sum();
            if bytes > MAX_BYTES {
                reject(&[], format!("are {bytes} bytes, but a function can have {MAX_BYTES}"));
            }
        }
    }

    /// The path of its file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Its description of the stack.
    pub(super) fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Its transforms, in order.
    pub(super) fn transforms(&self) -> &[Value] {
        &self.transforms
    }

    /// The key with the line of its entry.
    pub(super) fn place(&self, key: &str) -> String {
        let parts: Vec<_> = key.split('.').collect();
        let known = (1..=parts.len()).rev().find_map(|count| self.lines.get(&parts[..count].join(".")));
        at(known.copied().unwrap_or_default(), key)
    }

    /// The entries of a section.
    pub(super) fn section(&self, name: &str) -> impl Iterator<Item = (String, &Value)> {
        let entries = self.sections.iter().filter(move |(section, _)| *section == name);
        entries.flat_map(|(_, entries)| entries.iter().map(|(name, value)| (as_text(name), value)))
    }

    /// The logical ids of its resources, without those that a transform generates.
    pub(super) fn resource_ids(&self) -> impl Iterator<Item = String> {
        self.section("Resources").map(|(id, _)| id).filter(|id| !id.starts_with("Fn::"))
    }

    /// Renders its resources. If `gated`, its functions wait for the tasks before the application. Functions that enqueue jobs
    /// get the variables for that.
    pub(super) fn resources(&self, project: &Project, gated: bool) -> impl Iterator<Item = (String, Value)> {
        self.section("Resources").map(move |(id, resource)| {
            let waits =
                |resource| if gated && is_function(&resource) { waiting(&resource) } else { resource };
            let resource = changed_entry(&id, resource.clone(), &waits);
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
                    "expected `!GetAtt` of a role in this file, or no role: the permission to enqueue jobs is added to it",
                ),
                None => {
                    let reason = format!("there is no function `{id}` in {}", self.file);
                    faults.add(config::FILE, format!("functions.{id}"), reason);
                }
            }
        }
        roles
    }

    /// The role of a function, if it is in this template. SAM generates one if it is left out.
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

/// Adds the variables for enqueuing jobs to a function. Its own variables take precedence.
fn enqueuing(function: Value, project: &Project) -> Value {
    let mut variables = functions::variables(&enqueuing_variables(project));
    let mut function = mapping(function);
    let mut properties = mapping(function.get("Properties").cloned().unwrap_or_default());
    let mut environment = mapping(properties.get("Environment").cloned().unwrap_or_default());
    variables.extend(mapping(environment.get("Variables").cloned().unwrap_or_default()));
    environment.insert("Variables".into(), variables.into());
    properties.insert("Environment".into(), environment.into());
    function.insert("Properties".into(), properties.into());
    function.into()
}

/// Adds the tasks before the application to what a resource depends on.
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

/// The key of a fault, with its line if that is known.
fn at(line: usize, key: &str) -> String {
    match (line, key) {
        (0, key) => key.to_owned(),
        (line, "") => format!("line {line}"),
        (line, key) => format!("line {line}: {key}"),
    }
}

/// The line of the last of these nested keys that exists.
fn line(template: &Node, keys: &[&str]) -> usize {
    let mut node = template;
    let mut line = 0;
    for key in keys {
        let Some(entry) = node.entries().and_then(|all| all.iter().find(|entry| as_text(&entry.key) == *key))
        else {
            break;
        };
        (node, line) = (&entry.node, entry.line);
    }
    line
}

/// Changes the resource of an entry. In a loop the resources are in the template that it repeats.
fn changed_entry(id: &str, value: Value, change: &dyn Fn(Value) -> Value) -> Value {
    match value {
        Value::Sequence(mut parts) if id.starts_with(FOR_EACH) => {
            if let Some(Value::Mapping(entries)) = parts.get_mut(2) {
                let changed = std::mem::take(entries).into_iter();
                *entries = changed
                    .map(|(id, value)| (id.clone(), changed_entry(&as_text(&id), value, change)))
                    .collect();
            }
            parts.into()
        }
        value if value["Type"].is_string() => change(value),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::yaml::map, *};

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
    fn the_globals_of_functions_are_applied_to_them() {
        let text = "Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\nGlobals:\n  \
                    Function: {Timeout: 7, CodeUri: src}\n  Api: {OpenApiVersion: 3.0.1}\nResources:\n  \
                    A: {Type: 'AWS::Serverless::Function'}\n  B: {Type: 'AWS::SQS::Queue'}\n  \
                    'Fn::ForEach::Each': [X, [a], {'C${X}': {Type: 'AWS::Serverless::Function'}}]\n  \
                    Fn::Transform: {Name: AWS::Include, Parameters: {Location: more.yaml}}\n";
        let application = Application::parse("a.yaml", text).unwrap();
        let project = super::super::fixtures::shop();
        let resources: BTreeMap<_, _> = application.resources(&project, true).collect();
        assert_eq!(resources["A"]["Properties"], map! { "Timeout" => 7, "CodeUri" => "../src" });
        assert!(resources["B"]["Properties"].is_null());
        let each = &resources["Fn::ForEach::Each"][2]["C${X}"];
        assert_eq!((&each["Properties"]["Timeout"], &each["DependsOn"]), (&7.into(), &BEFORE.into()));
        assert_eq!(resources["Fn::Transform"]["Parameters"]["Location"], "../more.yaml");
        let left: Vec<_> = application.section("Globals").map(|(name, _)| name).collect();
        assert_eq!(left, ["Api"]);
        assert_eq!(application.resource_ids().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn an_invalid_template_is_reported_with_its_place() {
        let faults = |text| Application::parse("infra/a.yaml", text).unwrap_err().to_string();
        for (text, expected) in [
            ("- 1", "infra/a.yaml: is not a template"),
            ("", "infra/a.yaml: is not a template"),
            ("a: b: c", "infra/a.yaml: line 1: is not YAML"),
            ("\nResource: {}", "infra/a.yaml: line 2: Resource: is not a section"),
            (
                "AWSTemplateFormatVersion: 2010-09-10",
                "infra/a.yaml: line 1: AWSTemplateFormatVersion: expected",
            ),
            ("Description: [a]", "infra/a.yaml: line 1: Description: expected a string"),
            ("Transform: 1", "infra/a.yaml: line 1: Transform: expected the name"),
            ("Resources:\n  A: {}", "infra/a.yaml: line 2: Resources.A: is not a resource"),
            ("Resources: 1", "infra/a.yaml: line 1: Resources: expected a mapping"),
            ("Resources:\n  a-b: {Type: X}", "infra/a.yaml: line 2: Resources.a-b: is not a valid name"),
            (
                "Resources:\n  Fn::ForEach::A: []",
                "infra/a.yaml: line 2: Resources.Fn::ForEach::A: needs `Transform",
            ),
            ("Outputs:\n\n  A: 1", "infra/a.yaml: line 3: Outputs.A: expected a mapping"),
            (
                "Globals:\n  Function:\n    Role: x",
                "infra/a.yaml: line 2: Globals.Function.Role: is not allowed",
            ),
            (
                "Resources:\n  A:\n    Type: AWS::Lambda::Function\n    Properties:\n      Environment:\n        \
                 Variables:\n          AWS_REGION: x",
                "infra/a.yaml: line 7: Resources.A.Properties.Environment.Variables.AWS_REGION: is reserved by Lambda",
            ),
        ] {
            let message = faults(text);
            assert!(message.starts_with(expected), "{text}\n{message}");
        }
    }

    #[test]
    fn variables_that_are_too_long_for_a_function_are_rejected() {
        let parse = |length: usize| {
            let long = "x".repeat(length);
            let text = format!(
                "Globals:\n  Function:\n    Environment: {{Variables: {{LONG: {long}}}}}\nResources:\n  A:\n    \
                 Type: AWS::Serverless::Function\n    Properties:\n      Environment: {{Variables: {{BB: !Ref C}}}}\n"
            );
            Application::parse("infra/a.yaml", &text).map(drop).map_err(|faults| faults.to_string())
        };
        assert_eq!(parse(4000), Ok(()));
        let message = parse(4091).unwrap_err();
        assert!(
            message.contains("line 8: Resources.A.Properties.Environment.Variables: are 4097 bytes"),
            "{message}"
        );
    }
}
