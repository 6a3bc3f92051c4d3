//! Queue tasks on the emulator: the template that `generate` writes, SQS, and a real function. The library enqueues the
//! jobs, and their outcomes are read from their records.

use std::{fs, path::Path, time::Duration};

use aws_sdk_sqs::types::QueueAttributeName;
use jiff::Timestamp;
use lamplighter_aws::{
    clients::local_config,
    jobs::{DeadLetter, DeadLetters, Jobs, Waker},
    table::Table,
};
use lamplighter_core::{
    job::{JobKey, NewJob, When},
    name::TaskName,
    run::Run,
    status::Status,
};
use lamplighter_e2e::{Aws, Emulator, OnFailure, Sam, lamplighter, run};
use lamplighter_testkit::{example, program};
use serde_json::{Value, json};

const TASK: &str = "job-probe";
const PATIENCE: Duration = Duration::from_secs(60);

struct Stack {
    jobs: Jobs,
    sqs: aws_sdk_sqs::Client,
    dead: DeadLetters,
    url: String,
    folder: tempfile::TempDir,
    _emulator: Emulator,
}

#[tokio::test]
async fn q01_q02_jobs_run_in_the_function_through_sqs() {
    let stack = Stack::deploy().await;
    a_job_returns_its_result(&stack).await;
    q09_a_failing_job_is_retried_by_visibility_timeout_and_ends_failed(&stack).await;
    q15_of_ten_jobs_with_one_failing_nine_complete_at_once(&stack).await;
    q05_a_delayed_job_does_not_start_before_its_time(&stack).await;
    q14_a_foreign_message_ends_in_the_dead_letter_queue(&stack).await;
}

async fn a_job_returns_its_result(stack: &Stack) {
    let value = json!({ "list": [1, null, "zażółć"], "nested": { "a": 1.5 } });
    let run = stack.ended(&stack.enqueue("echo", &value).await).await;
    assert_eq!((run.status, run.attempts.len()), (Status::Completed, 1), "{run:?}");
    assert_eq!(run.data, Some(value), "{run:?}");
}

async fn q09_a_failing_job_is_retried_by_visibility_timeout_and_ends_failed(stack: &Stack) {
    let key = stack.enqueue("error", &Value::Null).await;
    let run = stack.ended(&key).await;
    assert_eq!((run.status, run.attempts.len()), (Status::Failed, 2), "{run:?}");
    assert!(run.reason().unwrap().contains("it does not work"), "{run:?}");
    assert_eq!(stack.bodies(&key), 2);
}

async fn q15_of_ten_jobs_with_one_failing_nine_complete_at_once(stack: &Stack) {
    let new = |i: usize| if i == 4 { "error-once" } else { "echo" };
    let new = (0..10).map(|i| job(new(i), &json!(i))).collect();
    let keys = stack.jobs.enqueue_many(new).await.unwrap();
    for (i, key) in keys.iter().enumerate() {
        let run = stack.ended(key).await;
        let attempts = if i == 4 { 2 } else { 1 };
        assert_eq!((run.status, run.attempts.len()), (Status::Completed, attempts), "{i}: {run:?}");
        assert_eq!(stack.bodies(key), attempts, "{i}");
    }
}

async fn q05_a_delayed_job_does_not_start_before_its_time(stack: &Stack) {
    let now = Timestamp::now();
    let new = NewJob { when: When::In(Duration::from_secs(3)), ..job("echo", &json!(1)) };
    let key = stack.jobs.enqueue(new).await.unwrap().key;
    let run = stack.ended(&key).await;
    assert_eq!(run.status, Status::Completed, "{run:?}");
    assert!(run.started_at.duration_since(now).as_secs() >= 3, "{run:?}");
}

async fn q14_a_foreign_message_ends_in_the_dead_letter_queue(stack: &Stack) {
    // Shortens the time of the seven deliveries to seconds.
    let set = stack.sqs.set_queue_attributes().queue_url(&stack.url);
    set.attributes(QueueAttributeName::VisibilityTimeout, "1").send().await.unwrap();
    let unknown = json!({ "task": TASK, "run_id": "01KAJ4QZ8M0000000000000000" }).to_string();
    for body in ["hello", unknown.as_str()] {
        stack.sqs.send_message().queue_url(&stack.url).message_body(body).send().await.unwrap();
    }
    let mut letters = stack.letters(2).await;
    letters.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!((letters[1].body.as_str(), letters[0].body.as_str()), (unknown.as_str(), "hello"));
    assert!(letters[0].job().is_none() && letters[1].job().is_some());
    // The first letter is redriven, and becomes a dead letter again. The second letter stays in the queue.
    stack.dead.send_back(&letters[0]).await.unwrap();
    stack.dead.let_go(&letters).await;
    assert_eq!(stack.letters(2).await.len(), 2);
}

impl Stack {
    async fn deploy() -> Self {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path());
        let emulator = Emulator::start();
        let endpoint = emulator.endpoint();
        let template = folder.path().join("infra/template.yaml");
        let parameters = [("AnswerEndpoint", endpoint.as_str())];
        let deployed = Sam::new(&endpoint).deploy(&template, "mail", &parameters, OnFailure::RollBack);
        deployed.expect_success("sam deploy");
        let aws = Aws::new(&endpoint);
        let outputs = aws.stack_outputs("mail").await;
        let prefix = outputs["LamplighterQueues"].clone();
        let config = local_config(&endpoint);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let waker = Waker::Queues { prefix: prefix.clone(), sqs: sqs.clone().into() };
        let table = Table::new(aws.dynamodb.clone(), &outputs["LamplighterTableName"]);
        Self {
            jobs: Jobs::new(table, waker),
            sqs,
            dead: DeadLetters::new(&config, &prefix),
            url: format!("{prefix}{TASK}"),
            folder,
            _emulator: emulator,
        }
    }

    async fn enqueue(&self, mode: &str, value: &Value) -> JobKey {
        self.jobs.enqueue(job(mode, value)).await.unwrap().key
    }

    async fn ended(&self, key: &JobKey) -> Run {
        let run = self.jobs.wait(key, PATIENCE).await.unwrap();
        run.unwrap_or_else(|| panic!("{key} is not over"))
    }

    /// The number of starts of a job's body.
    fn bodies(&self, key: &JobKey) -> usize {
        let bodies = fs::read_to_string(self.folder.path().join("bodies")).unwrap();
        bodies.lines().filter(|line| line.starts_with(&key.run_id.to_string())).count()
    }

    /// Waits until there are `count` dead letters, and returns them.
    async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        let started = std::time::Instant::now();
        loop {
            let letters = self.dead.take(&name(), 10).await.unwrap();
            if letters.len() >= count {
                return letters;
            }
            self.dead.let_go(&letters).await;
            assert!(started.elapsed() < PATIENCE, "{letters:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn name() -> TaskName {
    TASK.parse().unwrap()
}

fn job(mode: &str, value: &Value) -> NewJob {
    NewJob { arguments: json!({ "mode": mode, "value": value }), ..NewJob::of(name()) }
}

/// Writes a workspace with one task whose description is the probe's, its template, and the code of its function.
fn lay_out(folder: &Path) {
    let definition = run(std::process::Command::new(example("job_probe")).arg("describe"));
    let definition = definition.expect_success("job_probe describe");
    let task = "functions/tasks/job-probe";
    let manifest = "[package]\nname = \"job-probe\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    for (path, text) in [
        ("Cargo.toml", format!("[workspace]\nresolver = \"3\"\nmembers = [\"{task}\"]\n")),
        (&format!("{task}/Cargo.toml"), manifest.to_owned()),
        (
            &format!("{task}/src/main.rs"),
            format!("fn main() {{ println!(\"{{}}\", r####\"{definition}\"####); }}"),
        ),
        (
            "lamplighter.toml",
            format!(
                "name = \"shop\"\n[tasks.job-probe]\nattempts = 2\n[tasks.job-probe.config]\nfolder = '{}'\n",
                folder.display()
            ),
        ),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut generate = lamplighter();
    generate.arg("generate").current_dir(folder).env_remove("CARGO_TARGET_DIR");
    run(&mut generate).expect_success("lamplighter generate");
    let template = folder.join("infra/template.yaml");
    let mut text = fs::read_to_string(&template).unwrap();
    for (name, binary) in [(TASK, example("job_probe")), ("pulse", program("pulse"))] {
        let code = folder.join("code").join(name);
        fs::create_dir_all(&code).unwrap();
        fs::copy(binary, code.join("bootstrap")).unwrap();
        text = text.replace(&format!("../target/lamplighter/{name}.zip"), &format!("../code/{name}"));
    }
    fs::write(&template, text).unwrap();
    let definition: Value = serde_json::from_str(&definition).unwrap();
    let plan = json!([{ "definition": definition, "driver": "other" }]).to_string();
    fs::write(folder.join("code/pulse/tasks.json"), plan).unwrap();
}
