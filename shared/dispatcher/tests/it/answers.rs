//! Response URLs that are slow, deaf or closed.

use std::time::Duration;

use crate::support::{
    DISPATCHER, FALLBACK, Stage,
    door::{Door, Says},
    event, eventually, probe,
};

async fn behind(door: &Door, timeout: Duration) -> Stage {
    let stage = Stage::new().await;
    let variables = [("LAMPLIGHTER_ANSWER_ENDPOINT", door.endpoint.as_str())];
    stage.dispatcher(timeout, &variables);
    stage.register(FALLBACK, Duration::from_secs(60), &variables);
    stage.install(&probe("migrate"));
    stage
}

#[tokio::test]
async fn l14_an_answer_that_meets_errors_is_sent_until_it_is_accepted_and_then_no_more() {
    let door = Door::with(&[500, 503, 500, 200].map(Says::Status)).await;
    let stage = behind(&door, Duration::from_secs(60)).await;
    stage.deliver_to(&event("Create", "r1", "1", &[probe("migrate")]), &door.url());
    eventually("accepted", || !door.accepted().is_empty()).await;
    eventually("logged", || stage.log_text().contains("answered SUCCESS")).await;
    let bodies = door.received();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|(_, body)| *body == bodies[0].1), "{bodies:?}");
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l14_a_url_that_hears_and_does_not_answer_is_tried_again_by_the_next_delivery() {
    let door = Door::with(&[Says::Nothing, Says::Status(200)]).await;
    let stage = behind(&door, Duration::from_secs(3)).await;
    stage.deliver_to(&event("Create", "r1", "1", &[probe("migrate")]), &door.url());
    eventually("accepted", || !door.accepted().is_empty()).await;
    let bodies = door.received();
    assert_eq!(bodies[0].1, bodies[1].1);
    assert_eq!(stage.journal(), ["run migrate"]);
    stage.end().await;
}

#[tokio::test]
async fn l14_a_url_that_has_expired_is_given_up_with_an_error() {
    let door = Door::with(&[Says::Status(403)]).await;
    let stage = behind(&door, Duration::from_secs(60)).await;
    let mut event = event("Create", "r1", "1", &[probe("migrate")]);
    event["ResponseURL"] = door.url().into();
    let invocation = stage.host.invoke(DISPATCHER, event.to_string()).await.unwrap();
    let told = String::from_utf8(invocation.payload).unwrap();
    assert!(invocation.failed && told.contains("403") && !told.contains("token"), "{told}");
    assert_eq!(stage.journal(), ["run migrate"]);
    assert!(stage.newest().await.answer.unwrap().delivered_to.is_empty());
    stage.end().await;
}
