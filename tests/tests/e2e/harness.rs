//! The test support itself. If this fails, other failures may not be the framework's.

use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use lamplighter_e2e::{Aws, Emulator, OnFailure, Sam, cfn_lint, repository, sam_validate, wait_until};
use serde_json::json;

#[tokio::test]
async fn a_stack_is_deployed_read_and_deleted_without_a_process_left() {
    let template = repository().join("tests/fixtures/harness/template.yaml");
    sam_validate(&template).expect_success("sam validate --lint");
    cfn_lint(&template).expect_success("cfn-lint");

    let emulator = Emulator::start();
    let sam = Sam::new(&emulator.endpoint());
    let aws = Aws::new(&emulator.endpoint());
    assert_eq!(aws.stack_status("harness").await, None);

    sam.deploy(&template, "harness", &[("Version", "7")], OnFailure::RollBack).expect_success("sam deploy");
    assert_eq!(aws.stack_status("harness").await.as_deref(), Some("CREATE_COMPLETE"));
    let events = aws.stack_events("harness").await;
    assert_eq!(events[0].logical_id, "harness");
    assert!(events.iter().any(|event| event.logical_id == "Echo" && event.status == "CREATE_COMPLETE"));

    let outputs = aws.stack_outputs("harness").await;
    let echo = &outputs["Echo"];
    assert!(aws.logs(echo).await.is_empty());
    let answer = aws.invoke(echo, &json!({ "n": 1 })).await;
    assert_eq!(answer.function_error, None);
    assert_eq!(answer.payload, json!({ "version": "7", "event": { "n": 1 } }));
    let failed = aws.invoke(echo, &json!({ "exit": true })).await;
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    assert!(aws.logs(echo).await.iter().any(|message| message.contains(r#"event {"n": 1}"#)));

    let (status, body) = aws.get(&outputs["EchoUrl"], "/hello?deep=1").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""version": "7""#) && body.contains("/hello"), "{body}");

    let put = aws.dynamodb.put_item().table_name(&outputs["Table"]);
    let put = put.item("pk", AttributeValue::S("a".into())).item("n", AttributeValue::N("1.5".into()));
    put.send().await.expect("an item can be put");
    assert_eq!(aws.scan(&outputs["Table"]).await, [json!({ "pk": "a", "n": 1.5 })]);

    sam.delete("harness").expect_success("sam delete");
    assert_eq!(aws.stack_status("harness").await, None);

    let folder = emulator.log_file().parent().expect("the log file is in a folder").to_owned();
    let folder = folder.to_string_lossy();
    assert_ne!(processes(&folder), 0);
    drop(emulator);
    wait_until("its processes are gone", || processes(&folder) == 0);
}

/// The number of processes with the folder in their environment: the emulator and each function.
fn processes(folder: &str) -> usize {
    let listing = Command::new("ps").args(["axe", "-o", "command"]).output().expect("ps can be run");
    String::from_utf8_lossy(&listing.stdout).lines().filter(|line| line.contains(folder)).count()
}
