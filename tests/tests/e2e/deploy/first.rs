//! Stacks whose first deployment fails, on PostgreSQL.

use database::testing::Postgres;
use serde_json::json;

use super::pages::version;
use super::version::Version;
use super::world::{World, statuses};

const BEFORE: &str = "LamplighterBefore";
const BEFORE_THE_APPLICATION: [&str; 3] = ["process-assets", "run-migrations", "seed-data"];

#[tokio::test(flavor = "multi_thread")]
async fn l07_after_a_failed_first_deployment_the_next_one_is_the_first() {
    let world = tokio::task::spawn_blocking(World::shared).await.unwrap();
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let broken = || {
        let sql = "CREATE TABLE orders (id integer,, total integer);";
        Version::new(&postgres.url()).with_migration("V3__add_orders", sql)
    };

    // L13, L16: the stack is rolled back, and its events have the reasons.
    let rolled_back = world.stack("first");
    let (deployed, status) = rolled_back.deploy(&broken(), "1").await;
    deployed.expect_failure("sam deploy of a version whose migration fails");
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let reason = rolled_back.reason(BEFORE, "CREATE_FAILED").await;
    for expected in [
        "run-migrations FAILED (run ",
        "V3__add_orders failed",
        "syntax error",
        "seed-data BLOCKED (run ",
        "`run-migrations`, which it depends on, did not complete",
    ] {
        assert!(reason.contains(expected), "no `{expected}` in: {reason}");
    }

    // L06: deletes the failed resource, as CloudFormation does and the emulator does not.
    let stack = world.stack("again");
    let (deployed, status) = stack.deploy_or_stop(&broken(), "1").await;
    deployed.expect_failure("sam deploy of a version whose migration fails");
    assert_eq!(status, "CREATE_FAILED");
    assert_eq!(statuses(&stack.runs("run-migrations").await), ["FAILED"]);
    let blocked = stack.runs("seed-data").await;
    assert_eq!(statuses(&blocked), ["BLOCKED"]);
    assert_eq!(blocked[0]["error"]["kind"], "dependency");
    assert!(stack.runs("warm-cache").await.is_empty());
    let entry = stack.deployments(BEFORE).await.pop().unwrap();
    let answer: serde_json::Value = serde_json::from_str(entry["answer"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(answer["Status"], "FAILED");
    let delete = json!({
        "RequestType": "Delete",
        "RequestId": "by-hand",
        "ResponseURL": format!("{}/_ministack/cfn-response/by-hand", world.endpoint()),
        "StackId": answer["StackId"],
        "LogicalResourceId": BEFORE,
        "PhysicalResourceId": answer["PhysicalResourceId"],
        "ResourceType": "Custom::LamplighterTasks",
        "ResourceProperties": { "Version": "1" },
    });
    let deleted = world.aws.invoke(&stack.dispatcher(), &delete).await;
    assert_eq!((deleted.function_error, deleted.payload), (None, json!("Answered")));
    for task in BEFORE_THE_APPLICATION {
        assert_eq!(stack.runs(task).await.len(), 1, "{task}");
    }

    // L07: no version was ever live, so the second deployment is the first.
    let (deployed, status) = stack.deploy(&Version::new(&postgres.url()), "2").await;
    assert!(deployed.success, "{status}: {:#?}", stack.events().await);
    for task in ["run-migrations", "seed-data", "warm-cache"] {
        let runs = stack.runs(task).await;
        let run = runs.last().unwrap();
        assert_eq!((&run["status"], &run["trigger"]), (&json!("COMPLETED"), &json!("deploy")), "{run:#}");
        let deployment = &run["deployment"];
        assert_eq!(
            (&deployment["version"], &deployment["is_first_deploy"]),
            (&json!("2"), &json!(true)),
            "{run:#}"
        );
        assert!(deployment["previous_version"].is_null(), "{run:#}");
    }
    assert_eq!(version(&world.aws, &stack.function("site")).await, "2");

    // L23: the password is in no item and no event.
    let texts = format!("{:?} {:?}", stack.items().await, stack.events().await);
    assert!(!texts.contains("app:secret@"), "{texts}");
}
