//! The committed template: it is current, has no findings, and has the properties that the emulator ignores.

use std::fs;

use lamplighter_e2e::{cfn_lint, checkov, lamplighter, repository, run, sam_validate};
use serde_json::{Value, json};

#[test]
fn g01_the_committed_template_is_current() {
    let generated =
        run(lamplighter().args(["generate", "--check"])).expect_success("lamplighter generate --check");
    assert!(generated.contains("infra/template.yaml is up to date"), "{generated}");
}

#[test]
fn g02_linters_have_no_findings() {
    let template = repository().join("infra/template.yaml");
    sam_validate(&template).expect_success("sam validate --lint");
    let found = cfn_lint(&template).expect_success("cfn-lint");
    assert_eq!(found.trim(), "");
    checkov(&template).expect_success("checkov");
}

#[test]
fn o09_linters_have_no_findings_in_an_applications_part() {
    let workspace = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |path: &str, text: &str| {
        let path = workspace.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("its folder can be made");
        fs::write(path, text).expect("it can be written");
    };
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"functions/tasks/greet\"]\n");
    write("lamplighter.toml", "name = \"shop\"\n[build]\napplication = \"app/template.yaml\"\n");
    let package = "[package]\nname = \"greet\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    write("functions/tasks/greet/Cargo.toml", package);
    let definition = json!({
        "name": "greet", "description": "", "kind": "lifecycle", "run_on": ["deploy"], "phase": "before",
        "once_per": "deployment", "depends_on": [], "timeout_ms": 60_000,
        "retry": { "max_attempts": 1, "initial_ms": 1, "max_ms": 1 }, "copy_assets": [], "rollback": false,
        "config": null, "config_schema": {},
    });
    let program = format!("fn main() {{ println!(\"{{}}\", r####\"{definition}\"####); }}");
    write("functions/tasks/greet/src/main.rs", &program);
    write("app/src/index.mjs", "export const handler = async () => 'hello';\n");
    write("app/template.yaml", APPLICATION);
    run(lamplighter().arg("generate").current_dir(workspace.path())).expect_success("lamplighter generate");
    let template = workspace.path().join("infra/template.yaml");
    sam_validate(&template).expect_success("sam validate --lint");
    let found = cfn_lint(&template).expect_success("cfn-lint");
    assert_eq!(found.trim(), "");
    let text = fs::read_to_string(&template).expect("it is written");
    let template: Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
    let transforms = json!(["AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"]);
    assert_eq!(template["Transform"], transforms);
    let site = &template["Resources"]["SiteFunction"]["Properties"];
    assert_eq!((&site["Timeout"], &site["CodeUri"]), (&json!(7), &json!("../app/src/")));
    assert_eq!(site["Environment"]["Variables"], json!({ "STAGE": "dev", "TOPIC": { "Ref": "News" } }));
    assert_eq!(template["Resources"]["GreetFunction"]["Properties"]["Timeout"], 70);
}

/// An application with Globals, YAML anchors and aliases.
const APPLICATION: &str = "\
AWSTemplateFormatVersion: 2010-09-09
Description: What the linters look at.
Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Metadata:
  AWS::CloudFormation::Interface:
    ParameterGroups:
      - { Label: { default: What is deployed }, Parameters: [Version] }
Rules:
  NotEmpty:
    Assertions:
      - Assert: !Not [!Equals [!Ref Version, '']]
        AssertDescription: a version has a name
Globals:
  Function:
    Timeout: 7
    Runtime: nodejs22.x
    Environment: { Variables: { STAGE: dev } }
Resources:
  News:
    Type: AWS::SNS::Topic
    Properties: &topic { DisplayName: News, KmsMasterKeyId: alias/aws/sns }
  Alerts:
    Type: AWS::SNS::Topic
    Properties: { <<: *topic, DisplayName: Alerts }
  SiteFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: src/
      Handler: index.handler
      Environment: { Variables: { TOPIC: !Ref News } }
Outputs:
  Alerts: { Value: !Ref Alerts }
";

#[test]
fn g02_every_exception_is_explained() {
    for (id, resource) in resources(&template()) {
        let skipped = resource["Metadata"]["checkov"]["skip"].as_array().cloned().unwrap_or_default();
        for skip in skipped {
            let comment = skip["comment"].as_str().unwrap_or_default();
            assert!(comment.split_whitespace().count() >= 3, "{id}: {skip}");
        }
    }
}

#[test]
fn g06_functions_and_logs_have_limits() {
    let template = template();
    let functions: Vec<_> = of_type(&template, "AWS::Serverless::Function").collect();
    assert_eq!(functions.len(), 11);
    for (id, function) in functions {
        let properties = &function["Properties"];
        assert_eq!(properties["Runtime"], "provided.al2023", "{id}");
        assert_eq!(properties["Architectures"], json!(["x86_64"]), "{id}");
        assert!((128..=1024).contains(&properties["MemorySize"].as_u64().unwrap()), "{id}");
        assert!((1..=900).contains(&properties["Timeout"].as_u64().unwrap()), "{id}");
        let code = properties["CodeUri"].as_str().unwrap();
        let package = code.strip_prefix("../target/lamplighter/").and_then(|code| code.strip_suffix(".zip"));
        assert!(package.is_some_and(|name| !name.contains('/')), "{id}: {code}");
        let group = properties["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap();
        assert_eq!(template["Resources"][group]["Properties"]["RetentionInDays"], 30, "{id}");
    }
    // A task's function has a longer timeout than its runs, so that a run's end is recorded.
    for (function, timeout) in
        [("RunMigrationsFunction", 130), ("SeedDataFunction", 70), ("PurgeExpiredFunction", 610)]
    {
        assert_eq!(template["Resources"][function]["Properties"]["Timeout"], timeout, "{function}");
    }
}

#[test]
fn g06_properties_that_the_emulator_ignores_are_present() {
    let template = template();
    let table = &template["Resources"]["LamplighterTable"]["Properties"];
    assert_eq!(table["TimeToLiveSpecification"], json!({ "AttributeName": "expires_at", "Enabled": true }));
    let bucket = &template["Resources"]["LamplighterBucketPolicy"];
    assert_eq!(bucket["Condition"], "OnAws");
    assert_eq!(bucket["Properties"]["PolicyDocument"]["Statement"][0]["Effect"], "Deny");
    let retries = &template["Resources"]["LamplighterDispatcherRetries"]["Properties"];
    assert_eq!(retries["MaximumRetryAttempts"], 2);
    let fallback = &retries["DestinationConfig"]["OnFailure"]["Destination"];
    assert_eq!(fallback, &json!({ "Fn::GetAtt": ["LamplighterFallbackFunction", "Arn"] }));
    for resource in ["LamplighterBefore", "LamplighterAfter"] {
        let timeout = template["Resources"][resource]["Properties"]["ServiceTimeout"].as_u64().unwrap();
        assert!((120..=3600).contains(&timeout), "{resource}: {timeout}");
    }
}

#[test]
fn g03_no_role_has_all_actions_or_all_resources() {
    for (id, role) in of_type(&template(), "AWS::IAM::Role") {
        for policy in role["Properties"]["Policies"].as_array().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                assert_eq!(statement["Effect"], "Allow", "{id}");
                for part in ["Action", "Resource"] {
                    let text = statement[part].to_string();
                    assert!(!text.contains(r#""*""#) && !text.contains(r#":*""#), "{id}: {statement}");
                }
            }
        }
    }
}

/// The committed template.
fn template() -> Value {
    let text =
        fs::read_to_string(repository().join("infra/template.yaml")).expect("the template is committed");
    serde_yaml_ng::from_str(&text).expect("the template is YAML")
}

fn resources(template: &Value) -> impl Iterator<Item = (&String, &Value)> {
    template["Resources"].as_object().into_iter().flatten()
}

fn of_type<'a>(template: &'a Value, kind: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    resources(template).filter(move |(_, resource)| resource["Type"] == kind)
}
