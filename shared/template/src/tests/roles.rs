//! G03, G07, Q11, Q12: the permissions and names of roles.

use lamplighter_project::{Project, config::Config, functions::reachable_queues};
use serde_yaml_ng::Value;

use super::{read, template};
use crate::{Destination, fixtures, render, render_to};

#[test]
fn g03_no_role_has_all_actions_or_all_resources() {
    let template = read(&template());
    let roles =
        template["Resources"].as_mapping().unwrap().iter().filter(|(_, r)| r["Type"] == "AWS::IAM::Role");
    let mut statements = 0;
    for (id, role) in roles.filter(|(id, _)| *id != "SiteRole") {
        for statement in
            role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].as_sequence().unwrap()
        {
            statements += 1;
            let actions: Vec<_> =
                statement["Action"].as_sequence().unwrap().iter().filter_map(Value::as_str).collect();
            assert!(
                !actions.is_empty() && actions.iter().all(|action| !action.contains('*')),
                "{id:?} {actions:?}"
            );
            for resource in statement["Resource"].as_sequence().unwrap() {
                assert_ne!(resource, "*", "{id:?} {actions:?}");
            }
        }
    }
    assert!(statements > 10);
}

#[test]
fn g03_a_role_has_the_statements_of_its_task_and_of_no_other() {
    let template = read(&template());
    let statements = |role: &str| {
        let statements =
            &template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"];
        serde_yaml_ng::to_string(statements).unwrap()
    };
    assert!(statements("ProcessAssetsRole").contains("${LamplighterBucket.Arn}/public/*"));
    let seed = statements("SeedDataRole");
    assert_eq!((seed.matches("s3:").count(), seed.matches("LamplighterBucket").count()), (1, 1), "{seed}");
    assert!(seed.contains("${LamplighterBucket.Arn}/runs/seed-data/*"), "its own large values: {seed}");
    for role in ["LamplighterDispatcherRole", "LamplighterFallbackRole"] {
        assert!(!statements(role).contains("s3:"), "{role} needs none of the values");
    }
    // The result of one job may be an argument of the next one.
    let pulse = statements("LamplighterPulseRole");
    assert!(pulse.contains("/runs/send-receipt/*") && !pulse.contains("/runs/seed-data/*"), "{pulse}");
    let dispatcher = statements("LamplighterDispatcherRole");
    for name in ["run-migrations", "seed-data", "process-assets", "warm-cache"] {
        assert!(dispatcher.contains(&format!(":function:${{AWS::StackName}}-{name}")), "{name}");
    }
    assert!(!dispatcher.contains("purge-expired"), "it is not a lifecycle task");
    let schedule = statements("PurgeExpiredScheduleRole");
    assert!(schedule.contains("PurgeExpiredFunction") && schedule.matches("lambda:").count() == 1);
}

#[test]
fn q11_only_functions_of_queue_tasks_may_send_messages_in_a_loop() {
    let template = read(&template());
    for (id, resource) in template["Resources"].as_mapping().unwrap() {
        if resource["Type"] != "AWS::Serverless::Function" {
            continue;
        }
        // Their messages may lead back to them: a job wakes or enqueues others.
        let is_of_queue = ["SendReceiptFunction", "WriteInvoiceFunction"].contains(&id.as_str().unwrap());
        let wanted = if is_of_queue { Value::from("Allow") } else { Value::Null };
        assert_eq!(resource["Properties"]["RecursiveLoop"], wanted, "{id:?}");
    }
}

#[test]
fn g03_only_functions_that_enqueue_may_send_messages() {
    let template = read(&template());
    let resources = template["Resources"].as_mapping().unwrap();
    let may_send = |of: &Value| serde_yaml_ng::to_string(of).unwrap().contains("sqs:SendMessage");
    let senders = resources.iter().filter(|(_, resource)| may_send(resource));
    let senders: Vec<_> = senders.map(|(id, _)| id.as_str().unwrap()).collect();
    // A schedule's role may send failed ticks to its dead-letter queue, and a job may wake a follower of its own task.
    let wanted = [
        "PurgeExpiredScheduleRole",
        "SendReceiptRole",
        "WriteInvoiceRole",
        "LamplighterPulseRole",
        "SiteFunctionEnqueues",
    ];
    assert_eq!(senders, wanted);
    let role = |id: &str| serde_yaml_ng::to_string(&resources[id]["Properties"]["Policies"]).unwrap();
    assert!(role("SendReceiptRole").contains("RUNS#write-invoice#*"));
    assert!(!role("WriteInvoiceRole").contains("send-receipt"), "no function enqueues for both");
    let site = &resources["SiteFunctionEnqueues"]["Properties"];
    assert_eq!(site["Roles"][0]["Ref"], "SiteRole");
    let statements = serde_yaml_ng::to_string(&site["PolicyDocument"]).unwrap();
    assert!(statements.contains("RUNS#send-receipt#*") && !statements.contains("write-invoice"));
    let variables = &resources["SiteFunction"]["Properties"]["Environment"]["Variables"];
    assert!(!variables["LAMPLIGHTER_QUEUES"].is_null() && !variables["VERSION"].is_null());
}

#[test]
fn q12_a_job_may_wake_its_possible_followers() {
    let mut project = fixtures::shop();
    let both = ["send-receipt", "write-invoice"].map(|name| name.parse().unwrap()).to_vec();
    project.functions.insert("SiteFunction".to_owned(), both);
    let invoice = project.tasks.iter().find(|task| task.name().as_str() == "write-invoice").unwrap();
    assert_eq!(reachable_queues(&project, invoice), ["send-receipt".parse().unwrap()]);
    let purge = project.tasks.iter().find(|task| task.name().as_str() == "purge-expired").unwrap();
    assert_eq!(reachable_queues(&project, purge), []);
}

#[test]
fn g07_the_name_of_a_role_is_unique_and_not_too_long() {
    let faults = |config: &str| {
        let config = Config::parse(config).unwrap();
        let project = Project::resolve("shop", fixtures::tasks(), &config, None).unwrap();
        render(&project, Some(&fixtures::application())).map(drop).map_err(|faults| faults.to_string())
    };
    let role = |task: &str, name: &str| format!("[tasks.{task}.role]\nRoleName = \"{name}\"\n");
    assert_eq!(faults(&(role("seed-data", "${AWS::StackName}-a") + &role("warm-cache", "b"))), Ok(()));
    let same = faults(&(role("seed-data", "a") + &role("warm-cache", "a"))).unwrap_err();
    let expected = "infra/template.yaml: Resources.WarmCacheRole.Properties.RoleName: the role of `SeedDataRole` has the \
                    same name: use another name";
    assert_eq!(same, expected);
    let config = Config::parse(&(role("seed-data", "a") + &role("warm-cache", "a"))).unwrap();
    let project = Project::resolve("shop", fixtures::tasks(), &config, None).unwrap();
    let destination = Destination { file: "infra/prod.yaml".to_owned(), ..Default::default() };
    let elsewhere = render_to(&destination, &project, None).unwrap_err().to_string();
    assert!(elsewhere.starts_with("infra/prod.yaml: Resources.WarmCacheRole"), "{elsewhere}");
    let long = faults(&role("seed-data", &"x".repeat(65))).unwrap_err();
    assert!(
        long.contains("Resources.SeedDataRole.Properties.RoleName: is longer than the 64 characters"),
        "{long}"
    );
}
