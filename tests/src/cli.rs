//! The `lamplighter` program of this workspace, called as users call it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use lamplighter_project::compile::cargo;
use serde_json::Value;
use tempfile::TempDir;

use crate::tools::repository;

/// The time for which a command is repeated until it ends as expected.
const PATIENCE: Duration = Duration::from_secs(180);
/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// The result of a command.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, without cargo's own lines.
    pub stderr: String,
}

/// A test's own home of local stacks, with a database in it.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl CommandOutput {
    /// Runs the command to its end.
    pub fn of(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::wait(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
    }

    /// Waits for the end of a command that was started with piped output.
    pub fn wait(child: Child) -> Self {
        let output = child.wait_with_output().expect("a child can be waited for");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let is_cargos =
            |line: &str| ["Finished", "Blocking"].iter().any(|verb| line.trim_start().starts_with(verb));
        let own = stderr.lines().filter(|line| !is_cargos(line));
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: own.flat_map(|line| [line, "\n"]).collect(),
        }
    }

    /// Repeats the command until its result is accepted.
    pub fn until(mut command: impl FnMut() -> Command, so: impl Fn(&Self) -> bool) -> Self {
        let started = Instant::now();
        loop {
            let ended = Self::of(&mut command());
            if so(&ended) {
                return ended;
            }
            assert!(started.elapsed() < PATIENCE, "{:?}: {ended:?}", command());
            thread::sleep(PAUSE);
        }
    }

    /// Its standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Home {
    /// Creates an empty home.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// The home's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file of the home's database.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("app.sqlite")
    }

    /// A `lamplighter` command with this home and its database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = lamplighter();
        let database = format!("sqlite:{}", self.database().display());
        command.args(arguments).arg("--home").arg(self.path()).env("DATABASE_URL", database);
        command
    }

    /// Runs a `lamplighter` command to its end.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(&mut self.command(arguments))
    }

    /// Starts a `lamplighter` command with piped output.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program can be started")
    }
}

/// A command that starts `lamplighter` in the repository. Builds the program first, once for each test process.
pub fn lamplighter() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(build));
    command.current_dir(repository()).env("RUST_BACKTRACE", "0").env("LAMPLIGHTER_LOCALE", "en");
    command
}

/// The program of the example application.
pub fn site() -> PathBuf {
    Path::new(lamplighter().get_program()).with_file_name("site")
}

/// Builds the program and returns its path.
fn build() -> PathBuf {
    let mut command = cargo(repository());
    // Builds the workspace and an example, so that the features are those of the tests. With others cargo would compile the
    // program and its dependencies again.
    command.args([
        "build",
        "--workspace",
        "--bin",
        "lamplighter",
        "--bin",
        "site",
        "--example",
        "queue-probe",
    ]);
    command.args(["--message-format", "json"]);
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let made = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    made.filter(|message| message["target"]["name"] == "lamplighter")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where the program is")
}
