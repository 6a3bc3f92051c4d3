//! Tests of `DescribeStacks` with the SDK.

use aws_sdk_cloudformation::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata as _,
    types::StackStatus,
};
use lamplighter_local::Stacks;

fn client(endpoint: String) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

#[tokio::test]
async fn a_stack_has_the_status_that_was_set() {
    let stacks = Stacks::serve().await.unwrap();
    let client = client(stacks.endpoint());
    let id = "arn:aws:cloudformation:us-east-1:000000000000:stack/site/6f1c";
    stacks.set(id, "site", "UPDATE_IN_PROGRESS");
    stacks.set(id, "site", "UPDATE_ROLLBACK_IN_PROGRESS");
    stacks.set("arn:other", "a<&>b", "CREATE_COMPLETE");
    for name in [id, "site"] {
        let answer = client.describe_stacks().stack_name(name).send().await.unwrap();
        let [stack] = answer.stacks() else { panic!("{answer:?}") };
        assert_eq!(stack.stack_id(), Some(id));
        assert_eq!(stack.stack_status(), Some(&StackStatus::UpdateRollbackInProgress));
        assert!(stack.creation_time().is_some());
    }
    let all = client.describe_stacks().send().await.unwrap();
    let names: Vec<_> = all.stacks().iter().filter_map(|stack| stack.stack_name()).collect();
    assert_eq!(names, ["site", "a<&>b"]);
}

#[tokio::test]
async fn an_unknown_stack_is_a_validation_error() {
    let stacks = Stacks::serve().await.unwrap();
    let error = client(stacks.endpoint()).describe_stacks().stack_name("gone").send().await.unwrap_err();
    let error = error.into_service_error();
    assert_eq!(error.code(), Some("ValidationError"));
    assert_eq!(error.message(), Some("Stack with id gone does not exist"));
}
