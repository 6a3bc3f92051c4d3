//! The linters a generated template has to pass.

use std::path::Path;

use crate::tools::{Finished, command, program, run};

/// `sam validate --lint`: SAM's own view of a template. Takes about four seconds.
pub fn sam_validate(template: &Path) -> Finished {
    let home = home();
    run(command(&program("sam", "sam"), home.path())
        .env("SAM_CLI_TELEMETRY", "0")
        .args(["validate", "--lint", "--template"])
        .arg(template))
}

/// `cfn-lint`: the template against the resource specifications. Takes about two seconds.
pub fn cfn_lint(template: &Path) -> Finished {
    let home = home();
    run(command(&program("cfn-lint", "cfn-lint"), home.path()).arg("--template").arg(template))
}

/// `checkov`: security findings. A resource explains an exception in its `Metadata`, as
/// `checkov: { skip: [{ id: CKV_AWS_117, comment: "why" }] }`. Takes about six seconds.
pub fn checkov(template: &Path) -> Finished {
    let home = home();
    run(command(&program("checkov", "checkov"), home.path())
        // What it would download are descriptions of the checks, and without a network it waits for them.
        .args(["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--file"])
        .arg(template))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
