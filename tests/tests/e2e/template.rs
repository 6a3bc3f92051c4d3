//! The committed template: it is current, has no findings, and has the properties that the emulator ignores.

use std::{fs, process::Command};

use lamplighter_e2e::{
    Aws, Emulator, OnFailure, Sam, cfn_lint, checkov, lamplighter, python_runtime, repository, run,
    sam_build, sam_python, sam_validate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

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
    let workspace = workspace("", APPLICATION);
    let template = generated(&workspace);
    let transforms = json!(["AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"]);
    assert_eq!(template["Transform"], transforms);
    let site = &template["Resources"]["SiteFunction"]["Properties"];
    assert_eq!((&site["Timeout"], &site["CodeUri"]), (&json!(7), &json!("../app/src/")));
    assert_eq!(site["Environment"]["Variables"], json!({ "STAGE": "dev", "TOPIC": { "Ref": "News" } }));
    assert_eq!(template["Resources"]["GreetFunction"]["Properties"]["Timeout"], 70);
}

#[test]
fn g07_linters_have_no_findings_in_properties() {
    let workspace = workspace(PROPERTIES, NETWORK);
    let template = generated(&workspace);
    checkov(&workspace.path().join("infra/template.yaml")).expect_success("checkov");
    let greet = &template["Resources"]["GreetFunction"]["Properties"];
    assert_eq!(greet["VpcConfig"]["SecurityGroupIds"], json!([{ "Fn::GetAtt": ["Group", "GroupId"] }]));
    assert_eq!(greet["Tags"], json!({ "Team": "shop", "Task": "greet" }));
    assert!(template["Resources"]["LamplighterDispatcherFunction"]["Properties"]["VpcConfig"].is_null());
}

#[test]
fn g08_sam_builds_the_functions_of_the_application_and_leaves_the_tasks() {
    let runtime = python_runtime();
    let workspace = workspace("", &PYTHON.replace("python3", &runtime));
    run(lamplighter().arg("generate").current_dir(workspace.path())).expect_success("lamplighter generate");
    sam_build(workspace.path(), "infra/template.yaml").expect_success("sam build");
    let built = workspace.path().join(".aws-sam/build");
    assert!(built.join("HelloFunction/hello.py").exists());
    let text = fs::read_to_string(built.join("template.yaml")).expect("sam build writes a template");
    let template: Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
    let of = |id: &str| &template["Resources"][id]["Properties"];
    let hello = of("HelloFunction");
    assert_eq!((&hello["CodeUri"], &hello["Runtime"]), (&json!("HelloFunction"), &json!(runtime)));
    assert_eq!(hello["VpcConfig"]["SubnetIds"], json!(["subnet-1"]));
    assert_eq!(template["Resources"]["HelloFunction"]["DependsOn"], "LamplighterBefore");
    // SAM applies `Globals.Function` to every function of a template, so the generated one has none.
    let greet = of("GreetFunction");
    assert_eq!(greet["CodeUri"], "../../target/lamplighter/greet.zip");
    assert_eq!(greet["Runtime"], "provided.al2023");
    assert!(greet["VpcConfig"].is_null() && greet["Layers"].is_null(), "{greet}");
    assert!(greet["Environment"]["Variables"]["STAGE"].is_null(), "{greet}");
    for (section, name) in
        [("Parameters", "Stage"), ("Mappings", "Sizes"), ("Conditions", "IsProd"), ("Outputs", "Hello")]
    {
        assert!(!template[section][name].is_null(), "{section}.{name}");
    }
}

#[test]
fn g08_globals_are_applied_as_sam_applies_them() {
    let function = |keys: Value| {
        let mut function =
            json!({ "Type": "AWS::Serverless::Function", "Properties": { "CodeUri": "s3://b/k" } });
        for (key, value) in keys.as_object().into_iter().flatten() {
            function[key] = value.clone();
        }
        function
    };
    let application = json!({
        "Globals": { "Function": {
            "Runtime": "python3.13", "Timeout": 5, "Handler": "h", "Layers": ["a"], "Architectures": ["arm64"],
            "Tags": { "A": "1", "B": "2" }, "VpcConfig": { "SubnetIds": ["s"], "SecurityGroupIds": ["g"] },
            "Environment": { "Variables": { "STAGE": { "Ref": "Version" }, "LEVEL": "info" } },
            "EphemeralStorage": { "Size": 600 }, "Tracing": "Active",
        } },
        "Resources": {
            "Plain": function(json!({})),
            "Own": function(json!({ "Properties": {
                "CodeUri": "s3://b/k", "Timeout": 6, "Layers": ["b"], "Architectures": ["x86_64"], "Tags": { "B": "3" },
                "VpcConfig": { "SubnetIds": ["t"] }, "Environment": { "Variables": { "LEVEL": "debug", "MORE": "1" } },
                "EphemeralStorage": { "Ref": "Version" },
            } })),
            "Without": function(json!({ "IgnoreGlobals": ["VpcConfig", "Layers", "Environment"] })),
            "None": function(json!({ "IgnoreGlobals": "*" })),
        },
    });
    let workspace = workspace("", &application.to_string());
    run(lamplighter().arg("generate").current_dir(workspace.path())).expect_success("lamplighter generate");
    let text = fs::read_to_string(workspace.path().join("infra/template.yaml")).expect("it is written");
    let template: Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
    assert!(template["Globals"].is_null());

    let script = "import json, sys\n\
                  from samtranslator.plugins.globals.globals import Globals\n\
                  template = json.loads(sys.argv[1])\n\
                  own = Globals(template)\n\
                  merged = lambda name, it: own.merge(it['Type'], it['Properties'], name, it.get('IgnoreGlobals'))\n\
                  print(json.dumps({name: merged(name, it) for name, it in template['Resources'].items()}))\n";
    let of_sam = sam_python(script, &[&application.to_string()]).expect_success("SAM's translator");
    let of_sam: Value = serde_json::from_str(&of_sam).expect("it is JSON");
    for (name, properties) in of_sam.as_object().expect("resources by name") {
        assert_eq!(&template["Resources"][name]["Properties"], properties, "{name}");
    }
}

#[tokio::test]
async fn g08_g09_a_built_template_is_deployed_for_an_environment() {
    // A cron task needs neither the dispatcher nor its package.
    let cron = json!({ "kind": "cron", "schedule": "@daily", "timezone": "UTC", "priority": "low" });
    let workspace = workspace_of(&cron, "", &PYTHON.replace("python3", &python_runtime()));
    run(lamplighter().arg("generate").current_dir(workspace.path())).expect_success("lamplighter generate");
    let packages = workspace.path().join("target/lamplighter");
    fs::create_dir_all(&packages).expect("a folder can be made");
    fs::write(packages.join("bootstrap"), "#!/bin/sh\n").expect("it can be written");
    let zip = run(Command::new("python3")
        .args(["-m", "zipfile", "-c", "greet.zip", "bootstrap"])
        .current_dir(&packages));
    zip.expect_success("python3 -m zipfile");
    sam_build(workspace.path(), "infra/template.yaml").expect_success("sam build");

    let emulator = Emulator::start();
    let (sam, aws) = (Sam::new(&emulator.endpoint()), Aws::new(&emulator.endpoint()));
    let endpoint = emulator.endpoint();
    let parameters = [("Environment", "prod"), ("Stage", "prod"), ("AnswerEndpoint", endpoint.as_str())];
    let template = workspace.path().join(".aws-sam/build/template.yaml");
    let deployed = sam.deploy(&template, "python", &parameters, OnFailure::RollBack);
    assert!(deployed.success, "{}\n{:#?}", deployed.output, aws.stack_events("python").await);
    let hello = aws.stack_outputs("python").await["Hello"].clone();
    assert_eq!(aws.invoke(&hello, &json!({})).await.payload, "hello from prod");
    let greet = aws.lambda.get_function_configuration().function_name("python-greet").send().await;
    let greet = greet.expect("the task's function is there");
    let variables = greet.environment().and_then(|environment| environment.variables()).expect("variables");
    assert_eq!(variables["LAMPLIGHTER_ENVIRONMENT"], "prod");
    assert!(!variables.contains_key("STAGE"), "{variables:?}");
}

/// An application with a function in Python, and globals that are not for the tasks' functions.
const PYTHON: &str = "\
Parameters:
  Stage: { Type: String, Default: dev }
Mappings:
  Sizes: { dev: { Memory: 128 }, prod: { Memory: 512 } }
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
Globals:
  Function:
    Runtime: python3
    Timeout: 7
    Layers: ['arn:aws:lambda:us-east-1:123456789012:layer:tools:1']
    VpcConfig: { SubnetIds: [subnet-1], SecurityGroupIds: [sg-1] }
    Environment: { Variables: { STAGE: !Ref Stage } }
Resources:
  HelloFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: src/
      Handler: hello.handler
      MemorySize: !FindInMap [Sizes, !Ref Stage, Memory]
Outputs:
  Hello: { Value: !Ref HelloFunction, Condition: IsProd }
";

/// Every property that can be set, on the functions and the roles of tasks.
const PROPERTIES: &str = r#"
[function]
CodeSigningConfigArn = { Ref = "SigningArn" }
EphemeralStorage = { Size = 1024 }
KmsKeyArn = { "Fn::GetAtt" = ["Key", "Arn"] }
Layers = ["arn:${AWS::Partition}:lambda:${AWS::Region}:123456789012:layer:tools:1"]
PropagateTags = true
RuntimeManagementConfig = { UpdateRuntimeOn = "Auto" }
SourceKMSKeyArn = { "Fn::GetAtt" = ["Key", "Arn"] }
Tags.Team = "shop"
Tracing = "Active"
VpcConfig = { SubnetIds = { Ref = "Subnets" }, SecurityGroupIds = [{ "Fn::GetAtt" = ["Group", "GroupId"] }] }

[role]
Path = "/shop/"
PermissionsBoundary = "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/boundary"
ManagedPolicyArns = ["arn:${AWS::Partition}:iam::aws:policy/AmazonRDSDataFullAccess"]
MaxSessionDuration = 3600
Tags.Team = "shop"

[tasks.greet.function]
Description = "Greets in a network of its own."
FileSystemConfigs = [{ Arn = { Ref = "AccessPoint" }, LocalMountPath = "/mnt/shop" }]
ReservedConcurrentExecutions = 2
Tags.Task = "greet"

[tasks.greet.role]
Description = "Of the greeter in ${AWS::StackName}."
RoleName = "${AWS::StackName}-greet"
"#;

/// The network, the key and the parameters that the properties refer to.
const NETWORK: &str = "\
Parameters:
  Vpc: { Type: 'AWS::EC2::VPC::Id' }
  Subnets: { Type: 'List<AWS::EC2::Subnet::Id>' }
  SigningArn: { Type: String }
  AccessPoint: { Type: String }
Resources:
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: { GroupDescription: Of the tasks., VpcId: !Ref Vpc }
  Key:
    Type: AWS::KMS::Key
    Properties:
      EnableKeyRotation: true
      KeyPolicy:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: { AWS: !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:root' }
            Action: 'kms:*'
            Resource: '*'
";

/// Writes a workspace with the lifecycle task `greet`, these lines of lamplighter.toml, and this application.
fn workspace(config: &str, application: &str) -> TempDir {
    let lifecycle = json!({
        "kind": "lifecycle", "run_on": ["deploy"], "phase": "before", "once_per": "deployment", "depends_on": [],
    });
    workspace_of(&lifecycle, config, application)
}

/// Writes a workspace with the task `greet` of this kind.
fn workspace_of(kind: &Value, config: &str, application: &str) -> TempDir {
    let workspace = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |path: &str, text: &str| {
        let path = workspace.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("its folder can be made");
        fs::write(path, text).expect("it can be written");
    };
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"functions/tasks/greet\"]\n");
    let config = format!("name = \"shop\"\n[build]\napplication = \"app/template.yaml\"\n{config}");
    write("lamplighter.toml", &config);
    let package = "[package]\nname = \"greet\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    write("functions/tasks/greet/Cargo.toml", package);
    let mut definition = json!({
        "lamplighter": env!("CARGO_PKG_VERSION"), "name": "greet", "description": "", "timeout_ms": 60_000,
        "retry": { "max_attempts": 1, "initial_ms": 1, "max_ms": 1 }, "copy_assets": [], "rollback": false,
        "config": null, "config_schema": {},
    });
    for (key, value) in kind.as_object().into_iter().flatten() {
        definition[key] = value.clone();
    }
    let program = format!("fn main() {{ println!(\"{{}}\", r####\"{definition}\"####); }}");
    write("functions/tasks/greet/src/main.rs", &program);
    write("app/src/index.mjs", "export const handler = async () => 'hello';\n");
    let hello = "import os\n\ndef handler(event, context):\n    return 'hello from ' + os.environ['STAGE']\n";
    write("app/src/hello.py", hello);
    write("app/src/requirements.txt", "");
    write("app/template.yaml", application);
    workspace
}

/// Generates the template of a workspace, which the linters accept.
fn generated(workspace: &TempDir) -> Value {
    run(lamplighter().arg("generate").current_dir(workspace.path())).expect_success("lamplighter generate");
    let template = workspace.path().join("infra/template.yaml");
    sam_validate(&template).expect_success("sam validate --lint");
    let found = cfn_lint(&template).expect_success("cfn-lint");
    assert_eq!(found.trim(), "");
    let text = fs::read_to_string(&template).expect("it is written");
    serde_yaml_ng::from_str(&text).expect("it is YAML")
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
