//! Typed queue tasks, tested in a `testing::World` as authors do.

use std::time::Duration;

use lamplighter::{
    Arguments as _, EnqueueError, JobError, Unique, enqueue_many, prelude::*, testing::World, transact,
};
use lamplighter_core::{run::ErrorKind, status::Status};
use serde_json::json;

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    greeting: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    text: String,
    pages: Vec<Option<u32>>,
}

/// Writes a letter. Its arguments have names that the generated code uses itself.
#[task(queue, priority = High, concurrency = 2, attempts = 2, enqueues = ["post"], result = Letter)]
async fn write_letter(c: Context<Config>, jobs: String, priority: Vec<Option<u32>>, ctx: bool) -> TaskResult {
    if ctx {
        Post::enqueue(&c.jobs().await?, Letter { text: jobs.clone(), pages: Vec::new() }).await?;
    }
    let text = format!("{} {jobs}", c.config.greeting);
    Outcome::success("written").with_data(&Letter { text, pages: priority })
}

/// Posts a letter.
#[task(queue, attempts = 1)]
async fn post(_ctx: Context, letter: Letter) -> TaskResult {
    if letter.text == "lost" {
        Err(TaskError::new("no stamp"))
    } else {
        Outcome::success("posted").with_data(&letter)
    }
}

const LONG: Duration = Duration::from_secs(60);

fn letter(text: &str) -> Letter {
    Letter { text: text.to_owned(), pages: Vec::new() }
}

#[test]
fn a_queue_task_has_a_schema_of_its_arguments() {
    let definition = WriteLetter::definition();
    assert_eq!((definition.faults(), definition.enqueues[0].as_str()), (vec![], "post"));
    let queue = definition.queue().unwrap();
    assert_eq!((queue.priority.as_str(), queue.concurrency), ("high", Some(2)));
    let schema = &queue.arguments_schema;
    assert_eq!(schema["required"], json!(["jobs", "priority", "ctx"]));
    assert_eq!(schema["additionalProperties"], false);
    const { assert!(WriteLetter::TAKES_JOBS && !WriteLetter::IS_SIDE) };
}

#[tokio::test]
async fn q17_a_typed_job_is_enqueued_by_a_transaction() {
    let world = World::new().await;
    let prepared = Post::enqueue(&world.jobs(), letter("a")).in_transaction().await.unwrap();
    assert_eq!(world.enqueued("post").await, []);
    transact(world.table().client(), prepared.writes().to_vec()).await.unwrap();
    let job = prepared.wake().await.unwrap();
    world.drain(Post).await;
    assert_eq!(job.result(Duration::ZERO).await.unwrap(), json!(letter("a")));
}

#[tokio::test]
async fn q16_generated_arguments_are_enqueued_as_they_are() {
    let world = World::new().await;
    let arguments = PostArguments::from_json(r#"{"letter":{"text":"a","pages":[1]}}"#).unwrap();
    let job = arguments.enqueue(&world.jobs()).await.unwrap();
    world.drain(Post).await;
    assert_eq!(job.result(Duration::ZERO).await.unwrap(), json!({ "text": "a", "pages": [1] }));
    let error = PostArguments::from_json(r#"{"letter":{"text":1}}"#).err().unwrap();
    assert_eq!(error.to_string(), "the arguments are invalid: `letter.pages` is missing");
}

#[tokio::test]
async fn q02_typed_arguments_and_results_are_returned_unchanged() {
    let world = World::new().await;
    let pages = vec![Some(1), None];
    let job = WriteLetter::enqueue(&world.jobs(), "Łódź 🕯".to_owned(), pages.clone(), true).await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::Pending);
    let arguments = json!({ "jobs": "Łódź 🕯", "priority": [1, null], "ctx": true });
    assert_eq!(world.enqueued("write-letter").await, [(job.id().clone(), arguments)]);
    world.drain(WriteLetter).await;
    assert_eq!(job.result(Duration::ZERO).await.unwrap(), Letter { text: " Łódź 🕯".to_owned(), pages });
    assert_eq!(world.enqueued("post").await[0].1["letter"]["text"], "Łódź 🕯", "a body may enqueue");
}

#[tokio::test]
async fn q04_a_job_has_a_status_and_can_be_aborted_until_its_end() {
    let world = World::new().await;
    let jobs = world.jobs();
    let job = Post::enqueue(&jobs, letter("a")).await.unwrap();
    assert!(matches!(job.result(Duration::ZERO).await, Err(JobError::TimedOut(_))));
    job.abort().await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::Cancelled);
    assert!(matches!(job.abort().await, Err(JobError::Over { status: Status::Cancelled, .. })));
    assert!(matches!(job.result(Duration::ZERO).await, Err(JobError::NotCompleted { .. })));
    let lost = Post::enqueue(&jobs, letter("lost")).await.unwrap();
    let runs = world.drain(Post).await;
    assert_eq!(runs[0].error.as_ref().unwrap().kind, ErrorKind::Execution);
    let error = lost.result(Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.ends_with("is FAILED: no stamp"), "{error}");
}

#[tokio::test]
async fn q05_a_job_accepts_one_start_time() {
    let world = World::new().await;
    let jobs = world.jobs();
    let later = || Post::enqueue(&jobs, letter("a")).delay(LONG);
    assert_eq!(later().await.unwrap().status().await.unwrap(), Status::Pending);
    assert_eq!(world.drain(Post).await.len(), 0, "it is not due");
    let error = later().at("2026-12-24T00:00:00Z".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn q07_a_second_unique_job_is_rejected_or_joins_the_first() {
    let world = World::new().await;
    let jobs = world.jobs();
    let unique = |text: &str| Post::enqueue(&jobs, letter(text)).unique(Unique::Arguments, LONG);
    let first = unique("a").await.unwrap();
    assert!(matches!(unique("a").await, Err(EnqueueError::NotUnique(_))));
    let joined = unique("a").or_join().await.unwrap();
    assert_eq!((joined.id(), joined.is_joined(), first.is_joined()), (first.id(), true, false));
    assert!(!unique("b").await.unwrap().is_joined());
    let named = || Post::enqueue(&jobs, letter("c")).id("c-1");
    assert_eq!(named().await.unwrap().id(), named().await.unwrap().id());
}

#[tokio::test]
async fn q12_a_job_waits_for_another_and_receives_its_data() {
    let world = World::new().await;
    let jobs = world.jobs();
    let first = WriteLetter::enqueue(&jobs, "Ada".to_owned(), Vec::new(), false).await.unwrap();
    let second = first.then(Post::enqueue(&jobs, letter("to come")), "letter").await.unwrap();
    assert_eq!(world.drain(Post).await.len(), 0);
    world.drain(WriteLetter).await;
    world.drain(Post).await;
    assert_eq!(second.result(Duration::ZERO).await.unwrap()["text"], " Ada");
}

#[tokio::test]
async fn q13_many_jobs_are_enqueued_at_once() {
    let world = World::new().await;
    let jobs = world.jobs();
    let many = (0..30).map(|i| Post::enqueue(&jobs, letter(&i.to_string())));
    let many = Box::pin(enqueue_many(many)).await.unwrap();
    assert_eq!((many.len(), world.drain(Post).await.len()), (30, 30));
    assert_eq!(many[7].result(Duration::ZERO).await.unwrap()["text"], "7");
}

#[tokio::test]
async fn a_run_has_the_tests_configuration_and_time() {
    /// Returns its tick.
    #[task(schedule = "@hourly")]
    async fn toll(ctx: Context<Config>) -> TaskResult {
        Ok(Outcome::success(format!(
            "{} {:?} {}",
            ctx.config.greeting,
            ctx.scheduled_for(),
            ctx.environment()
        )))
    }
    let world = World::new().await.with_environment("night");
    let at = "2026-11-21T06:00:00Z".parse().unwrap();
    let run = world.run_at(Toll, at, &json!({ "greeting": "dong" })).await;
    assert_eq!(run.message.as_deref(), Some("dong Some(2026-11-21T06:00:00Z) night"));
    assert_eq!(world.run(Toll, &json!({})).await.scheduled_for, None);
}
