//! One answer for one request, sent to no other server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    FALLBACK, Stage,
    answer_server::{AnswerServer, Reply},
    event, eventually, probe,
};

async fn stage_with(server: &AnswerServer) -> Stage {
    let stage = Stage::new().await;
    let variables = [("LAMPLIGHTER_ANSWER_ENDPOINT", server.endpoint.as_str())];
    stage.dispatcher(Duration::from_secs(60), &variables);
    stage.register(FALLBACK, Duration::from_secs(60), &variables);
    stage
}

/// A Delete, an unknown type and a malformed event, each delivered twice at once and once later.
#[tokio::test]
async fn d08_a_request_without_a_deployment_has_one_answer() {
    let mut malformed = event("Update", "malformed", "1", &[]);
    malformed["ResourceProperties"]["Tasks"] = json!({});
    let mut unknown = event("Delete", "unknown", "1", &[]);
    unknown["RequestType"] = json!("Upsert");
    for event in [event("Delete", "delete", "1", &[]), unknown, malformed] {
        let server = AnswerServer::start(&[Reply::OkAfter(Duration::from_secs(5))]).await;
        let stage = stage_with(&server).await;
        stage.deliver_to(&event, &server.url());
        stage.deliver_to(&event, &server.url());
        eventually("accepted", || stage.log.text().contains("answered")).await;
        stage.deliver_to(&event, &server.url());
        eventually("all are done", || stage.log.text().matches("answered").count() == 3).await;
        assert_eq!(server.received().len(), 1, "{event}: {:?}", server.received());
        stage.end().await;
    }
}

#[tokio::test]
async fn d08_a_slow_url_gets_a_deployments_answer_once() {
    let server = AnswerServer::start(&[Reply::OkAfter(Duration::from_secs(6))]).await;
    let stage = stage_with(&server).await;
    let tasks = [probe("migrate")];
    stage.install_all(&tasks);
    for _ in 0..2 {
        stage.deliver_to(&event("Create", "r1", "1", &tasks), &server.url());
    }
    eventually("both are done", || stage.log.text().matches("answered SUCCESS").count() == 2).await;
    assert_eq!(server.received().len(), 1, "{:?}", server.received());
    stage.end().await;
}

/// No other server learns the signed URL, and no redirect counts as accepted.
#[tokio::test]
async fn d08_a_redirect_is_an_error_and_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = AnswerServer::start(&[Reply::Status(200)]).await;
        let place: &'static str = other.url().leak();
        let server = AnswerServer::start(&[Reply::Redirect(status, place), Reply::Status(200)]).await;
        let stage = stage_with(&server).await;
        stage.deliver_to(&event("Create", "r1", "1", &[]), &server.url());
        eventually("answered", || stage.log.text().contains("answered SUCCESS")).await;
        assert_eq!(other.received().len(), 0, "{status}");
        assert_eq!(server.received().len(), 2, "{status}");
        stage.end().await;
    }
}

/// Events as text that CloudFormation itself would not send.
#[tokio::test]
async fn d10_an_event_with_readable_ids_is_answered_despite_other_faults() {
    let stage = Stage::new().await;
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let long_id = Value::from("\u{1}".repeat(700)).to_string();
    for (i, (key, value, expected)) in [
        ("ResourceProperties", deep.as_str(), Some("ResourceProperties: cannot be read")),
        ("ResourceProperties", r#"{"Version": "\ud800"}"#, Some("ResourceProperties: cannot be read")),
        ("ResourceProperties", r#"{"Version": 1e999}"#, Some("ResourceProperties: cannot be read")),
        ("OldResourceProperties", deep.as_str(), None),
        ("Unknown", deep.as_str(), None),
        ("Unknown", "1e999", None),
        ("requestPayload", "{}", None),
        ("PhysicalResourceId", long_id.as_str(), None),
        ("PhysicalResourceId", "7", None),
    ]
    .into_iter()
    .enumerate()
    {
        let expectation = stage.answers.expect().unwrap();
        let mut whole = event("Create", &format!("r{i}"), "1", &[]);
        whole["ResponseURL"] = json!(expectation.url);
        whole["LogicalResourceId"] = json!(format!("Tasks{i}"));
        whole.as_object_mut().unwrap().remove(key);
        let whole = whole.to_string();
        let text = format!("{},{}:{value}}}", &whole[..whole.len() - 1], Value::from(key));
        stage.host.invoke_event(crate::support::DISPATCHER, text).unwrap();
        let answer = stage.answer(&expectation).await;
        let received = expectation.received();
        assert!(received.len() == 1 && received[0].body.len() <= 4096, "{key}");
        match expected {
            Some(reason) => {
                assert_eq!(answer["Status"], "FAILED", "{key}: {answer}");
                assert!(answer["Reason"].as_str().unwrap().contains(reason), "{key}: {answer}");
            }
            None => assert_eq!(answer["Status"], "SUCCESS", "{key}: {answer}"),
        }
    }
    stage.end().await;
}
