//! Rewrites the relative paths in a template for the folder of another one.

use serde_yaml_ng::{Mapping, Value};

use super::yaml::mapping;

/// The properties that can be a path of a file or a folder, by type. Each is a list of nested keys; `*` is any key. Source:
/// the properties that `aws cloudformation package` and `sam package` upload.
const LOCAL: [(&str, &[&[&str]]); 22] = [
    ("AWS::ApiGateway::RestApi", &[&["BodyS3Location"]]),
    ("AWS::ApiGatewayV2::Api", &[&["BodyS3Location"]]),
    ("AWS::AppSync::FunctionConfiguration", APPSYNC),
    ("AWS::AppSync::GraphQLSchema", &[&["DefinitionS3Location"]]),
    ("AWS::AppSync::Resolver", APPSYNC),
    ("AWS::CloudFormation::ModuleVersion", &[&["ModulePackage"]]),
    ("AWS::CloudFormation::ResourceVersion", &[&["SchemaHandlerPackage"]]),
    ("AWS::CloudFormation::Stack", &[&["TemplateURL"]]),
    ("AWS::CloudFormation::StackSet", &[&["TemplateURL"]]),
    ("AWS::ElasticBeanstalk::ApplicationVersion", &[&["SourceBundle"]]),
    ("AWS::Glue::Job", &[&["Command", "ScriptLocation"]]),
    ("AWS::Lambda::Function", &[&["Code"]]),
    ("AWS::Lambda::LayerVersion", &[&["Content"]]),
    ("AWS::Serverless::Api", &[&["DefinitionUri"]]),
    ("AWS::Serverless::Application", &[&["Location"]]),
    ("AWS::Serverless::Function", &[&["CodeUri"]]),
    (
        "AWS::Serverless::GraphQLApi",
        &[&["SchemaUri"], &["Functions", "*", "CodeUri"], &["Resolvers", "*", "*", "CodeUri"]],
    ),
    ("AWS::Serverless::HttpApi", &[&["DefinitionUri"]]),
    ("AWS::Serverless::LayerVersion", &[&["ContentUri"]]),
    ("AWS::Serverless::StateMachine", &[&["DefinitionUri"]]),
    ("AWS::Serverless::WebFunction", &[&["CodeUri"]]),
    ("AWS::StepFunctions::StateMachine", &[&["DefinitionS3Location"]]),
];
const APPSYNC: &[&[&str]] =
    &[&["RequestMappingTemplateS3Location"], &["ResponseMappingTemplateS3Location"], &["CodeS3Location"]];
/// The entries of the template's own `Metadata` that are paths.
const METADATA_PATHS: [&[&str]; 2] =
    [&["AWS::ServerlessRepo::Application", "LicenseUrl"], &["AWS::ServerlessRepo::Application", "ReadmeUrl"]];

/// Rewrites paths relative to one folder.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The folder of the template that is read, from the workspace's.
    from: Vec<String>,
    /// The folder of the template that is written.
    to: Vec<String>,
}

impl Paths {
    /// Rewrites paths in the template `from` for the template `to`. Both are relative to the workspace.
    pub(super) fn between(from: &str, to: &str) -> Self {
        let [from, to] = [from, to].map(|file| {
            let mut folder = parts(file, &[]);
            folder.pop();
            folder
        });
        Self { from, to }
    }

    /// Returns true if both templates are in the same folder.
    fn are_kept(&self) -> bool {
        self.from == self.to
    }

    /// Rewrites the paths of a resource.
    pub(super) fn of_resource(&self, resource: Value) -> Value {
        if self.are_kept() {
            return resource;
        }
        let kind = resource["Type"].as_str().unwrap_or_default().to_owned();
        let mut resource = self.of_includes(resource);
        let known = LOCAL.iter().find(|(name, _)| *name == kind);
        for keys in known.into_iter().flat_map(|(_, properties)| properties.iter()) {
            if let Some(properties) = resource.get_mut("Properties") {
                self.at(properties, keys);
            }
        }
        if let Some(metadata) = resource.get_mut("Metadata") {
            // The folder from which an image is built.
            self.at(metadata, &["DockerContext"]);
        }
        if kind == "AWS::Serverless::Function" { self.with_code(resource) } else { resource }
    }

    /// Rewrites the paths of the template's own metadata.
    pub(super) fn of_metadata(&self, metadata: Mapping) -> Mapping {
        let mut metadata = Value::Mapping(metadata);
        if !self.are_kept() {
            for keys in METADATA_PATHS {
                self.at(&mut metadata, keys);
            }
        }
        mapping(self.of_includes(metadata))
    }

    /// Rewrites the paths of the rest of `Globals`.
    pub(super) fn of_globals(&self, globals: Mapping) -> Mapping {
        let mut globals = Value::Mapping(globals);
        if !self.are_kept() {
            self.at(&mut globals, &["Api", "DefinitionUri"]);
        }
        mapping(globals)
    }

    /// Rewrites the paths of the files that `AWS::Include` inserts.
    pub(super) fn of_includes(&self, value: Value) -> Value {
        if self.are_kept() {
            return value;
        }
        match value {
            Value::Sequence(items) => items.into_iter().map(|item| self.of_includes(item)).collect(),
            Value::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, self.of_includes(value)));
                let mut value = Value::Mapping(entries.collect());
                if value["Name"] == "AWS::Include" {
                    self.at(&mut value, &["Parameters", "Location"]);
                }
                value
            }
            other => other,
        }
    }

    /// Rewrites the text at these nested keys, if there is one.
    fn at(&self, value: &mut Value, keys: &[&str]) {
        match keys {
            [] => {
                if let Value::String(path) = value
                    && is_local(path)
                {
                    *path = self.rewritten(path);
                }
            }
            ["*", rest @ ..] => {
                for (_, value) in value.as_mapping_mut().into_iter().flatten() {
                    self.at(value, rest);
                }
            }
            [key, rest @ ..] => {
                if let Some(value) = value.get_mut(*key) {
                    self.at(value, rest);
                }
            }
        }
    }

    /// Adds the code's path to a function without one. Its code is in the folder of its template.
    fn with_code(&self, mut resource: Value) -> Value {
        let has = |key: &str| !resource["Properties"][key].is_null();
        if resource["Properties"].is_mapping()
            && !["CodeUri", "InlineCode", "ImageUri"].into_iter().any(has)
            && resource["Properties"]["PackageType"] != "Image"
        {
            resource["Properties"]["CodeUri"] = self.rewritten(".").into();
        }
        resource
    }

    fn rewritten(&self, path: &str) -> String {
        let parts = parts(path, &self.from);
        let common = parts.iter().zip(&self.to).take_while(|(part, folder)| part == folder).count();
        let up = self.to[common..].iter().map(|_| "..");
        let relative: Vec<_> = up.chain(parts[common..].iter().map(String::as_str)).collect();
        let folder = if path.ends_with('/') { "/" } else { "" };
        match relative.as_slice() {
            [] => format!(".{folder}"),
            parts => format!("{}{folder}", parts.join("/")),
        }
    }
}

/// The parts of a path that is relative to a folder, without `.` and with as few `..` as possible.
fn parts(path: &str, folder: &[String]) -> Vec<String> {
    let mut parts = folder.to_vec();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| last != "..") => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

/// Returns true if a text is a relative path of a local file.
fn is_local(text: &str) -> bool {
    let is_remote = text.contains("://") || text.contains("{{") || text.contains("${");
    !text.is_empty() && !text.starts_with(['/', '~']) && !text.starts_with("arn:") && !is_remote
}

#[cfg(test)]
mod tests {
    use super::{super::TEMPLATE, *};

    #[test]
    fn paths_are_relative_to_the_generated_template() {
        for (file, path, wanted) in [
            ("template.yaml", "src/", "../src/"),
            ("template.yaml", "./infra/x.json", "x.json"),
            ("template.yaml", ".", ".."),
            ("app/template.yaml", "src", "../app/src"),
            ("app/template.yaml", "../src", "../src"),
            ("app/template.yaml", "../infra/", "./"),
            ("app/template.yaml", "../../other/src", "../../other/src"),
            ("infra/site/template.yaml", "code.zip", "site/code.zip"),
            ("./app/../infra/site/t.yaml", "../../x", "../x"),
        ] {
            assert_eq!(Paths::between(file, TEMPLATE).rewritten(path), wanted, "{file}: {path}");
        }
        for (to, path, wanted) in [
            ("template.yaml", "../target/a.zip", "target/a.zip"),
            ("infra/prod/t.yaml", "../target/a.zip", "../../target/a.zip"),
            ("target/t.yaml", "../target/a.zip", "a.zip"),
            ("target/prod/t.yaml", "src/", "../../infra/src/"),
            ("template.yaml", "..", "."),
            ("infra/prod/t.yaml", "../../other", "../../../other"),
        ] {
            assert_eq!(Paths::between(TEMPLATE, to).rewritten(path), wanted, "{to}: {path}");
        }
        for remote in
            ["s3://b/k", "https://x.example/t", "/opt/x", "arn:aws:s3:::b", "{{resolve:ssm:x}}", "${X}/y", ""]
        {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn every_property_that_is_uploaded_is_rewritten() {
        let rewritten = |text: &str| {
            let read = super::super::read::read(text).unwrap().value();
            Paths::between("app/t.yaml", TEMPLATE).of_resource(read)
        };
        for (kind, properties) in LOCAL {
            for keys in properties {
                let opened = keys.iter().map(|key| format!("{{{}: ", key.replace('*', "any")));
                let opened = opened.collect::<Vec<_>>().concat();
                let text = format!("Type: {kind}\nProperties: {opened}a/b{}", "}".repeat(keys.len()));
                let mut value = &rewritten(&text)["Properties"];
                for key in *keys {
                    value = &value[key.replace('*', "any").as_str()];
                }
                assert_eq!(value, "../app/a/b", "{kind} {keys:?}");
            }
        }
        let bucket = "Type: AWS::Lambda::Function\nProperties: {Code: {S3Bucket: b, S3Key: k/l}}";
        assert_eq!(rewritten(bucket)["Properties"]["Code"]["S3Key"], "k/l");
        let function = rewritten("Type: AWS::Serverless::Function\nProperties: {Handler: h}");
        assert_eq!(function["Properties"]["CodeUri"], "../app");
        let included =
            "Type: X\nProperties: {A: [!Transform {Name: AWS::Include, Parameters: {Location: a.yaml}}]}";
        let included = &rewritten(included)["Properties"]["A"][0]["Fn::Transform"];
        assert_eq!(included["Parameters"]["Location"], "../app/a.yaml");
        let kept = super::super::read::read("Type: AWS::Serverless::Function\nProperties: {CodeUri: ./x}")
            .unwrap()
            .value();
        assert_eq!(Paths::between("infra/application.yaml", TEMPLATE).of_resource(kept.clone()), kept);
    }
}
