//! The pinned tools, and how to run them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The result of a tool.
#[derive(Debug, Clone)]
#[must_use]
pub struct Finished {
    /// True if it exited with code 0.
    pub success: bool,
    /// Its standard output, then its standard error.
    pub output: String,
}

impl Finished {
    /// Returns the output of a tool that succeeded; panics with it otherwise.
    pub fn expect_success(self, what: &str) -> String {
        assert!(self.success, "{what} failed:\n{}", self.output);
        self.output
    }

    /// Returns the output of a tool that failed; panics with it otherwise.
    pub fn expect_failure(self, what: &str) -> String {
        assert!(!self.success, "{what} succeeded, but should have failed:\n{}", self.output);
        self.output
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a folder of the repository")
}

/// The path of a program that `tests/setup` installs.
pub(crate) fn program(tool: &str, name: &str) -> PathBuf {
    let path = repository().join(".tools").join(tool).join("bin").join(name);
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

/// A command whose environment has only the search path, so that no profile, credentials or proxy of the user affects a
/// test.
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

/// Updates the code of one function of the emulator at `endpoint` with `cargo lambda deploy`, as the README says. `package`
/// has its binary and its assets.
pub fn cargo_lambda_deploy(endpoint: &str, function: &str, package: &Path) -> Finished {
    // Needs the user's cargo, so it has the whole environment.
    run(Command::new(program("cargo-lambda", "cargo-lambda"))
        .current_dir(package)
        .args(["lambda", "deploy", "--binary-path", "bootstrap", "--include", "assets", "--manifest-path"])
        .arg(repository().join("Cargo.toml"))
        .arg(function)
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test"))
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
