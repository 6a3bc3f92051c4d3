//! A task for the dispatcher's tests. Its environment sets its name and behaviour.

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    time::Duration,
};

use lamplighter::{
    definition::{Definition, Kind, Lifecycle},
    prelude::*,
};
use lamplighter_testkit::probe;

/// The probe's behaviour.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// `fail`, `error`, `panic`, `exit`, `abort`, `memory`; anything else succeeds.
    mode: String,
    /// `fail`; anything else succeeds.
    rollback_mode: String,
    /// The time that the body takes before it ends.
    sleep_ms: u64,
    /// The tasks whose bodies it waits for, so that it ends only if they run at the same time.
    beside: Vec<String>,
    /// A secret that the modes `leak`, `leak-fail` and `leak-panic` write to the log, data, messages and errors.
    secret: Secret,
    /// The length of the text in its data or its failure.
    bytes: usize,
    /// The file to which each start of a body is written.
    journal: String,
}

struct Probe;

impl Task for Probe {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        Definition {
            timeout: Duration::from_secs(20),
            rollback: std::env::var_os("PROBE_ROLLBACK").is_some(),
            ..probe::definition::<Config>(Kind::Lifecycle(Lifecycle::default()))
        }
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        note(&ctx, "run")?;
        while !have_started(&ctx)? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(ctx.config.sleep_ms)).await;
        let text = "x".repeat(ctx.config.bytes);
        let secret = ctx.config.secret.expose();
        if ctx.config.mode.starts_with("leak") {
            tracing::info!(config = ?ctx.config, plain = secret, quoted = ?secret, "the secret is {secret}");
        }
        match ctx.config.mode.as_str() {
            "leak" => {
                let data =
                    serde_json::json!({ "list": [secret], secret: "a key", "text": format!("{secret:?}") });
                Outcome::success(format!("leaked {secret}")).with_data(&data)
            }
            "leak-fail" => Err(TaskError::new(format!("refused {secret:?}"))).fatal(),
            "leak-panic" => panic!("refused {secret}"),
            "fail" => Ok(Outcome::failure(format!("failed on request{text}"))),
            "error" => Err(TaskError::new("refused on request")),
            "panic" => panic!("panicked on request"),
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            "memory" => {
                let mut held = Vec::new();
                loop {
                    held.push(Vec::<u8>::with_capacity(64 << 20));
                }
            }
            _ => {
                let data = serde_json::json!({
                    "first": ctx.is_first_deploy(),
                    "version": ctx.version(),
                    "previous": ctx.previous_version(),
                    "text": text,
                });
                Outcome::success(format!("ran for version {}", ctx.version().unwrap_or("?"))).with_data(&data)
            }
        }
    }

    async fn rollback(&self, ctx: Context<Config>) -> TaskResult {
        note(&ctx, "rollback")?;
        match ctx.config.rollback_mode.as_str() {
            "fail" => Ok(Outcome::failure("cannot undo")),
            "slow" => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(Outcome::success("undone"))
            }
            _ => Ok(Outcome::success("undone")),
        }
    }
}

/// Returns true once the bodies have started that this one waits for.
fn have_started(ctx: &Context<Config>) -> Result<bool, TaskError> {
    if ctx.config.beside.is_empty() {
        return Ok(true);
    }
    let journal = std::fs::read_to_string(&ctx.config.journal)?;
    let has_started = |task: &String| journal.lines().any(|line| line.starts_with(&format!("run {task} ")));
    Ok(ctx.config.beside.iter().all(has_started))
}

/// Writes a line to the journal: the operation, the task and the run.
fn note(ctx: &Context<Config>, what: &str) -> Result<(), TaskError> {
    if !ctx.config.journal.is_empty() {
        let line = format!("{what} {} {}", Probe::definition().name, ctx.run_id());
        probe::note(&ctx.config.journal, &line)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(kilobytes) = number("PROBE_MEMORY_KB") {
        limit_memory(kilobytes);
    }
    if let Some(file) = std::env::var_os("PROBE_STARTS_WITH") {
        while !std::path::Path::new(&file).exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    match (std::env::var("PROBE_NO_TASK").as_deref(), number("PROBE_BYTES").unwrap_or(0)) {
        (Ok("returns"), _) => no_task(Ok("hello")),
        (Ok(_), bytes) => no_task(Err("no".repeat(usize::try_from(bytes).expect("a size") / 2))),
        (Err(_), _) => lamplighter::start(Probe),
    }
}

/// Starts this program again with limited memory, as Lambda does.
fn limit_memory(kilobytes: u64) {
    let program = std::env::current_exe().expect("the program's path");
    let limit = format!("unset PROBE_MEMORY_KB; ulimit -v {kilobytes}; exec \"$0\"");
    panic!("no shell: {}", Command::new("/bin/sh").arg("-c").arg(limit).arg(program).exec());
}

/// A function that is no task: it returns this text or fails with it.
fn no_task(result: Result<&'static str, String>) -> ExitCode {
    let serve = lambda_runtime::run(lambda_runtime::service_fn(
        move |_: lambda_runtime::LambdaEvent<serde_json::Value>| {
            let result = result.clone();
            async move { result.map_err(lambda_runtime::Error::from) }
        },
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(serve).expect("the Runtime API");
    ExitCode::SUCCESS
}
