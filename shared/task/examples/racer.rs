//! A process of the race test. It reads one order per line, executes the ordered task through the real pipeline, and prints
//! the result as a line. Its bodies note the times of their start and end.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _},
    path::PathBuf,
    process,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use lamplighter::{
    AssetsSource, BodyRuntime, Invocation, ProcessEnvironment, TaskInstance,
    definition::{Cron, Definition, Kind},
    execute,
    prelude::*,
    random,
};
use lamplighter_aws::clients::Clients;
use lamplighter_testkit::probe::note;
use serde_json::{Value, json};

/// An order of the test.
#[derive(Clone, Debug, Deserialize)]
struct Order {
    /// The task's name.
    task: String,
    /// The duration of its body.
    body_ms: u64,
    /// The time of the invocation.
    limit_ms: u64,
    payload: Value,
}

/// The order in progress. It is global, since a definition has no access to its invocation.
static ORDER: Mutex<Option<Order>> = Mutex::new(None);

fn order() -> Order {
    ORDER.lock().expect("no thread panics with the lock").clone().expect("an order is in progress")
}

struct Racer;

impl Task for Racer {
    type Config = ();
    type State = ();

    fn definition() -> Definition {
        let every_minute = "* * * * *".parse().expect("the schedule is valid");
        let name = order().task.parse().expect("the task's name is valid");
        Definition::new(name, Kind::Cron(Cron::new(Some(every_minute))))
    }

    async fn run(&self, ctx: Context<()>) -> TaskResult {
        let note = |what: &str| {
            let journal = std::env::var_os("RACE_JOURNAL").map(PathBuf::from).unwrap_or_default();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
            note(journal, &format!("{what} {} {} {} {now}", order().task, ctx.run_id(), process::id()))
        };
        note("begin")?;
        tell(&json!({ "begun": ctx.run_id() }));
        tokio::time::sleep(Duration::from_millis(order().body_ms)).await;
        note("end")?;
        Ok(Outcome::success("ran"))
    }
}

fn tell(line: &Value) {
    let mut out = std::io::stdout().lock();
    // A test that has closed the pipe is about to kill this process.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() -> std::io::Result<()> {
    let bodies = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let pipeline = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let process = ProcessEnvironment {
        clients: Arc::new(Clients::default()),
        body_runtime: BodyRuntime::new(bodies.handle().clone()),
        table: std::env::var("LAMPLIGHTER_TABLE").ok(),
        table_is_local: false,
        bucket: None,
        environment: "race".to_owned(),
        settings: None,
        resolved: BTreeMap::new(),
        assets: AssetsSource::Folder(PathBuf::from(".")),
        log: None,
        notifies: None,
        queues: None,
        waker: None,
    };
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        *ORDER.lock().expect("no thread panics with the lock") = Some(order.clone());
        let invocation = Invocation {
            payload: order.payload,
            holder: format!("{}#{:032x}", process::id(), random()).into(),
            deadline: (SystemTime::now() + Duration::from_millis(order.limit_ms))
                .try_into()
                .map_err(std::io::Error::other)?,
        };
        tell(&match pipeline.block_on(execute(&TaskInstance::from(Racer), invocation, &process)) {
            Ok(executed) => json!({ "report": executed.report }),
            Err(error) => json!({ "error": error.to_string() }),
        });
    }
    Ok(())
}
