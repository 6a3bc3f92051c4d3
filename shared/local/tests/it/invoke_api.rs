//! Tests of the Invoke API with the SDK.

use std::time::Duration;

use aws_sdk_lambda::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig, retry::RetryConfig},
    error::ProvideErrorMetadata as _,
    operation::invoke::InvokeError,
    primitives::Blob,
    types::InvocationType,
};
use serde_json::{Value, json};

use crate::probe::{host_with, probe};

fn client(endpoint: String) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

#[tokio::test]
async fn a_synchronous_call_returns_the_payload_or_the_function_error() {
    let (host, _) = host_with([probe("f")]).await;
    let client = client(host.endpoint());
    for name in ["f", "arn:aws:lambda:us-east-1:000000000000:function:f"] {
        let answer =
            client.invoke().function_name(name).payload(Blob::new("{\"a\":1}")).send().await.unwrap();
        assert_eq!((answer.status_code(), answer.function_error()), (200, None));
        assert_eq!(answer.executed_version(), Some("$LATEST"));
        let payload: Value = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
        assert_eq!(payload["payload"], json!({ "a": 1 }));
    }
    let event = Blob::new(r#"{"op":"exit","code":1}"#);
    let answer = client.invoke().function_name("f").payload(event).send().await.unwrap();
    assert_eq!((answer.status_code(), answer.function_error()), (200, Some("Unhandled")));
    let payload: Value = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    assert_eq!(payload["errorType"], "Runtime.ExitError");
}

#[tokio::test]
async fn a_dry_run_and_an_event_return_at_once() {
    let (host, lines) = host_with([probe("f")]).await;
    let client = client(host.endpoint());
    let call = |kind, payload: &str| {
        client.invoke().function_name("f").invocation_type(kind).payload(Blob::new(payload)).send()
    };
    assert_eq!(call(InvocationType::DryRun, r#"{"op":"print"}"#).await.unwrap().status_code(), 204);
    assert_eq!(lines.all(), [], "a dry run runs nothing");
    assert_eq!(call(InvocationType::Event, r#"{"op":"print"}"#).await.unwrap().status_code(), 202);
    lines.containing("to stdout").await;
}

#[tokio::test]
async fn a_call_that_lambda_refuses_fails_with_the_same_error() {
    let (host, _) = host_with([probe("f")]).await;
    let client = client(host.endpoint());
    let call = |name: &str, kind, payload: Vec<u8>| {
        let call = client.invoke().function_name(name).invocation_type(kind).payload(Blob::new(payload));
        async move { call.send().await.unwrap_err().into_service_error() }
    };
    let unknown = call("gone", InvocationType::RequestResponse, b"{}".to_vec()).await;
    assert!(matches!(unknown, InvokeError::ResourceNotFoundException(_)), "{unknown:?}");
    let wanted = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:gone";
    assert_eq!(unknown.message(), Some(wanted));

    let text = call("f", InvocationType::RequestResponse, b"no json".to_vec()).await;
    assert!(matches!(text, InvokeError::InvalidRequestContentException(_)), "{text:?}");

    let payload = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
    let six_mb = 6 * 1024 * 1024;
    let large = call("f", InvocationType::RequestResponse, payload(six_mb + 1)).await;
    assert!(matches!(large, InvokeError::RequestTooLargeException(_)), "{large:?}");
    let large = call("f", InvocationType::Event, payload(1024 * 1024 + 1)).await;
    assert!(matches!(large, InvokeError::RequestTooLargeException(_)), "{large:?}");

    let just = client.invoke().function_name("f").payload(Blob::new(payload(six_mb))).send().await.unwrap();
    assert_eq!(just.function_error(), Some("Unhandled"), "its echo exceeds the limit of a response");
    let body: Value = serde_json::from_slice(just.payload().unwrap().as_ref()).unwrap();
    assert_eq!(body["errorType"], "Function.ResponseSizeTooLarge");
    let event = Blob::new(r#"{"op":"large","bytes":6000000}"#);
    let large = client.invoke().function_name("f").payload(event).send().await.unwrap();
    assert_eq!((large.function_error(), large.payload().unwrap().as_ref().len()), (None, 6_000_002));
}

#[tokio::test]
async fn the_configuration_differs_between_registrations() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.sql"), "create").unwrap();
    let mut spec = probe("f");
    spec.task_root = Some(folder.path().to_owned());
    spec.timeout = Duration::from_secs(120);
    spec.memory_mb = 512;
    spec.environment.insert("TABLE".to_owned(), "t".to_owned());
    let (host, _) = host_with([spec.clone()]).await;
    let client = client(host.endpoint());
    let get = || async { client.get_function_configuration().function_name("f").send().await.unwrap() };

    let first = get().await;
    assert_eq!(first.function_name(), Some("f"));
    assert_eq!(first.function_arn(), Some("arn:aws:lambda:us-east-1:000000000000:function:f"));
    assert_eq!((first.timeout(), first.memory_size()), (Some(120), Some(512)));
    assert_eq!(first.environment().unwrap().variables().unwrap()["TABLE"], "t");
    assert_eq!(first.code_sha256().unwrap().len(), 44);

    std::fs::write(folder.path().join("1.sql"), "drop").unwrap();
    assert_eq!(get().await.code_sha256(), first.code_sha256(), "the code of a registration does not change");
    host.register(spec);
    assert_ne!(get().await.code_sha256(), first.code_sha256());

    let missing = client.get_function_configuration().function_name("gone").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
}
