//! Where the pinned tools are, and how one is run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How a tool ended.
#[derive(Debug, Clone)]
#[must_use]
pub struct Finished {
    /// Whether it exited with status 0.
    pub success: bool,
    /// What it wrote to standard output, then what it wrote to standard error.
    pub output: String,
}

impl Finished {
    /// The tool's output; panics with it unless the tool succeeded.
    pub fn expect_success(self, what: &str) -> String {
        assert!(self.success, "{what} failed:\n{}", self.output);
        self.output
    }

    /// The tool's output; panics with it unless the tool failed.
    pub fn expect_failure(self, what: &str) -> String {
        assert!(!self.success, "{what} succeeded, but should have failed:\n{}", self.output);
        self.output
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a folder of the repository")
}

/// A program of a tool that `tests/setup` installs.
pub(crate) fn program(tool: &str, name: &str) -> PathBuf {
    let path = repository().join(".tools").join(tool).join("bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

/// A command that sees nothing of the environment of whoever runs the tests but the search path: no profile, no
/// credentials and no proxy of theirs can change what a test does.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("AWS_DEFAULT_REGION", "us-east-1");
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Finished {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    Finished {
        success: output.status.success(),
        output: [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat(),
    }
}
