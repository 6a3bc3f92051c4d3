//! Temporary workspaces.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A workspace that is deleted with this value.
pub(crate) struct Workspace {
    folder: PathBuf,
    _above: TempDir,
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workspace {
    /// A workspace without packages.
    pub(crate) fn new() -> Self {
        let workspace = Self::empty();
        workspace.write_manifest();
        workspace
    }

    /// A folder that is not a workspace.
    pub(crate) fn empty() -> Self {
        Self::called("shop")
    }

    /// A folder of this name that is not a workspace.
    pub(crate) fn called(name: &str) -> Self {
        let above = tempfile::Builder::new().prefix("lamplighter-").tempdir().unwrap();
        let folder = above.path().join(name);
        fs::create_dir(&folder).unwrap();
        Self { folder, _above: above }
    }

    /// Makes every package below `functions/` a member.
    pub(crate) fn write_manifest(&self) {
        let mut members = Vec::new();
        find_packages(&self.path("functions"), &mut members);
        let members: Vec<_> = members.iter().map(|path| path.strip_prefix(&self.folder).unwrap()).collect();
        self.write("Cargo.toml", &format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n"));
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// A package in `functions/tasks` whose program runs that binary, a probe that describes itself.
    pub fn probe(&self, name: &str, binary: &Path) {
        let program = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{\n\
                 let arguments = std::env::args().skip(1);\n\
                 panic!(\"{{}}\", std::process::Command::new(\"{}\").args(arguments).exec());\n\
             }}\n",
            binary.display()
        );
        self.package(&format!("functions/tasks/{name}"), name, &program);
    }

    /// A package with this program.
    pub(crate) fn package(&self, folder: &str, name: &str, program: &str) {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        self.write(&format!("{folder}/Cargo.toml"), &manifest);
        self.write(&format!("{folder}/src/main.rs"), program);
        self.write_manifest();
    }

    /// Removes a package.
    pub(crate) fn remove(&self, folder: &str) {
        fs::remove_dir_all(self.path(folder)).unwrap();
        self.write_manifest();
    }

    /// A task with these keys in its definition, and its name.
    pub(crate) fn task(&self, folder: &str, name: &str, keys: Value) {
        self.package(&format!("functions/tasks/{folder}"), name, &Self::program(name, keys));
    }

    /// The program of a task with these keys in its definition, and its name.
    pub(crate) fn program(name: &str, keys: Value) -> String {
        format!("fn main() {{ println!(\"{{}}\", r####\"{}\"####); }}", definition(name, keys))
    }

    /// Makes these folders the members.
    pub(crate) fn members(&self, members: &[&str]) {
        self.write("Cargo.toml", &format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n"));
    }

    /// A dispatcher that does nothing.
    pub(crate) fn dispatcher(&self) {
        self.package("functions/dispatcher", "dispatcher", "fn main() {}");
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> CommandOutput {
        Self::output(&self.folder, arguments, environment)
    }

    /// Runs a command in another folder.
    pub(crate) fn run_in(&self, folder: &Path, arguments: &[&str]) -> CommandOutput {
        Self::output(&self.folder.join(folder), arguments, &[])
    }

    fn output(folder: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> CommandOutput {
        let output = Command::new(env!("CARGO_BIN_EXE_lamplighter"))
            .args(arguments)
            .current_dir(folder)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env("CARGO_NET_OFFLINE", "true")
            .env("LAMPLIGHTER_LOCALE", "en")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        CommandOutput {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl CommandOutput {
    /// The standard output of a command that must have succeeded.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// The error of a command that must have failed, from `error:` on.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, 1, "{}", self.stderr);
        let start = self.stderr.rfind("error: ").unwrap();
        self.stderr[start..].to_owned()
    }
}

fn find_packages(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        } else {
            find_packages(&path, found);
        }
    }
}

pub(crate) fn definition(name: &str, keys: Value) -> Value {
    let mut definition = json!({
        "lamplighter": env!("CARGO_PKG_VERSION"), "name": name, "description": "", "kind": "lifecycle",
        "run_on": ["deploy", "update"], "phase": "before",
        "once_per": "deployment", "depends_on": [], "timeout_ms": 300_000,
        "retry": { "max_attempts": 3, "initial_ms": 500, "max_ms": 30_000 }, "copy_assets": [], "rollback": false,
        "config": null, "config_schema": {},
    });
    let Value::Object(keys) = keys else { panic!("keys are an object") };
    for (key, value) in keys {
        definition[key] = value;
    }
    definition
}
