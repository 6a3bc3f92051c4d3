//! Compiling the functions: by cargo for this machine, or by cargo-lambda for AWS.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, IsTerminal as _, stderr},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use crate::{architecture::Architecture, workspace::Workspace};
use cargo_metadata::Message;
use rustix::process::{Pid, Signal, kill_process_group};

/// How long the last words of a cargo that has ended are waited for. A process that it left behind may have its output, too.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How the variables begin in which cargo tells a program which package it is of.
const OF_OUTER_CARGO: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Receives each line that cargo prints.
static OUTPUT: OnceLock<fn(&str)> = OnceLock::new();

/// Passes each line that cargo prints to `show`, for the rest of the process. The first call decides; without one the lines are dropped.
pub fn show_output(show: fn(&str)) {
    let _ = OUTPUT.set(show);
}

/// How functions are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly and for this machine, by cargo.
    Dev,
    /// Fast to run and for this machine, by cargo.
    Optimised,
    /// Small and for AWS, by cargo-lambda.
    Release {
        /// The processor they run on.
        architecture: Architecture,
        /// What links them.
        linker: Linker,
    },
}

/// What links a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linker {
    /// Zig, against the C library that AWS has, on any machine.
    #[default]
    Zig,
    /// This machine's own, which must be of the same kind, with a C library no newer than AWS has.
    Native,
}

impl Profile {
    /// Whether what it makes can be started here.
    pub fn runs_here(self) -> bool {
        match self {
            Self::Dev | Self::Optimised => true,
            Self::Release { architecture, .. } => {
                let ours = match std::env::consts::ARCH {
                    "x86_64" => Some(Architecture::X86_64),
                    "aarch64" => Some(Architecture::Arm64),
                    _ => None,
                };
                cfg!(target_os = "linux") && ours == Some(architecture)
            }
        }
    }
}

/// Why functions could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Cargo itself could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// What was run.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The compiler refused; its messages were shown as they came.
    #[error("`{program}` failed with {status}: what it said is above")]
    Failed {
        /// What was run.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// cargo-lambda is not there.
    #[error(
        "cargo-lambda is not installed: get it with `pip install cargo-lambda`, or build for this machine only \
         with `lamplighter build --dev`"
    )]
    NoCargoLambda,
    /// Cargo succeeded and left no binary.
    #[error("`{program}` made no binary `{binary}`")]
    Missing {
        /// What was run.
        program: String,
        /// What is missing.
        binary: String,
    },
}

/// Compiles every task of the workspace and no other function: where each binary is, by name.
pub fn tasks(workspace: &Workspace) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    here(workspace, &task_binaries(workspace).collect::<Vec<_>>(), false)
}

/// Compiles every task and every other function of the workspace: where each binary is, by name.
pub fn all(workspace: &Workspace, profile: Profile) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    let others = workspace.functions.iter().map(|f| (f.package.as_str(), f.name.as_str()));
    let binaries: Vec<_> = task_binaries(workspace).chain(others).collect();
    match profile {
        Profile::Dev => here(workspace, &binaries, false),
        Profile::Optimised => here(workspace, &binaries, true),
        Profile::Release { architecture, linker } => release(workspace, &binaries, architecture, linker),
    }
}

fn task_binaries(workspace: &Workspace) -> impl Iterator<Item = (&str, &str)> {
    workspace.tasks.iter().map(|task| (task.package.as_str(), task.name.as_str()))
}

fn here(
    workspace: &Workspace,
    binaries: &[(&str, &str)],
    optimised: bool,
) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    if binaries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let program = "cargo build";
    let mut command = cargo(&workspace.root);
    // The whole workspace, as `cargo build` and `cargo test` take it: a choice of packages would have other features,
    // and the SDK would be compiled once more for them. Of its binaries only these.
    command.args(["build", "--workspace", "--message-format", "json-render-diagnostics"]);
    for (_, binary) in binaries {
        command.args(["--bin", binary]);
    }
    if optimised {
        command.arg("--release");
    }
    let start = |source| CompileError::Start { program: program.to_owned(), source };
    if !stderr().is_terminal() {
        command.stderr(Stdio::piped());
    }
    let mut child = started(command.stdout(Stdio::piped())).map_err(start)?;
    let said = child.stderr.take().map(passed_on);
    let mut made = BTreeMap::new();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start)?
                && artifact.target.is_bin()
                && let Some(executable) = artifact.executable
            {
                made.insert(artifact.target.name, executable.into_std_path_buf());
            }
        }
    }
    let status = ended(&mut child).map_err(start)?;
    if let Some(said) = said {
        let _ = said.recv_timeout(LAST_WORDS);
    }
    if !status.success() {
        return Err(CompileError::Failed { program: program.to_owned(), status });
    }
    complete(program, binaries, |binary| made.remove(binary))
}

fn release(
    workspace: &Workspace,
    binaries: &[(&str, &str)],
    architecture: Architecture,
    linker: Linker,
) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    let program = "cargo lambda build";
    let start = |source| CompileError::Start { program: program.to_owned(), source };
    let version = cargo(&workspace.root)
        .args(["lambda", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(start)?;
    if !version.success() {
        return Err(CompileError::NoCargoLambda);
    }
    let made = workspace.cargo_target.join("lambda");
    let mut command = cargo(&workspace.root);
    command.args(["lambda", "build", "--release", "--output-format", "binary", "--lambda-dir"]).arg(&made);
    match architecture {
        // The native linker builds for this machine; naming a target would only move cargo's folders.
        Architecture::X86_64 if linker == Linker::Native => {}
        Architecture::X86_64 => drop(command.arg("--x86-64")),
        Architecture::Arm64 => drop(command.arg("--arm64")),
    }
    if linker == Linker::Native {
        command.args(["--compiler", "cargo"]);
    }
    select(&mut command, binaries);
    let status = command.stdout(Stdio::null()).status().map_err(start)?;
    if !status.success() {
        return Err(CompileError::Failed { program: program.to_owned(), status });
    }
    complete(program, binaries, |binary| {
        Some(made.join(binary).join("bootstrap")).filter(|path| path.is_file())
    })
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    // What `cargo run` and `cargo test` tell the program they start. Build scripts watch these variables, so a cargo that
    // inherits them would compile much of the workspace again, and so would the next one that does not.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_OUTER_CARGO.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// The process group of the cargo that runs, where somebody may end it.
#[expect(clippy::option_option, reason = "whether somebody may end it, and what runs")]
static CARGO_GROUP: Mutex<Option<Option<Pid>>> = Mutex::new(None);

/// Who may end the cargo that runs.
pub struct CargoGroup;

/// From here on cargo runs in a process group of its own: a Ctrl-C at the terminal does not reach it, and whoever has the
/// returned value ends it with all that it started.
pub fn in_own_group() -> CargoGroup {
    *CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(None);
    CargoGroup
}

impl CargoGroup {
    /// Ends the cargo that runs, if one does.
    pub fn terminate(&self) {
        if let Some(Some(group)) = *CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner) {
            // An error means that nobody is left in it.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

/// Starts cargo, in a group of its own if somebody may end it.
fn started(command: &mut Command) -> io::Result<Child> {
    let mut group = CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(running) = &mut *group else { return command.spawn() };
    let child = command.process_group(0).spawn()?;
    *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(child)
}

/// Passes on what cargo says, so that a reader of this program holds it up no more than this program. What is returned ends
/// when there is no more.
fn passed_on(said: ChildStderr) -> Receiver<()> {
    let (end, ended) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(said).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if let Some(show) = OUTPUT.get() {
                show(&String::from_utf8_lossy(&line));
            }
        }
        drop(end);
    });
    ended
}

/// Waits for cargo's end, after which its process id may be somebody else's.
fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    let status = child.wait();
    if let Some(group) = &mut *CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner) {
        *group = None;
    }
    status
}

fn select(command: &mut Command, binaries: &[(&str, &str)]) {
    for (package, binary) in binaries {
        command.args(["--package", package, "--bin", binary]);
    }
}

fn complete(
    program: &str,
    binaries: &[(&str, &str)],
    mut find: impl FnMut(&str) -> Option<PathBuf>,
) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    let found = |(_, binary): &(&str, &str)| match find(binary) {
        Some(path) => Ok(((*binary).to_owned(), path)),
        None => Err(CompileError::Missing { program: program.to_owned(), binary: (*binary).to_owned() }),
    };
    binaries.iter().map(found).collect()
}
