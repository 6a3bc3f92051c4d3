//! Response URLs that fail, do not reply, or have expired.

use std::time::Duration;

use crate::support::{
    DISPATCHER, FALLBACK, Stage,
    answer_server::{AnswerServer, Reply},
    event, eventually, probe,
};

async fn stage_with(server: &AnswerServer, timeout: Duration) -> Stage {
    let stage = Stage::new().await;
    let variables = [("LAMPLIGHTER_ANSWER_ENDPOINT", server.endpoint.as_str())];
    stage.dispatcher(timeout, &variables);
    stage.register(FALLBACK, Duration::from_secs(60), &variables);
    stage.install(&probe("migrate"));
    stage
}

#[tokio::test]
async fn l14_an_answer_is_sent_again_after_errors_until_it_is_accepted() {
    let server = AnswerServer::start(&[500, 503, 500, 200].map(Reply::Status)).await;
    let stage = stage_with(&server, Duration::from_secs(60)).await;
    stage.deliver_to(&event("Create", "r1", "1", &[probe("migrate")]), &server.url());
    eventually("accepted", || !server.accepted().is_empty()).await;
    eventually("logged", || stage.log.text().contains("answered SUCCESS")).await;
    let bodies = server.received();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|(_, body)| *body == bodies[0].1), "{bodies:?}");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l14_an_answer_without_a_reply_is_sent_again_by_the_next_delivery() {
    let server = AnswerServer::start(&[Reply::Silence, Reply::Status(200)]).await;
    let stage = stage_with(&server, Duration::from_secs(3)).await;
    stage.deliver_to(&event("Create", "r1", "1", &[probe("migrate")]), &server.url());
    eventually("accepted", || !server.accepted().is_empty()).await;
    let bodies = server.received();
    assert_eq!(bodies[0].1, bodies[1].1);
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l14_an_expired_url_ends_the_delivery_with_an_error() {
    let server = AnswerServer::start(&[Reply::Status(403)]).await;
    let stage = stage_with(&server, Duration::from_secs(60)).await;
    let mut event = event("Create", "r1", "1", &[probe("migrate")]);
    event["ResponseURL"] = server.url().into();
    let invocation = stage.host.invoke(DISPATCHER, event.to_string()).await.unwrap();
    let error = String::from_utf8(invocation.payload).unwrap();
    assert!(invocation.failed && error.contains("403") && !error.contains("token"), "{error}");
    assert_eq!(stage.journal(), ["run migrate"]);
    assert!(stage.newest().await.answer.unwrap().delivered_to.is_empty());
    stage.end().await;
}
