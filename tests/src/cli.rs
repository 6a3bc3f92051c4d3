//! The `lamplighter` program of this workspace, called as a user calls it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::tools::repository;

/// A command that starts `lamplighter` in the repository. The program is built first, once for each test process.
pub fn lamplighter() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(build));
    command.current_dir(repository()).env("RUST_BACKTRACE", "0").env("LAMPLIGHTER_LOCALE", "en");
    command
}

/// Builds the program, and returns where it is.
fn build() -> PathBuf {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    // What cargo tells a test of its package: build scripts that watch it would run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    // With the workspace: alone it would have other features, and the SDK would be compiled once more for it.
    command.args(["build", "--workspace", "--bin", "lamplighter", "--message-format", "json"]);
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let made = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    made.filter(|message| message["target"]["name"] == "lamplighter")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where the program is")
}
