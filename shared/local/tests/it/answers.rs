//! Tests of the response URLs.

use std::time::Duration;

use lamplighter_local::Answers;

use crate::http::send;

#[tokio::test]
async fn an_answer_is_delivered_to_its_expectation_and_repeats_are_recorded() {
    let answers = Answers::serve().await.unwrap();
    let (mine, other) = (answers.expect().unwrap(), answers.expect().unwrap());
    let put = |body: &'static str| send("PUT", &mine.url, "content-type: \r\n", body.as_bytes());
    let (answer, status) = tokio::join!(mine.answer(Duration::from_secs(5)), put("{\"Status\":\"SUCCESS\"}"));
    assert_eq!(status, 200);
    let answer = answer.unwrap();
    assert_eq!(answer.json().unwrap()["Status"], "SUCCESS");
    assert_eq!(answer.content_type.as_deref(), Some(""));
    assert_eq!(put("{}").await, 200);
    assert_eq!(mine.received().len(), 2);
    assert_eq!(mine.answer(Duration::ZERO).await.unwrap(), answer, "the first one stays the answer");
    assert_eq!(other.received(), []);
    assert!(other.answer(Duration::from_millis(10)).await.is_err());
}

#[tokio::test]
async fn other_requests_to_a_response_url_are_refused() {
    let answers = Answers::serve().await.unwrap();
    let mine = answers.expect().unwrap();
    assert_eq!(send("PUT", &mine.url, "", &[b' '; 4096]).await, 200);
    assert_eq!(send("PUT", &mine.url, "", &[b' '; 4097]).await, 400);
    assert_eq!(send("POST", &mine.url, "", b"{}").await, 405);
    assert_eq!(send("PUT", &format!("{}x", mine.url), "", b"{}").await, 404);
    let url = mine.url.clone();
    assert_eq!(mine.received().len(), 1);
    drop(mine);
    assert_eq!(send("PUT", &url, "", b"{}").await, 404, "its expectation was dropped");
}
