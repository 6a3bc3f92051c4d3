//! Compiles the functions, with cargo for this machine or with cargo-lambda for AWS.

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
    time::{Duration, SystemTime},
};

use crate::{architecture::Architecture, workspace::Workspace};
use cargo_metadata::Message;
use rustix::process::{Pid, Signal, kill_process_group};

/// The time to wait for the rest of the output once cargo has ended. A process that cargo left behind may still hold the pipe.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// The prefixes of the variables by which an outer cargo describes the running program's package.
const OUTER_CARGO_PREFIXES: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Receives each line that cargo prints.
static OUTPUT: OnceLock<fn(&str)> = OnceLock::new();

/// Passes each line that cargo prints to `show`, for the rest of the process. Further calls have no effect. Without a call the
/// lines are dropped.
pub fn show_output(show: fn(&str)) {
    let _ = OUTPUT.set(show);
}

/// A way to compile functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Unoptimised and for this machine, with cargo.
    Dev,
    /// Optimised and for this machine, with cargo.
    Optimised,
    /// Small and for AWS, with cargo-lambda.
    Release {
        /// The processor that they run on.
        architecture: Architecture,
        /// Their linker.
        linker: Linker,
    },
}

/// The linker of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linker {
    /// Zig, on any machine. It links against the version of the C library that AWS has.
    #[default]
    Zig,
    /// This machine's own. The machine must be of the same architecture, with a C library no newer than the one in AWS.
    Native,
}

impl Profile {
    /// Returns true if the binaries can run on this machine.
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

/// The reason why functions could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Cargo itself could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// The compilation failed. Its messages were shown as they came.
    #[error("`{program}` failed with {status}: see its output above")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// cargo-lambda is not installed.
    #[error(
        "cargo-lambda is not installed: install it with `pip install cargo-lambda`, or build for this machine only \
         with `lamplighter build --dev`"
    )]
    NoCargoLambda,
    /// Cargo succeeded without a binary.
    #[error("`{program}` succeeded, but there is no binary `{binary}`")]
    Missing {
        /// The program.
        program: String,
        /// The missing binary.
        binary: String,
    },
}

/// Compiled binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The path of each binary, by its name.
    pub paths: BTreeMap<String, PathBuf>,
    /// The start of the compilation. A source file that was changed later may not be part of them.
    pub started: SystemTime,
}

/// Compiles the tasks of the workspace and no other function.
pub fn tasks(workspace: &Workspace) -> Result<Binaries, CompileError> {
    for_this_machine(workspace, &task_binaries(workspace).collect::<Vec<_>>(), false)
}

/// Compiles all functions of the workspace.
pub fn all(workspace: &Workspace, profile: Profile) -> Result<Binaries, CompileError> {
    let others = workspace.functions.iter().map(|f| (f.package.as_str(), f.name.as_str()));
    let binaries: Vec<_> = task_binaries(workspace).chain(others).collect();
    match profile {
        Profile::Dev => for_this_machine(workspace, &binaries, false),
        Profile::Optimised => for_this_machine(workspace, &binaries, true),
        Profile::Release { architecture, linker } => for_aws(workspace, &binaries, architecture, linker),
    }
}

fn task_binaries(workspace: &Workspace) -> impl Iterator<Item = (&str, &str)> {
    workspace.tasks.iter().map(|task| (task.package.as_str(), task.name.as_str()))
}

fn for_this_machine(
    workspace: &Workspace,
    binaries: &[(&str, &str)],
    optimised: bool,
) -> Result<Binaries, CompileError> {
    let started = SystemTime::now();
    if binaries.is_empty() {
        return Ok(Binaries { paths: BTreeMap::new(), started });
    }
    let program = "cargo build";
    let mut command = cargo(&workspace.root);
    // The features of dependencies are those of the whole workspace, as in `cargo build` and `cargo test`. With a selection of
    // packages they would differ, and cargo would compile the SDK once more.
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
    let mut child = spawn(command.stdout(Stdio::piped())).map_err(start)?;
    let output = child.stderr.take().map(pass_on);
    let mut built = BTreeMap::new();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start)?
                && artifact.target.is_bin()
                && let Some(executable) = artifact.executable
            {
                built.insert(artifact.target.name, executable.into_std_path_buf());
            }
        }
    }
    let status = wait(&mut child).map_err(start)?;
    if let Some(output) = output {
        let _ = output.recv_timeout(OUTPUT_GRACE);
    }
    if !status.success() {
        return Err(CompileError::Failed { program: program.to_owned(), status });
    }
    let paths = complete(program, binaries, |binary| built.remove(binary))?;
    Ok(Binaries { paths, started })
}

fn for_aws(
    workspace: &Workspace,
    binaries: &[(&str, &str)],
    architecture: Architecture,
    linker: Linker,
) -> Result<Binaries, CompileError> {
    let started = SystemTime::now();
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
    let folder = workspace.cargo_target.join("lambda");
    let mut command = cargo(&workspace.root);
    command.args(["lambda", "build", "--release", "--output-format", "binary", "--lambda-dir"]).arg(&folder);
    match architecture {
        // The native linker builds for this machine. A named target would only change cargo's folders.
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
    let paths = complete(program, binaries, |binary| {
        Some(folder.join(binary).join("bootstrap")).filter(|path| path.is_file())
    })?;
    Ok(Binaries { paths, started })
}

/// Returns a command of cargo in a folder, without the variables of a cargo that has started this process.
pub fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).stdin(Stdio::null());
    // `cargo run` and `cargo test` set these variables for the program that they start. Build scripts depend on them,
    // so cargo would compile much of the workspace again each time they are set or unset.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| OUTER_CARGO_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command
}

/// The process group of the running cargo, once [`in_own_group`] was called.
#[expect(clippy::option_option, reason = "whether cargo has a group of its own, and which one if it runs")]
static CARGO_GROUP: Mutex<Option<Option<Pid>>> = Mutex::new(None);

/// The process group of cargo, apart from this program's.
pub struct CargoGroup;

/// Runs cargo in a process group of its own from now on. A Ctrl-C at the terminal does not reach it; the returned value
/// terminates it.
pub fn in_own_group() -> CargoGroup {
    *CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(None);
    CargoGroup
}

impl CargoGroup {
    /// Terminates the running cargo with all of its processes, if there is one.
    pub fn terminate(&self) {
        if let Some(Some(group)) = *CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner) {
            // An error means that the group has no process any more.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

/// Starts cargo, in a process group of its own after [`in_own_group`].
fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut group = CARGO_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(running) = &mut *group else { return command.spawn() };
    let child = command.process_group(0).spawn()?;
    *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(child)
}

/// Passes on the lines that cargo prints, on a thread of its own, so that a slow reader of this program's output does not block
/// cargo. The returned receiver disconnects after the last line.
fn pass_on(output: ChildStderr) -> Receiver<()> {
    let (end, ended) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(output).split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if let Some(show) = OUTPUT.get() {
                show(&String::from_utf8_lossy(&line));
            }
        }
        drop(end);
    });
    ended
}

/// Waits for cargo to end. After that another process may have its id.
fn wait(child: &mut Child) -> io::Result<ExitStatus> {
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
