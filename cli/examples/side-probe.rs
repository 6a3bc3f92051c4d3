//! A side task for the tests. Its configuration chooses its behaviour, and it leaves marks in a folder. With the argument
//! `keep` the program is a runner of that task alone.

use std::{collections::BTreeMap, env, path::Path, process, time::Duration};

use lamplighter::prelude::*;
use lamplighter_aws::{clients::local_dynamodb, table::Table};
use lamplighter_core::side::Pace;
use lamplighter_runner::side::{Side, supervise};
use lamplighter_testkit::probe::note;
use tokio_util::sync::CancellationToken;

/// The behaviour, and the folder of the marks.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The behaviour.
    pub mode: String,
    /// The folder.
    pub folder: String,
}

/// Waits for its end, unless the configuration says otherwise.
#[task(side, on_error = failed, on_shutdown = shut_down)]
pub async fn side_probe(ctx: Context<Config>) -> TaskResult {
    mark(&ctx, "begun", &process::id().to_string());
    match ctx.config.mode.as_str() {
        "where" => {
            let folder = env::current_dir()?.display().to_string();
            mark(&ctx, "where", &folder);
            note("written", "side")?;
            ctx.cancellation().cancelled().await;
            Ok(Outcome::success("said where it is"))
        }
        "fail" => Err(TaskError::new("the line is dead")),
        "panic" => panic!("the line is dead"),
        "return" => Ok(Outcome::success("there is nothing to do")),
        "block" => {
            std::thread::sleep(Duration::from_secs(600));
            Ok(Outcome::success("not reached"))
        }
        _ => {
            println!("listening");
            ctx.cancellation().cancelled().await;
            mark(&ctx, "cancelled", "");
            Ok(Outcome::success("heard enough"))
        }
    }
}

#[expect(clippy::unused_async, reason = "it is async as those that wait are")]
async fn failed(ctx: Context<Config>, error: RunError) {
    mark(&ctx, "errors", &error.message);
}

#[expect(clippy::unused_async, reason = "it is async as those that wait are")]
async fn shut_down(ctx: Context<Config>) {
    mark(&ctx, "shutdowns", "");
}

fn mark(ctx: &Context<Config>, file: &str, text: &str) {
    let path = Path::new(&ctx.config.folder).join(file);
    note(path, text).expect("the folder takes it");
}

fn main() -> process::ExitCode {
    if env::args().nth(1).as_deref() != Some("keep") {
        return lamplighter::start(SideProbe);
    }
    let variables: BTreeMap<_, _> = env::vars().collect();
    let client = local_dynamodb(&variables["AWS_ENDPOINT_URL_DYNAMODB"]);
    let table = Table::new(client, &variables["LAMPLIGHTER_TABLE"]);
    let side = Side {
        task: "side-probe".parse().expect("it is a task's name"),
        command: env::current_exe().expect("it runs"),
        built: None,
        folder: None,
        current_folder: None,
        inherited: Vec::new(),
        variables,
        runner: process::id().to_string(),
        environment: "test".to_owned(),
        pace: Pace {
            lease: Duration::from_secs(3),
            heartbeat: Duration::from_millis(500),
            ..Pace::default()
        },
    };
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    runtime.block_on(supervise(&side, &table, |told| eprintln!("{told:?}"), CancellationToken::new()));
    process::ExitCode::SUCCESS
}
