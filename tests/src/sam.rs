//! The SAM CLI against the emulator, called as users call it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{Finished, command, program, run};

/// Runs `sam build` in a folder with the template at this path below it. The functions are built on this machine.
pub fn sam_build(folder: &Path, template: &str) -> Finished {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let sam = program("sam", "sam");
    let mut command = command(&sam, home.path());
    // SAM's own Python builds the functions in Python.
    let mut path = sam.parent().expect("a program is in a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path);
    run(command.current_dir(folder).env("SAM_CLI_TELEMETRY", "0").args(["build", "--template", template]))
}

/// Lambda's name for the version of Python with which [`sam_build`] builds, such as `python3.11`.
pub fn python_runtime() -> String {
    let script = "import sys; print('python%d.%d' % sys.version_info[:2])";
    sam_python(script, &[]).expect_success("SAM's Python").trim().to_owned()
}

/// Runs a script with SAM's own Python, which has SAM's packages.
pub fn sam_python(script: &str, arguments: &[&str]) -> Finished {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    run(command(&program("sam", "python"), home.path()).args(["-c", script]).args(arguments))
}

/// The SAM CLI with an emulator's endpoint.
#[derive(Debug)]
pub struct Sam {
    endpoint: String,
    home: TempDir,
}

/// The behaviour of a stack after a failed deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It rolls back.
    RollBack,
    /// It keeps the resources that it has already.
    Stop,
}

impl Sam {
    /// Creates a CLI that uses only the emulator at `endpoint`.
    pub fn new(endpoint: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        Self { endpoint: endpoint.to_owned(), home }
    }

    /// Creates or updates the stack, and returns once CloudFormation is done. The reasons of a failure are in
    /// [`crate::Aws::stack_events`].
    pub fn deploy(
        &self,
        template: &Path,
        stack: &str,
        parameters: &[(&str, &str)],
        on_failure: OnFailure,
    ) -> Finished {
        let mut command = self.command();
        command
            .arg("deploy")
            .arg("--template-file")
            .arg(template)
            .args(["--stack-name", stack, "--resolve-s3", "--no-confirm-changeset"])
            .args(["--no-fail-on-empty-changeset", "--no-progressbar", "--region", "us-east-1"])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]);
        if on_failure == OnFailure::Stop {
            command.arg("--disable-rollback");
        }
        if !parameters.is_empty() {
            command.arg("--parameter-overrides");
            command.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
        }
        run(&mut command)
    }

    /// Deletes the stack, and returns once it is deleted.
    pub fn delete(&self, stack: &str) -> Finished {
        run(self.command().args(["delete", "--stack-name", stack, "--no-prompts", "--region", "us-east-1"]))
    }

    fn command(&self) -> Command {
        let mut command = command(&program("sam", "sam"), self.home.path());
        command
            .env("SAM_CLI_TELEMETRY", "0")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }
}
