//! A task for tests, controlled by its configuration. Each start of its body adds a line to the file `bodies`, and each
//! rollback one to `rollbacks`, in the configured folder.

use std::{
    fmt,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use aws_sdk_dynamodb::types::{AttributeValue, Put};
use lamplighter::{
    TransactWriteItem,
    definition::{Cron, Definition, Kind},
    prelude::*,
};
use lamplighter_core::retry::Retry;
use lamplighter_testkit::probe::note;
use serde_json::json;

/// A time longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

/// The probe's behaviour, and values of every type.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "each is what the tests make of it")]
pub struct Config {
    /// The body's mode. The file `mode` in the folder overrides it.
    pub mode: String,
    pub folder: PathBuf,
    #[schemars(range(max = 10_000_000))]
    pub bytes: usize,
    pub secret: Secret,
    pub count: i64,
    pub ratio: f64,
    pub on: bool,
    pub names: Vec<String>,
    pub brittle: Brittle,
}

impl Default for Config {
    fn default() -> Self {
        assert!(std::env::var_os("PROBE_DEFAULT").is_none(), "no default today");
        Self {
            mode: "context".to_owned(),
            folder: PathBuf::new(),
            bytes: 0,
            secret: Secret::default(),
            count: 1,
            ratio: 0.5,
            on: false,
            names: Vec::new(),
            brittle: Brittle::default(),
        }
    }
}

/// A value that panics when `panic` is deserialized, or `panic-in-drop` is dropped.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Brittle(String);

impl<'de> Deserialize<'de> for Brittle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        assert!(text != "panic", "broken while it was read");
        Ok(Self(text))
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(self.0 != "panic-in-drop", "dropped badly");
    }
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("beyond words")
    }
}

impl std::error::Error for Unspeakable {}

/// Does what its configuration says.
#[task(timeout = "20s", attempts = 2, copy_assets = ["files"], validate = validate, rollback = rollback)]
pub async fn probe(ctx: Context<Config>) -> TaskResult {
    let folder = ctx.config.folder.clone();
    // Held until the end of this body or its process, so that a concurrent second body cannot have it.
    let alone = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("alone"))?;
    if alone.try_lock().is_err() {
        append(&folder, "overlaps", &ctx.run_id().to_string())?;
    }
    let mode = mode(&ctx.config);
    // The tests take this for the start of the body, and then set another mode for the next one.
    append(&folder, "bodies", &format!("{} {}", ctx.run_id(), ctx.attempt()))?;
    match mode.as_str() {
        "error" => Err(TaskError::new("it does not work")),
        "error-once" if ctx.attempt() == 1 => Err(TaskError::new("not at first")),
        "unspeakable" => Err(Unspeakable.into()),
        "fatal" => fs::read("/nowhere").map(|_| Outcome::success("found")).fatal(),
        "configuration" => Err(TaskError::configuration("nobody said where")),
        "dependency" => Err(TaskError::dependency("the shop is closed")),
        "commit" => commit(&ctx).await,
        "failure" => Ok(Outcome::failure("it cannot be done")),
        "panic-str" => panic!("as asked"),
        "panic-string" => panic!("as asked in {}", ctx.environment()),
        "panic-other" => std::panic::panic_any(7),
        "exit" => process::exit(0),
        "abort" => process::abort(),
        "sleep" => {
            tokio::time::sleep(LONG).await;
            Ok(Outcome::success("slept"))
        }
        "block" => Ok(block()),
        "print" => {
            // More than the pipe and the buffer behind it hold.
            for number in 0..3000 {
                println!("{number:0600}");
                eprintln!("{number:0600}");
            }
            Ok(Outcome::success("printed"))
        }
        "block-everywhere" => {
            let blocked: Vec<_> = (0..8).map(|_| tokio::spawn(async { block() })).collect();
            for body in blocked {
                let _ = body.await;
            }
            Ok(block())
        }
        "use-the-table-then-block" => {
            for _ in 0..3 {
                ctx.clients().dynamodb().await.list_tables().send().await.fatal()?;
            }
            Ok(block())
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "wait-for-cancellation" => {
            ctx.cancellation().cancelled().await;
            fs::write(folder.join("cancelled"), "in time")?;
            tokio::time::sleep(LONG).await;
            Ok(Outcome::success("not reached"))
        }
        "wait-for-go" => {
            while !folder.join("go").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(Outcome::success("went"))
        }
        "large" => Outcome::success("large").with_data(&"x".repeat(ctx.config.bytes)),
        "large-with-secret" => {
            Outcome::success("large").with_data(&vec![ctx.config.secret.expose(); ctx.config.bytes])
        }
        "long-message" => Err(TaskError::new("🕯".repeat(ctx.config.bytes))),
        "tell-secrets" => tell_secrets(&ctx),
        "fail-with-secret" => Err(TaskError::new(format!("refused {:?}", ctx.config.secret.expose()))),
        "panic-with-secret" => panic!("refused {}", ctx.config.secret.expose()),
        "keep-texts" => {
            // For the test only, since the record masks them.
            let texts =
                json!([ctx.config.secret.expose(), ctx.config.names, ctx.config.count, ctx.config.on]);
            fs::write(folder.join("texts"), texts.to_string())?;
            tracing::info!(names = ?ctx.config.names, "as Debug: {:?}", ctx.config);
            Outcome::success(format!("kept {}", ctx.config.names.join(" "))).with_data(&ctx.config.names)
        }
        "talk" => talk(&ctx),
        "leave-a-thread" => {
            let secret = ctx.config.secret.expose().to_owned();
            thread::spawn(move || {
                while !folder.join("go").exists() {
                    thread::sleep(Duration::from_millis(5));
                }
                tracing::info!("left behind with {secret}");
                thread::sleep(LONG);
            });
            Ok(Outcome::success("left"))
        }
        "files" => {
            let mut files = Vec::new();
            list(ctx.working_directory(), Path::new(""), &mut files)?;
            Outcome::success("listed").with_data(&files)
        }
        _ => context(&ctx),
    }
}

fn validate(ctx: &Context<Config>) -> Validity {
    match mode(&ctx.config).as_str() {
        "refuse" => Err(format!("not with {}", ctx.config.secret.expose())),
        "panic-in-validate" => panic!("invalid validation"),
        _ => Ok(()),
    }
}

#[expect(clippy::unused_async, reason = "a rollback is async as its task is")]
async fn rollback(ctx: Context<Config>) -> TaskResult {
    append(&ctx.config.folder, "rollbacks", &format!("{} {}", ctx.run_id(), ctx.trigger()))?;
    if ctx.config.names.iter().any(|name| name == "bad-rollback") {
        return Err(TaskError::new("cannot be undone"));
    }
    Ok(Outcome::success("undone"))
}

fn mode(config: &Config) -> String {
    fs::read_to_string(config.folder.join("mode")).unwrap_or_else(|_| config.mode.clone())
}

fn append(folder: &Path, file: &str, line: &str) -> std::io::Result<()> {
    note(folder.join(file), &format!("{line} {}", process::id()))
}

fn block() -> Outcome {
    thread::sleep(LONG);
    Outcome::success("slept")
}

fn context(ctx: &Context<Config>) -> TaskResult {
    Outcome::success("seen").with_data(&json!({
        "pid": process::id(),
        "attempt": ctx.attempt(),
        "environment": ctx.environment(),
        "config": *ctx.config,
        "secret_length": ctx.config.secret.expose().len(),
        "scheduled_for": ctx.scheduled_for(),
        "version": ctx.version(),
        "previous_version": ctx.previous_version(),
        "is_first_deploy": ctx.is_first_deploy(),
        "working_directory": ctx.working_directory(),
        "remaining_ms": u64::try_from(ctx.remaining().as_millis())?,
    }))
}

/// Writes an item for the run, once.
async fn commit(ctx: &Context<Config>) -> TaskResult {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = Put::builder()
        .table_name("lamplighter")
        .item("pk", text("EFFECT"))
        .item("sk", text(&ctx.run_id().to_string()))
        .condition_expression("attribute_not_exists(pk)")
        .build()?;
    let write = TransactWriteItem::builder().put(put).build();
    ctx.commit(vec![write.clone()]).await?;
    let again = ctx.commit(vec![write]).await.err().map(|error| error.to_string());
    Outcome::success("committed").with_data(&again)
}

fn tell_secrets(ctx: &Context<Config>) -> TaskResult {
    let secret = ctx.config.secret.expose();
    tracing::info!(config = ?ctx.config, plain = secret, quoted = ?secret, "the secret is {secret}");
    tracing::error!("as JSON: {}", json!(secret));
    let data = json!({ "list": [secret], secret: "a key", "text": format!("{secret:?}") });
    Outcome::success(format!("told {secret}")).with_data(&data)
}

fn talk(ctx: &Context<Config>) -> TaskResult {
    tracing::info!(n = 7, ratio = 0.5, yes = true, what = ?[1], "from the body\nin two lines");
    let threads = (0..4).map(|i| {
        thread::spawn(move || {
            for j in 0..50 {
                tracing::info!("from thread {i}, line {j}");
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        let _ = thread.join();
    }
    if ctx.attempt() == 1 { Err(TaskError::new("once more")) } else { Ok(Outcome::failure("said enough")) }
}

/// Returns every file in the folder, with its mode and text.
fn list(root: &Path, below: &Path, files: &mut Vec<(PathBuf, u32, String)>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut entries = fs::read_dir(root.join(below))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            list(root, &path, files)?;
        } else {
            let mode = entry.metadata()?.permissions().mode() & 0o111;
            files.push((path, mode, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

/// Retries whose longest pauses are 1 ms, 2 ms, 4 ms, to 1024 ms.
const OFTEN: Retry =
    Retry { max_attempts: 12, initial: Duration::from_millis(1), max: Duration::from_millis(1024) };

/// The probe as a hand-written cron task. The environment has the rest of its definition.
struct Scheduled;

impl Task for Scheduled {
    type Config = Config;
    type State = ();

    fn definition() -> Definition {
        let says = |name: &str| std::env::var_os(name).is_some();
        let schedule = if says("PROBE_DYNAMIC") { None } else { "@hourly".parse().ok() };
        Definition {
            kind: Kind::Cron(Cron { run_once: says("PROBE_RUN_ONCE"), ..Cron::new(schedule) }),
            rollback: false,
            retry: if says("PROBE_RETRIES") { OFTEN } else { Probe::definition().retry },
            result_schema: json!({
                "type": ["object", "null"],
                "properties": { "pid": { "type": "integer" }, "attempt": { "maximum": 1 } },
            }),
            ..Probe::definition()
        }
    }

    async fn run(&self, ctx: Context<Config>) -> TaskResult {
        probe(ctx).await
    }

    /// Reads the file `due`.
    async fn due(&self, ctx: Context<Config>) -> Due {
        append(&ctx.config.folder, "asked", &ctx.scheduled_for().unwrap_or_default().to_string())?;
        match fs::read_to_string(ctx.config.folder.join("due"))?.as_str() {
            "yes" => Ok(true),
            "panic" => panic!("who knows"),
            "sleep" => {
                tokio::time::sleep(LONG).await;
                Ok(true)
            }
            "block" => Ok(block().eq(&Outcome::success(""))),
            _ => Ok(false),
        }
    }
}

/// The probe with a state that counts its runs.
mod kept {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Config, Duration, append, fs, json, mode, process};
    use lamplighter::prelude::*;
    use tokio::runtime::Handle;

    pub struct Kept {
        uses: AtomicU32,
        folder: std::path::PathBuf,
        is_brittle: bool,
    }

    /// Needs a runtime, as the connections of a pool do.
    impl Drop for Kept {
        fn drop(&mut self) {
            let place = Handle::try_current().map_or("outside", |_| "inside");
            append(&self.folder, "dropped", place).expect("the folder exists");
            assert!(!self.is_brittle, "dropped badly");
        }
    }

    #[task(timeout = "20s", attempts = 2, state = open, teardown = close, rollback = undo)]
    pub async fn probe(ctx: Context<Config, Kept>) -> TaskResult {
        append(&ctx.config.folder, "bodies", &format!("{} {}", ctx.run_id(), ctx.attempt()))?;
        let uses = ctx.state().uses.fetch_add(1, Ordering::Relaxed) + 1;
        match mode(&ctx.config).as_str() {
            "failure" => Ok(Outcome::failure("it cannot be done")),
            "wait-for-go" => {
                while !ctx.config.folder.join("go").exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(Outcome::success("went"))
            }
            "http" => {
                let status = ctx.http().get(&ctx.config.names[0]).send().await?.status().as_u16();
                Outcome::success("asked").with_data(&json!({ "status": status, "uses": uses }))
            }
            _ => Outcome::success("used").with_data(&json!({ "pid": process::id(), "uses": uses })),
        }
    }

    #[expect(clippy::unused_async, reason = "it is async as those that wait are")]
    async fn open(ctx: Context<Config>) -> Result<Kept, TaskError> {
        append(&ctx.config.folder, "opened", &ctx.run_id().to_string())?;
        let opened = fs::read_to_string(ctx.config.folder.join("opened"))?.lines().count();
        match mode(&ctx.config).as_str() {
            "away" => Err(TaskError::new("the database is down")),
            "away-at-first" if opened == 1 => Err(TaskError::new("the database is down")),
            "no-password" => Err(TaskError::configuration("nobody said the password")),
            "panic" => panic!("no database"),
            mode => Ok(Kept {
                uses: AtomicU32::new(0),
                folder: ctx.config.folder.clone(),
                is_brittle: mode == "panic-in-drop",
            }),
        }
    }

    async fn close(kept: &Kept) {
        tokio::task::yield_now().await;
        let uses = kept.uses.load(Ordering::Relaxed).to_string();
        append(&kept.folder, "closed", &uses).expect("the folder exists");
    }

    #[expect(clippy::unused_async, reason = "it is async as those that wait are")]
    async fn undo(ctx: Context<Config, Kept>) -> TaskResult {
        append(&ctx.config.folder, "rollbacks", &ctx.state().uses.load(Ordering::Relaxed).to_string())?;
        Ok(Outcome::success("undone"))
    }
}

fn main() -> process::ExitCode {
    let is = |name: &str| std::env::var_os(name).is_some();
    if is("PROBE_CRON") {
        lamplighter::start(Scheduled)
    } else if is("PROBE_STATE") {
        lamplighter::start(kept::Probe)
    } else {
        lamplighter::start(Probe)
    }
}
