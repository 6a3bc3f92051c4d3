//! The linters that a generated template must pass.

use std::path::Path;

use crate::tools::{Finished, command, program, run};

/// Runs `sam validate --lint`. Takes about four seconds.
pub fn sam_validate(template: &Path) -> Finished {
    let home = home();
    run(command(&program("sam", "sam"), home.path())
        .env("SAM_CLI_TELEMETRY", "0")
        .args(["validate", "--lint", "--template"])
        .arg(template))
}

/// Runs `cfn-lint`, which checks the template against the resource specifications. Takes about two seconds.
pub fn cfn_lint(template: &Path) -> Finished {
    let home = home();
    run(command(&program("cfn-lint", "cfn-lint"), home.path()).arg("--template").arg(template))
}

/// Runs `checkov`, which reports security findings. A resource explains an exception in its `Metadata`, as
/// `checkov: { skip: [{ id: CKV_AWS_117, comment: "why" }] }`. Takes about six seconds.
pub fn checkov(template: &Path) -> Finished {
    let home = home();
    run(command(&program("checkov", "checkov"), home.path())
        // Prevents the download of the checks' descriptions, for which it waits without a network.
        .args(["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--file"])
        .arg(template))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
