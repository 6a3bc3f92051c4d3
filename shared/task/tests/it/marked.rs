//! Arguments and data that a queue task's types mark as secret.

use std::time::Duration;

use lamplighter::{EnqueueError, enqueue_many, prelude::*, testing::World};
use lamplighter_core::job::InvalidJob;
use serde_json::json;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Login {
    user: String,
    word: Secret,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    #[schemars(extend("writeOnly" = true))]
    key: String,
    name: String,
}

/// Uses a login.
#[task(queue)]
async fn use_login(_ctx: Context, login: Login, token: Option<Secret>) -> TaskResult {
    let told = format!("{login:?} {}", token.is_some());
    Ok(Outcome::success(told))
}

/// Creates a key and returns it.
#[task(queue, result = Keys)]
async fn make_key(_ctx: Context, name: String) -> TaskResult {
    let key = format!("key-of-{name}");
    Outcome::success(format!("made {key}")).with_data(&Keys { key, name })
}

fn secret(text: &str) -> Secret {
    serde_json::from_value(json!(text)).unwrap()
}

fn login(word: &str) -> Login {
    Login { user: "ada".to_owned(), word: secret(word) }
}

#[tokio::test]
async fn o04_a_secret_argument_is_rejected_by_its_name() {
    let world = World::new().await;
    let jobs = world.jobs();
    let refused = |result: Result<_, EnqueueError>| match result {
        Err(EnqueueError::Invalid(InvalidJob::Secret(argument))) => argument,
        other => panic!("not refused: {:?}", other.map(|_: lamplighter::Job<_>| ())),
    };
    assert_eq!(refused(UseLogin::enqueue(&jobs, login("hunter2"), None).await), "login.word");
    assert_eq!(refused(UseLogin::enqueue(&jobs, login(""), Some(secret("x"))).await), "token");
    let many = vec![UseLogin::enqueue(&jobs, login(""), None), UseLogin::enqueue(&jobs, login("y"), None)];
    let error = Box::pin(enqueue_many(many)).await.unwrap_err();
    assert!(error.to_string().contains("`login.word` is secret"), "{error}");
    assert_eq!(world.enqueued("use-login").await, [], "no job is enqueued");

    let first = MakeKey::enqueue(&jobs, "ada".to_owned()).await.unwrap();
    let next = first.then(UseLogin::enqueue(&jobs, login(""), None), "token");
    assert_eq!(refused(next.await), "token");

    UseLogin::enqueue(&jobs, login(""), None).await.unwrap();
    let run = world.drain(UseLogin).await.remove(0);
    assert_eq!(run.message.as_deref(), Some("Login { user: \"ada\", word: [secret] } false"));
}

#[tokio::test]
async fn o04_marked_data_is_masked_before_it_is_recorded() {
    let world = World::new().await;
    let job = MakeKey::enqueue(&world.jobs(), "ada".to_owned()).await.unwrap();
    let run = world.drain(MakeKey).await.remove(0);
    assert_eq!(run.data, Some(json!({ "key": "[secret]", "name": "ada" })));
    assert_eq!(run.message.as_deref(), Some("made [secret]"));
    let keys = Keys { key: "[secret]".to_owned(), name: "ada".to_owned() };
    assert_eq!(job.result(Duration::ZERO).await.unwrap(), keys);
}
