//! The whole template of a fixed project.

mod roles;

use lamplighter_core::definition::Kind;
use lamplighter_project::{Project, config::Config};
use proptest::prelude::*;
use serde_json::json;
use serde_yaml_ng::Value;

use super::{fixtures, render};

fn template() -> String {
    render(&fixtures::shop(), Some(&fixtures::application())).unwrap()
}

fn read(template: &str) -> Value {
    serde_yaml_ng::from_str(template).unwrap()
}

#[test]
fn g01_the_template_is_always_the_same() {
    insta::assert_snapshot!("template", template());
    assert_eq!(template(), template());
}

#[test]
fn g01_a_new_task_appears_and_a_removed_one_goes() {
    let mut project = fixtures::shop();
    project.tasks.retain(|task| task.name().as_str() != "seed-data");
    let fewer = render(&project, Some(&fixtures::application())).unwrap();
    assert!(!fewer.contains("SeedData") && !fewer.contains("seed-data"));
    assert!(template().contains("SeedDataFunction:"));
}

#[test]
fn g01_side_tasks_are_not_in_the_template() {
    assert!(fixtures::shop().tasks.iter().any(|task| matches!(task.definition.kind, Kind::Side(_))));
    assert!(!template().contains("stream"));
}

#[test]
fn g04_each_cron_task_has_its_own_schedule() {
    let schedule = &read(&template())["Resources"]["PurgeExpiredSchedule"]["Properties"];
    assert_eq!(schedule["ScheduleExpression"], "cron(0/5 * * * ? *)");
    assert_eq!(schedule["ScheduleExpressionTimezone"], "Europe/Berlin");
    assert_eq!(schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"], 300);
}

#[test]
fn g04_schedules_beyond_eventbridge_go_to_the_pulse() {
    let described = |keys| {
        let tasks = vec![fixtures::described("close-month", keys)];
        let project = Project::resolve("shop", tasks, &Config::default(), None).unwrap();
        project.undeployable(jiff::Timestamp::now()).none_or(project).unwrap()
    };
    let cron = json!({ "kind": "cron", "schedule": "0 0 LW * *", "timezone": "UTC", "priority": "low" });
    let mut waits = cron.clone();
    (waits["schedule"], waits["catch_up"]) = (json!("0 0 * * *"), json!("all within 1h"));
    for keys in [cron, waits] {
        let project = described(keys);
        let text = render(&project, None).unwrap();
        let resources = &read(&text)["Resources"];
        assert!(resources["CloseMonthSchedule"].is_null(), "{text}");
        let pulse = &resources["LamplighterPulseSchedule"]["Properties"];
        assert_eq!(pulse["ScheduleExpression"], "rate(1 minute)");
        assert!(text.contains(":function:${AWS::StackName}-close-month"), "{text}");
        assert_eq!(project.plan().tasks()[0].driver, lamplighter_core::pulse::Driver::Pulse);
    }
}

#[test]
fn q15_a_queue_delivers_batches_and_redelivers_failed_messages() {
    let template = read(&template());
    let of = |id: &str| template["Resources"][id]["Properties"].clone();
    let mapping = of("SendReceiptQueueMapping");
    assert_eq!(mapping["BatchSize"], 10);
    assert_eq!(mapping["FunctionResponseTypes"][0], "ReportBatchItemFailures");
    assert_eq!(mapping["ScalingConfig"]["MaximumConcurrency"], 8);
    // Ten runs of 20 s, one after the other.
    assert_eq!(of("SendReceiptFunction")["Timeout"], 210);
    assert_eq!(of("SendReceiptQueue")["VisibilityTimeout"], 6 * 210);
    assert_eq!(of("SendReceiptQueue")["RedrivePolicy"]["maxReceiveCount"], 3 + 5);
    assert_eq!(of("SendReceiptDeadLetters")["RedriveAllowPolicy"]["redrivePermission"], "byQueue");

    // A mapping cannot be bounded to one invocation; a function can.
    assert_eq!(of("WriteInvoiceFunction")["ReservedConcurrentExecutions"], 1);
    assert_eq!(of("WriteInvoiceQueueMapping")["ScalingConfig"]["MaximumConcurrency"], 2);
    assert_eq!(of("WriteInvoiceQueueMapping")["BatchSize"], 1);
    assert!(of("SendReceiptFunction")["ReservedConcurrentExecutions"].is_null());
}

#[test]
fn q02_arguments_live_as_long_as_their_job_may_run_or_be_replayed() {
    let rules = |project: &Project| {
        let template = read(&render(project, Some(&fixtures::application())).unwrap());
        template["Resources"]["LamplighterBucket"]["Properties"]["LifecycleConfiguration"]["Rules"].clone()
    };
    let mut project = fixtures::shop();
    let rule = rules(&project)[2].clone();
    // A year ahead, 14 days in the queue, 14 among the dead letters, 30 for the record, and DynamoDB's three.
    assert_eq!((&rule["Prefix"], &rule["ExpirationInDays"]), (&"jobs/".into(), &(366 + 14 + 14 + 33).into()));
    project.tasks.retain(|task| task.definition.queue().is_none());
    project.functions.clear();
    assert!(rules(&project)[2].is_null(), "there are no jobs");
}

#[test]
fn a_value_that_sqs_does_not_support_is_reported_with_its_key() {
    let faults = |tasks: Vec<_>, config: &str| {
        let config = Config::parse(config).unwrap();
        match Project::resolve("shop", tasks, &config, None) {
            Ok(project) => {
                let faults = project.undeployable(jiff::Timestamp::now());
                match render(&project, Some(&fixtures::application())) {
                    Ok(_) => faults.to_string(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        }
    };
    let queue = |name: &str, keys: Value| {
        let mut all = json!({ "kind": "queue" });
        let keys: serde_json::Map<String, serde_json::Value> = serde_yaml_ng::from_value(keys).unwrap();
        all.as_object_mut().unwrap().extend(keys);
        fixtures::described(name, all)
    };
    let plain = |name: &str| queue(name, Value::Mapping(serde_yaml_ng::Mapping::new()));
    let text = faults(vec![plain("a"), plain("a-dead"), plain("undelivered-ticks")], "");
    assert!(
        text.contains("a-dead/src/lib.rs: name: `a-dead` is the name of the dead-letter queue of `a`"),
        "{text}"
    );
    assert!(
        text.contains("name: `undelivered-ticks` is the name of the queue of undelivered ticks"),
        "{text}"
    );
    let attempts = "[tasks.a]\nattempts = 996";
    assert!(
        faults(vec![plain("a")], attempts).contains("996 attempts are more than SQS can deliver a message")
    );
    let unknown: Value = serde_yaml_ng::from_str("enqueues: [b, c]").unwrap();
    let text = faults(vec![queue("a", unknown), plain("b")], "");
    assert!(
        text.contains("a/src/lib.rs: enqueues: there is no queue task `c`: the queue tasks are a, b"),
        "{text}"
    );
    let text = faults(vec![plain("a")], "[functions.SiteFunction]\nenqueues = [\"b\"]");
    assert!(
        text.contains("lamplighter.toml: functions.SiteFunction.enqueues[0]: there is no queue task `b`"),
        "{text}"
    );
    let text = faults(vec![plain("a")], "[functions.Site]\nenqueues = [\"a\"]");
    assert!(text.contains("lamplighter.toml: functions.Site: there is no function `Site`"), "{text}");
}

#[test]
fn g06_a_function_has_its_memory_timeout_log_retention_and_architecture() {
    let template = read(&template());
    let function = &template["Resources"]["WarmCacheFunction"]["Properties"];
    assert_eq!(function["MemorySize"], 512);
    assert_eq!(function["Timeout"], 70);
    assert_eq!(function["Architectures"][0], "arm64");
    assert_eq!(
        template["Resources"]["PurgeExpiredFunction"]["Properties"]["Timeout"], 12,
        "1.5 s, rounded up"
    );
    assert_eq!(template["Resources"]["WarmCacheLogGroup"]["Properties"]["RetentionInDays"], 14);
}

/// The shop with properties of functions and roles.
fn connected() -> Project {
    let config = format!(
        r#"
        [function]
        Tracing = "Active"
        KmsKeyArn = {{ Ref = "KeyArn" }}
        Layers = [{{ Ref = "Layer" }}, "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:1:layer:l:1"]
        Tags = {{ Team = "shop" }}
        [role]
        Path = "/shop/"
        PermissionsBoundary = "arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:policy/boundary"
        Tags.Team = "shop"
        [tasks.purge-expired.function]
        VpcConfig = {{ SubnetIds = {{ "Fn::Split" = [",", {{ Ref = "Subnets" }}] }}, SecurityGroupIds = ["sg-1"] }}
        [tasks.purge-expired.role]
        ManagedPolicyArns = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
        {}"#,
        fixtures::CONFIG
    );
    Project::resolve("shop", fixtures::tasks(), &Config::parse(&config).unwrap(), None).unwrap()
}

#[test]
fn g07_properties_are_in_the_template_with_the_permissions_that_they_need() {
    let text = render(&connected(), Some(&fixtures::application())).unwrap();
    let resources = &read(&text)["Resources"];
    let part = |id: &str| serde_yaml_ng::to_string(&resources[id]["Properties"]).unwrap();
    insta::assert_snapshot!("connected", part("PurgeExpiredFunction") + &part("PurgeExpiredRole"));
    let of_type = |kind: &'static str| {
        let all = resources.as_mapping().unwrap().iter();
        all.filter(move |(id, resource)| {
            resource["Type"] == kind && !id.as_str().unwrap().starts_with("Site")
        })
    };
    for (id, role) in of_type("AWS::IAM::Role") {
        let properties = &role["Properties"];
        assert_eq!(
            (&properties["Path"], &properties["Tags"][0]["Value"]),
            (&"/shop/".into(), &"shop".into()),
            "{id:?}"
        );
        assert!(!properties["PermissionsBoundary"]["Fn::Sub"].is_null(), "{id:?}");
        let statements = serde_yaml_ng::to_string(&properties["Policies"]).unwrap();
        let (has_network, is_function) =
            (id.as_str() == Some("PurgeExpiredRole"), !id.as_str().unwrap().ends_with("ScheduleRole"));
        for (action, is_allowed) in
            [("ec2:", has_network), ("xray:PutTraceSegments", is_function), ("kms:Decrypt", is_function)]
        {
            assert_eq!(statements.contains(action), is_allowed, "{id:?}: {action}");
        }
    }
    for (id, function) in of_type("AWS::Serverless::Function") {
        let properties = &function["Properties"];
        assert_eq!(
            (&properties["Tracing"], &properties["KmsKeyArn"]["Ref"]),
            (&"Active".into(), &"KeyArn".into())
        );
        let of_task = !id.as_str().unwrap().starts_with("Lamplighter");
        assert_eq!(!properties["Layers"].is_null(), of_task, "{id:?}");
        let skipped = serde_yaml_ng::to_string(&function["Metadata"]).unwrap();
        assert!(!skipped.contains("CKV_AWS_173"), "the key is the user's own: {skipped}");
        assert_eq!(skipped.contains("CKV_AWS_117"), id != "PurgeExpiredFunction", "{skipped}");
    }
}

#[test]
fn l24_the_application_waits_for_the_tasks_before_it_and_those_after_wait_for_the_application() {
    let template = read(&template());
    assert_eq!(template["Resources"]["SiteFunction"]["DependsOn"], "LamplighterBefore");
    assert_eq!(template["Resources"]["PurgeExpiredFunction"]["DependsOn"], "LamplighterBefore");
    let after = template["Resources"]["LamplighterAfter"]["DependsOn"].as_sequence().unwrap();
    assert!(after.contains(&"SiteFunction".into()) && after.contains(&"LamplighterBefore".into()));
}

#[test]
fn without_lifecycle_tasks_there_is_no_dispatcher() {
    let mut project = fixtures::shop();
    project.tasks.retain(|task| task.definition.cron().is_some());
    let template = render(&project, Some(&fixtures::application())).unwrap();
    assert!(!template.contains("Dispatcher") && !template.contains("LamplighterBefore"));
}

#[test]
fn l02_a_name_that_is_defined_twice_is_reported() {
    let text =
        "Parameters: {Version: {Type: String}}\nResources: {SeedDataFunction: {Type: 'AWS::SNS::Topic'}}";
    let application = super::Application::parse("infra/application.yaml", text).unwrap();
    let faults = render(&fixtures::shop(), Some(&application)).unwrap_err().to_string();
    assert!(
        faults.contains("infra/application.yaml: line 2: Resources.SeedDataFunction: is defined twice"),
        "{faults}"
    );
    let both = "infra/application.yaml: line 1: Parameters.Version: is defined twice: Lamplighter has an entry of its own \
                under this name (\"What is deployed. Another version runs the tasks again.\"): use `!Ref Version` for its \
                value, or another name";
    assert!(faults.contains(both), "{faults}");
}

#[test]
fn p04_the_bucket_keeps_the_values_of_runs_as_long_as_any_record() {
    let rules = |project: &Project| {
        let template = read(&render(project, Some(&fixtures::application())).unwrap());
        template["Resources"]["LamplighterBucket"]["Properties"]["LifecycleConfiguration"]["Rules"].clone()
    };
    let mut project = fixtures::shop();
    let expiry = &rules(&project)[1];
    assert_eq!((&expiry["Prefix"], &expiry["ExpirationInDays"]), (&Value::from("runs/"), &Value::from(33)));
    project.tasks[0].definition.retention = std::time::Duration::from_secs(90 * 24 * 3600 + 1);
    assert_eq!(rules(&project)[1]["ExpirationInDays"], 94);
    assert!(rules(&project)[0]["ExpirationInDays"].is_null(), "objects of tasks do not expire");
}

#[test]
fn o09_a_name_that_sam_or_aws_would_use_twice_is_reported() {
    let faults = |resources: &str| {
        let text = format!("Resources:\n{resources}");
        let application = super::Application::parse("infra/application.yaml", &text).unwrap();
        let mut project = fixtures::shop();
        project.functions.clear();
        render(&project, Some(&application)).map(drop).map_err(|faults| faults.to_string())
    };
    for (resources, expected) in [
        (
            "  SeedData: {Type: AWS::Serverless::Function, Properties: {Handler: h}}",
            "Resources.SeedDataRole: is defined twice",
        ),
        (
            "  PurgeExpiredFunctionEventInvokeConfig: {Type: AWS::SNS::Topic}",
            "line 2: Resources.PurgeExpiredFunctionEventInvokeConfig: is defined twice",
        ),
        (
            "  Own: {Type: AWS::Lambda::Function, Properties: {FunctionName: !Sub '${AWS::StackName}-seed-data'}}",
            "line 2: Resources.Own.Properties.FunctionName: the function of `SeedDataFunction` has the same name",
        ),
        (
            "  Own:\n    Type: AWS::SQS::Queue\n    Properties:\n      \
             QueueName: !Join ['-', [!Ref AWS::StackName, send-receipt, dead]]",
            "line 2: Resources.Own.Properties.QueueName: the queue of `SendReceiptDeadLetters` has the same name",
        ),
        (
            "  Own: {Type: AWS::IAM::Role, Properties: {RoleName: !Sub '${AWS::StackName}\
             -0123456789012345678901234567890123456789012345678901234567890123'}}",
            "line 2: Resources.Own.Properties.RoleName: is longer than the 64 characters",
        ),
        (
            "  Own: {Type: AWS::SNS::Topic}\nOutputs:\n  A: {Value: a, Export: {Name: !Sub '${AWS::StackName}-a'}}\n  \
             B: {Value: b, Export: {Name: !Join ['-', [!Ref AWS::StackName, a]]}}",
            "line 5: Outputs.B.Export.Name: `A` is exported under the same name",
        ),
        (
            "  SeedData: {Type: AWS::SNS::Topic}\nConditions: {OnAws: !Equals [a, b]}\nOutputs:\n  \
             LamplighterTableName: {Value: x}",
            "line 3: Conditions.OnAws: is defined twice",
        ),
    ] {
        let message = faults(resources).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let fine = "  Own: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${AWS::StackName}-seed-data'}}\n  \
                Site: {Type: AWS::Serverless::Function, Properties: {Role: !Ref Own, FunctionName: !Ref Own}}";
    assert_eq!(faults(fine), Ok(()));
}

/// Values as they may stand in a template, without what is a function call by its key.
fn values() -> impl Strategy<Value = Value> {
    let scalars = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "[-+.0-9a-fxo_:]{1,6}".prop_map(|word| super::scalars::plain(&word)),
        "(yes|No|on|off|y|NULL|~|true|2010-09-09|1e3|0x1F|\\.inf)"
            .prop_map(|word| super::scalars::plain(&word)),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    scalars.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[A-Za-z0-9 :.\"-]{1,8}", inner), 0..5).prop_map(
                |entries| Value::Mapping(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
            ),
        ]
    })
}

proptest! {
    #[test]
    fn o09_an_application_survives(properties in values(), metadata in values(), crlf: bool) {
        let mut text = "Metadata:\n".to_owned();
        super::yaml::entry(&mut text, "Own", &metadata, 2);
        text.push_str("Resources:\n  Own:\n    Type: AWS::SNS::Topic\n");
        super::yaml::entry(&mut text, "Properties", &properties, 4);
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let parse = |text: &str| super::Application::parse("infra/application.yaml", text);
        let application = parse(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let found = |own: &super::Application, section: &str| {
            own.section(section).find(|(name, _)| name == "Own").map(|(_, value)| value.clone()).unwrap()
        };
        prop_assert_eq!(&found(&application, "Metadata"), &metadata);
        prop_assert_eq!(&found(&application, "Resources")["Properties"], &properties);
        let mut project = fixtures::shop();
        project.functions.clear();
        let generated = parse(&render(&project, Some(&application)).unwrap()).unwrap();
        for section in ["Metadata", "Resources"] {
            prop_assert_eq!(found(&generated, section), found(&application, section));
        }
    }
}
