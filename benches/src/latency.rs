//! Benchmark: the overhead of lock and record for a run on the embedded engine, from the request to the body's first
//! line, and from the body's last line to the end of the pipeline. Bare conditional writes are printed beside it. It
//! has no promise.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lamplighter::{
    AssetsSource, BodyRuntime, Invocation, ProcessEnvironment, TaskInstance,
    definition::{Definition, Kind, Lifecycle},
    execute,
    prelude::*,
};
use lamplighter_aws::{
    clients::{Clients, local_dynamodb},
    table::create,
};
use lamplighter_local::Engine;
use serde_json::json;
use tokio::runtime::Builder;

use crate::Measured;

const RUNS: usize = 2_000;
/// The number of uncounted runs at the start.
const WARM_UP: usize = 100;
const TABLE: &str = "lamplighter";

/// The times at which the last body started and ended.
static BODY: Mutex<Option<(Instant, Instant)>> = Mutex::new(None);

struct Timed;

impl Task for Timed {
    type Config = ();
    type State = ();

    fn definition() -> Definition {
        let name = "timed".parse().expect("the task's name is valid");
        Definition::new(name, Kind::Lifecycle(Lifecycle::default()))
    }

    async fn run(&self, _: Context<()>) -> TaskResult {
        let began = Instant::now();
        let outcome = Outcome::success("done");
        *BODY.lock().map_err(|_| TaskError::new("poisoned"))? = Some((began, Instant::now()));
        Ok(outcome)
    }
}

/// The name under which the task's process is started: a second process of this program, without the engine, as in a function.
pub(crate) const TASK: &str = "latency-task";

/// Serves the engine while the task's process measures.
pub(crate) async fn serve() -> Measured<bool> {
    let engine = Engine::memory()?;
    let endpoint = engine.serve().await?;
    create(&local_dynamodb(&endpoint), TABLE).await?;
    let measured = tokio::process::Command::new(std::env::current_exe()?)
        .arg(TASK)
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)
        .status()
        .await?;
    Ok(measured.success())
}

pub(crate) fn measure() -> Measured<bool> {
    // The same runtimes as in a task's process.
    let bodies = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let pipeline = Builder::new_current_thread().enable_all().build()?;
    let process = ProcessEnvironment {
        clients: Arc::new(Clients::default()),
        body_runtime: BodyRuntime::new(bodies.handle().clone()),
        table: Some(TABLE.to_owned()),
        table_is_local: false,
        bucket: None,
        environment: "bench".to_owned(),
        settings: None,
        resolved: BTreeMap::new(),
        assets: AssetsSource::Folder(PathBuf::from(".")),
        log: None,
        notifies: None,
        queues: None,
        waker: None,
    };
    let (mut to_body, mut to_record, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    pipeline.block_on(async {
        let client = process.clients.dynamodb().await;
        for run in 0..WARM_UP + RUNS {
            let invocation = Invocation {
                payload: json!({}),
                holder: run.to_string().into(),
                deadline: (std::time::SystemTime::now() + Duration::from_secs(60)).try_into()?,
            };
            let started = Instant::now();
            execute(&TaskInstance::from(Timed), invocation, &process).await?;
            let over = Instant::now();
            let (began, ended) = BODY.lock().map_err(|_| "poisoned")?.take().ok_or("the body did not run")?;
            let bare = Instant::now();
            write(client, run).await?;
            if run >= WARM_UP {
                to_body.push(began - started);
                to_record.push(over - ended);
                writes.push(bare.elapsed());
            }
        }
        Measured::Ok(())
    })?;
    println!("a run's lock and record on this machine, of {RUNS}");
    tell("order to body: definition, claim (one write), configuration", to_body);
    tell("body to end: record and release (two writes)", to_record);
    tell("for scale: one bare conditional write", writes);
    Ok(true)
}

/// A conditional write of about the size of a claim.
async fn write(client: &Client, run: usize) -> Measured<()> {
    client
        .update_item()
        .table_name(TABLE)
        .key("pk", AttributeValue::S("BARE".to_owned()))
        .key("sk", AttributeValue::S("BARE".to_owned()))
        .update_expression("SET run_id = :run_id, holder = :holder, lease_until = :until, epoch = :epoch")
        .condition_expression("attribute_not_exists(epoch) OR epoch < :epoch")
        .expression_attribute_values(":run_id", AttributeValue::S("01KAJ0000000000000000000RN".to_owned()))
        .expression_attribute_values(":holder", AttributeValue::S(run.to_string()))
        .expression_attribute_values(":until", AttributeValue::N("1800000000000".to_owned()))
        .expression_attribute_values(":epoch", AttributeValue::N(run.to_string()))
        .send()
        .await?;
    Ok(())
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("        {what:<62} p50 {:>7.3} ms  p99 {:>7.3} ms", at(50), at(99));
}
