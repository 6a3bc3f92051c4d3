//! L02, L11, G01: the template that `generate` writes, and the faults for which it writes nothing.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::fixture::Workspace;

const TEMPLATE: &str = "infra/template.yaml";

fn shop() -> Workspace {
    let workspace = Workspace::new();
    workspace.task("migrate", "migrate", json!({ "rollback": true }));
    workspace.task(
        "purge",
        "purge",
        json!({ "kind": "cron", "schedule": "@hourly", "timezone": "UTC", "priority": "medium" }),
    );
    workspace.task("stream", "stream", json!({ "kind": "side" }));
    workspace
}

#[test]
fn g01_generating_twice_is_byte_identical_and_passes_the_check() {
    let workspace = shop();
    let missing = workspace.run(&["generate", "--check"]).failed();
    assert!(missing.contains("infra/template.yaml is missing: run `lamplighter generate`"), "{missing}");
    assert!(!workspace.path(TEMPLATE).exists());

    let first = workspace.run(&["generate"]);
    assert!(first.stderr.contains("note: stream is left out"), "{}", first.stderr);
    let started = "purge: EventBridge Scheduler starts it at cron(0 * * * ? *), UTC\n";
    assert_eq!(first.succeeded(), format!("{started}wrote infra/template.yaml\n"));
    let template = workspace.read(TEMPLATE);
    assert!(template.starts_with("# Written by `lamplighter generate`"));
    let again = workspace.run(&["generate"]).succeeded();
    assert_eq!(again, format!("{started}infra/template.yaml is up to date\n"));
    assert_eq!(workspace.read(TEMPLATE), template);
    workspace.run(&["generate", "--check"]).succeeded();

    workspace.task("seed", "seed", json!({}));
    let stale = workspace.run(&["generate", "--check"]).failed();
    assert!(stale.contains("infra/template.yaml is out of date"), "{stale}");
    assert!(stale.contains("\n+   # seed: runs on deploy and update, before the application."), "{stale}");
    assert_eq!(workspace.read(TEMPLATE), template, "--check writes nothing");
    workspace.run(&["generate"]).succeeded();
    assert!(workspace.read(TEMPLATE).contains("SeedFunction:"));
    workspace.remove("functions/tasks/seed");
    workspace.run(&["generate"]).succeeded();
    assert_eq!(workspace.read(TEMPLATE), template, "a removed task goes");
}

#[test]
fn g01_json_lists_the_deployed_tasks() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "environment = \"staging\"");
    let report: Value = serde_json::from_str(&workspace.run(&["generate", "--json"]).succeeded()).unwrap();
    let expected = json!({
        "template": TEMPLATE, "environment": "staging", "environments": { "all_but": [] }, "changed": true,
        "tasks": ["migrate", "purge"], "left_out": ["stream"],
        "schedules": [
            { "task": "purge", "driver": "eventbridge", "expression": "cron(0 * * * ? *)", "timezone": "UTC" },
        ],
        "queues": [],
    });
    assert_eq!(report, expected);

    workspace.task("mail", "mail", json!({ "kind": "queue", "timeout_ms": 60_000, "concurrency": 4 }));
    let report: Value = serde_json::from_str(&workspace.run(&["generate", "--json"]).succeeded()).unwrap();
    let mail = json!({ "task": "mail", "batch": 5, "concurrency": 4, "deliveries": 8, "visibility_s": 1860 });
    assert_eq!(report["queues"], json!([mail]));
    let said = workspace.run(&["generate"]).succeeded();
    let expected = "mail: SQS passes its function up to 5 jobs at a time, in up to 4 concurrent invocations; \
                    a message becomes a dead letter after 8 deliveries\n";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn g09_an_environment_with_values_of_its_own_has_a_template_of_its_own() {
    let workspace = shop();
    workspace.write(
        "lamplighter.toml",
        "[build]\napplication = \"app/own.yaml\"\n[environments.staging]\n[environments.prod.tasks.migrate]\n\
         memory_mb = 512\n[environments.prod.role]\nPath = \"/prod/\"\n",
    );
    let own = "Resources:\n  Site:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: src/, Handler: h}\n";
    workspace.write("app/own.yaml", own);
    let ended = workspace.run(&["generate"]);
    let note = "note: the template is not for the environment prod, whose values differ: `lamplighter generate --environment prod";
    assert!(ended.stderr.contains(note) && !ended.stderr.contains("staging"), "{}", ended.stderr);
    ended.succeeded();
    let pattern = "AllowedPattern: \"^(?!(?:prod)$)[-_0-9A-Za-z]+$\"";
    assert!(workspace.read(TEMPLATE).contains(pattern), "{}", workspace.read(TEMPLATE));

    let of_prod = ["generate", "--environment", "prod", "--output", "deploy/prod/template.yaml"];
    let ended = workspace.run(&of_prod);
    assert!(!ended.stderr.contains("values differ"), "{}", ended.stderr);
    assert!(ended.succeeded().ends_with("wrote deploy/prod/template.yaml\n"));
    let template = workspace.read("deploy/prod/template.yaml");
    for part in [
        "Default: prod\n",
        "AllowedValues: [prod]",
        "CodeUri: ../../target/lamplighter/migrate.zip",
        "CodeUri: ../../app/src/",
        "MemorySize: 512",
        "Path: /prod/",
    ] {
        assert!(template.contains(part), "{part}\n{template}");
    }
    assert!(!workspace.read(TEMPLATE).contains("MemorySize: 512"), "the other template stays");
    workspace.run(&[&of_prod[..], &["--check"]].concat()).succeeded();
    workspace.run(&["generate", "--check"]).succeeded();

    // The paths are relative to the template also in the workspace's own folder.
    let report =
        workspace.run(&["generate", "--environment", "prod", "--output", "./app/../t.yaml", "--json"]);
    let report: Value = serde_json::from_str(&report.succeeded()).unwrap();
    assert_eq!(
        (&report["template"], &report["environments"]),
        (&json!("t.yaml"), &json!({ "only": ["prod"] }))
    );
    assert!(workspace.read("t.yaml").contains("CodeUri: target/lamplighter/migrate.zip"));
}

#[test]
fn g09_a_template_is_written_only_in_the_workspace() {
    let workspace = shop();
    symlink("/", workspace.path("root")).unwrap();
    for output in ["/tmp/lamplighter-outside.yaml", "../outside.yaml", "a/../../b.yaml", ".", "root/x.yaml"] {
        let ended = workspace.run(&["generate", "--output", output]);
        assert_eq!(ended.code, 2, "{output}: {}", ended.stderr);
        assert!(ended.stderr.contains("is not a file below"), "{output}: {}", ended.stderr);
    }
    assert!(!workspace.path("infra").exists());
}

#[test]
fn g04_tasks_of_the_pulse_are_listed_with_the_reasons() {
    let workspace = Workspace::new();
    let cron = |schedule: &str| json!({ "kind": "cron", "schedule": schedule, "timezone": "UTC", "priority": "low" });
    workspace.task("purge", "purge", cron("@hourly"));
    let mut refresh = cron("every 30 seconds");
    refresh["depends_on"] = json!(["purge"]);
    workspace.task("refresh", "refresh", refresh);
    let reasons = [
        "EventBridge Scheduler cannot express `every 30 seconds`: its precision is a minute, and this has seconds",
        "it depends on other tasks",
    ];
    let said = workspace.run(&["generate"]).succeeded();
    let expected = format!(
        "purge: EventBridge Scheduler starts it at cron(0 * * * ? *), UTC\n\
         refresh: the pulse starts it, because {}\n\
         wrote {TEMPLATE}\n",
        reasons.join("; ")
    );
    assert_eq!(said, expected);
    let template = workspace.read(TEMPLATE);
    for (resource, is_there) in
        [("PurgeSchedule:", true), ("RefreshSchedule:", false), ("LamplighterPulseSchedule:", true)]
    {
        assert_eq!(template.contains(&format!("\n  {resource}\n")), is_there, "{resource}");
    }
    let report: Value = serde_json::from_str(&workspace.run(&["generate", "--json"]).succeeded()).unwrap();
    assert_eq!(
        report["schedules"][1],
        json!({ "task": "refresh", "driver": "pulse", "reasons": reasons }),
        "{report:#}"
    );
}

#[test]
fn l02_every_fault_is_reported_and_nothing_is_written() {
    let workspace = shop();
    workspace.task("a", "a", json!({ "depends_on": ["b"], "timeout_ms": 901_000 }));
    workspace.task("b", "b", json!({ "depends_on": ["a", "nobody"] }));
    workspace.task("mail", "mail", json!({ "kind": "queue", "priority": "high" }));
    workspace.write("lamplighter.toml", "[tasks.migrate.config]\nx = 1\n[tasks.nobody]\n");
    let error = workspace.run(&["generate"]).failed();
    for fault in [
        "functions/tasks/a/src/main.rs: timeout: 15m 1s is not within 1 ms and 900 s",
        "functions/tasks/b/src/main.rs: depends_on: `b` depends on `nobody`, which is not a task here",
        "functions/tasks/a/src/main.rs: depends_on: the tasks depend on each other in a circle: a -> b -> a",
        "lamplighter.toml: tasks.nobody: there is no task `nobody`",
    ] {
        assert!(error.contains(fault), "{fault}\n{error}");
    }
    assert!(!workspace.path("infra").exists());
}

#[test]
fn l02_an_unknown_word_is_reported_with_the_allowed_ones() {
    let workspace = Workspace::new();
    workspace.task("a", "a", json!({ "run_on": ["deploy", "delete"] }));
    let error = workspace.run(&["generate"]).failed();
    let expected = "`delete` is not a change to run on: it must be one of deploy, update";
    assert!(error.contains("functions/tasks/a/src/main.rs") && error.contains(expected), "{error}");
}

#[test]
fn l02_unknown_keys_are_reported_before_anything_is_compiled() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "[build]\narch = \"arm64\"\n[tasks.migrate]\nretries = 1\n");
    let ended = workspace.run(&["generate"]);
    assert!(!ended.stderr.contains("Compiling"), "{}", ended.stderr);
    let error = ended.failed();
    assert!(error.contains("lamplighter.toml: build.arch: unknown key"), "{error}");
    assert!(error.contains("lamplighter.toml: tasks.migrate.retries: unknown key"), "{error}");
}

#[test]
fn g09_the_template_is_written_where_the_project_says_but_not_over_the_application() {
    let workspace = Workspace::new();
    workspace.task("migrate", "migrate", json!({}));
    workspace.write("lamplighter.toml", "[build]\ntemplate = \"infra/../sam/stack.yaml\"\n");
    assert!(workspace.run(&["generate"]).succeeded().contains("wrote sam/stack.yaml\n"));
    let template = workspace.read("sam/stack.yaml");
    assert!(!workspace.path(TEMPLATE).exists() && template.contains("../target/lamplighter/"), "{template}");
    for (settings, key, reason) in [
        ("template = \"../stack.yaml\"", "build.template", "is not a file below"),
        ("template = \"infra\"", "build.template", "is not a file below"),
        (
            "template = \"a.yaml\"\napplication = \"./a.yaml\"",
            "build.template",
            "is the application's template",
        ),
        ("application = \"infra/template.yaml\"", "build.template", "is the application's template"),
    ] {
        workspace.write("infra/template.yaml", "Resources: {}\n");
        workspace.write("lamplighter.toml", &format!("[build]\n{settings}\n"));
        let error = workspace.run(&["generate"]).failed();
        assert!(
            error.starts_with(&format!("error: lamplighter.toml: {key}: ")) && error.contains(reason),
            "{error}"
        );
        assert_eq!(workspace.read("infra/template.yaml"), "Resources: {}\n");
    }
    workspace.write("lamplighter.toml", "[build]\napplication = \"infra/template.yaml\"\n");
    let error = workspace.run(&["generate", "--output", "infra/template.yaml"]).stderr;
    assert!(error.contains("--output: ") && error.contains("is the application's template"), "{error}");
}

#[test]
fn undeployable_tasks_are_refused() {
    let workspace = Workspace::new();
    let often = json!({ "max_attempts": 996, "initial_ms": 1, "max_ms": 1 });
    workspace.task("mail", "mail", json!({ "kind": "queue", "retry": often }));
    workspace.task(
        "month",
        "month",
        json!({ "kind": "cron", "schedule": "0 0 13 * 5", "timezone": "UTC", "priority": "low" }),
    );
    workspace
        .write("lamplighter.toml", "[build]\nlog_retention_days = 31\napplication = \"infra/app.yaml\"\n");
    let error = workspace.run(&["generate"]).failed();
    for fault in [
        "functions/tasks/mail/src/main.rs: attempts: 996 attempts are more than SQS can deliver a message: use at most 995",
        "lamplighter.toml: build.log_retention_days: CloudWatch cannot keep logs for 31 days",
        "lamplighter.toml: build.application: cannot read `infra/app.yaml`: No such file",
    ] {
        assert!(error.contains(fault), "{fault}\n{error}");
    }
    assert!(
        workspace
            .run(&["tasks"])
            .succeeded()
            .contains("month  at 00:00 on day 13 of the month and on Fridays (UTC)")
    );
}

#[test]
fn o09_a_variable_that_lambda_reserves_is_refused() {
    let workspace = shop();
    let names = [
        "AWS_REGION",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    ];
    for name in names {
        let set = format!("[tasks.purge.environment]\n{name} = \"x\"\n");
        workspace.write("lamplighter.toml", &set);
        let error = workspace.run(&["generate"]).failed();
        let expected = format!("lamplighter.toml: tasks.purge.environment.{name}: is reserved by Lambda");
        assert!(error.contains(&expected), "{error}");
    }
    let own = "[environments.dev.tasks.purge.environment]\nLAMPLIGHTER_EPOCH = \"1\"\nTZ = \"UTC\"\n";
    workspace.write("lamplighter.toml", own);
    let error = workspace.run(&["generate"]).failed();
    let expected = "environments.dev.tasks.purge.environment.LAMPLIGHTER_EPOCH: is reserved for Lamplighter";
    assert!(error.contains(expected) && !error.contains("TZ"), "{error}");
    assert!(!workspace.path("infra").exists());
}

#[test]
fn o09_a_phase_that_takes_longer_than_cloudformation_waits_is_refused() {
    let workspace = Workspace::new();
    let after = [("a", ""), ("b", "a"), ("c", "b"), ("d", "c")];
    for (name, needs) in after {
        let needs: Vec<_> = [needs].into_iter().filter(|name| !name.is_empty()).collect();
        workspace.task(name, name, json!({ "timeout_ms": 885_000, "depends_on": needs }));
    }
    let error = workspace.run(&["generate"]).failed();
    let expected = "functions/tasks/a/src/main.rs: timeout: the tasks before the application may take 3640 s, and \
                    CloudFormation waits for at most 3600 s: a 895 s, b 895 s, c 895 s, d 895 s, one after the other";
    assert!(error.contains(expected), "{error}");
    workspace.task("d", "d", json!({ "timeout_ms": 840_000, "depends_on": ["c"] }));
    workspace.run(&["generate"]).succeeded();
}

#[test]
fn o09_more_resources_than_a_stack_takes_are_refused() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "[build]\napplication = \"infra/application.yaml\"\n");
    let topic = |i: usize| format!("  Topic{i}: {{Type: AWS::SNS::Topic}}\n");
    let topics = |count: usize| (0..count).map(topic).collect::<Vec<_>>().concat();
    let function = "  Site:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: x, Handler: h, Runtime: r}\n";
    workspace.write("infra/application.yaml", &format!("Resources:\n{}{function}", topics(490)));
    let error = workspace.run(&["generate"]).failed();
    assert!(
        error.contains("infra/template.yaml: Resources: the stack would have 513 resources, of which 491"),
        "{error}"
    );
    workspace.write("infra/application.yaml", &format!("Resources:\n{}{function}", topics(477)));
    workspace.run(&["generate"]).succeeded();
}

#[test]
fn o09_yaml_is_read_as_cloudformation_users_write_it() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "[build]\napplication = \"app/template.yaml\"\n");
    let application = "\u{feff}AWSTemplateFormatVersion: 2010-09-09\nDescription: The shop\n\
        Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\n\
        Metadata:\n  AWS::CloudFormation::Interface: {ParameterGroups: []}\n\
        Rules:\n  Two: {Assertions: [{Assert: !Equals [!Ref Version, '2']}]}\n\
        Globals:\n  Function: &p\n    Timeout: 7\n    Environment: {Variables: {STAGE: yes}}\n\
        Resources:\n\
        \x20 Site:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: src/, Handler: h, Runtime: python3.12}\n\
        \x20 Topic:\n    Type: AWS::SNS::Topic\n    Properties: {<<: {DisplayName: &n 0123, FifoTopic: no}, TopicName: *n}\n";
    workspace.write("app/template.yaml", &application.replace('\n', "\r\n"));
    workspace.run(&["generate"]).succeeded();
    let template = workspace.read(TEMPLATE);
    for expected in [
        "Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\nDescription: \"The shop\"\n",
        "\nMetadata:\n  AWS::CloudFormation::Interface:\n    ParameterGroups: []\n",
        "\nRules:\n  Two:\n    Assertions:\n      - Assert:\n          Fn::Equals:\n            - Ref: Version\n",
        "  Topic:\n    Type: AWS::SNS::Topic\n    Properties:\n      DisplayName: 0123\n      FifoTopic: no\n      \
         TopicName: 0123\n",
        "  Site:\n    Type: AWS::Serverless::Function\n    DependsOn: LamplighterBefore\n    Properties:\n      \
         Timeout: 7\n      Environment:\n        Variables:\n          STAGE: yes\n      CodeUri: ../app/src/\n",
    ] {
        assert!(template.contains(expected), "{expected}\n{template}");
    }
    assert!(!template.contains("<<") && !template.contains("Globals"), "{template}");
    assert_eq!(template.matches("Timeout: 7\n").count(), 1, "ours have none of it");

    workspace.write("app/template.yaml", "Resources:\r\n  A:\r\n    Type: !Foo x\r\n");
    let error = workspace.run(&["generate"]).failed();
    assert!(error.contains("app/template.yaml: line 3: unknown tag `!Foo`"), "{error}");
    assert_eq!(workspace.read(TEMPLATE), template, "nothing is written");
}

#[test]
fn l11_assets_that_cannot_be_packaged_are_reported() {
    let workspace = Workspace::new();
    let assets = json!([{ "from": "missing", "to": "missing" }, { "from": "files", "to": "files" }]);
    workspace.task("a", "a", json!({ "copy_assets": assets }));
    workspace.write("functions/tasks/a/files/one", "1");
    symlink("../../../../Cargo.toml", workspace.path("functions/tasks/a/files/link")).unwrap();
    for command in [&["generate"][..], &["build", "--dev"]] {
        let error = workspace.run(command).failed();
        assert!(
            error.contains("functions/tasks/a/src/main.rs: copy_assets: `missing` is missing"),
            "{error}"
        );
        assert!(
            error.contains("copy_assets: `files`: the link ") && error.contains("points outside"),
            "{error}"
        );
    }
    assert!(!workspace.path("infra").exists() && !workspace.path("target/lamplighter").exists());
}

#[test]
fn l11_an_asset_outside_the_package_is_named() {
    let workspace = Workspace::new();
    workspace.task("a", "a", json!({ "copy_assets": [{ "from": "x", "to": "../x" }] }));
    let error = workspace.run(&["generate"]).failed();
    assert!(
        error.contains("functions/tasks/a/src/main.rs") && error.contains("asset to `../x` leads out"),
        "{error}"
    );
}

#[test]
fn the_application_is_merged_and_depends_on_the_tasks_before_it() {
    let workspace = shop();
    workspace.write("lamplighter.toml", "[build]\napplication = \"infra/application.yaml\"\n");
    workspace.write(
        "infra/application.yaml",
        "Resources:\n  SiteFunction:\n    Type: AWS::Serverless::Function\n    Properties:\n      Role: !GetAtt A.Arn\n",
    );
    workspace.run(&["generate"]).succeeded();
    let site = "  SiteFunction:\n    Type: AWS::Serverless::Function\n    DependsOn: LamplighterBefore\n    \
                Properties:\n      Role:\n        Fn::GetAtt: [A, Arn]\n";
    let template = workspace.read(TEMPLATE);
    assert!(template.contains(site), "{template}");
}
