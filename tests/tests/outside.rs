//! A stranger's project: outside the repository, with the packed crates only.
//!
//! It is a program of its own, since other tests would wait for cargo's lock while it compiles.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use cargo_metadata::{Metadata, MetadataCommand};
use lamplighter_e2e::{Aws, CommandOutput, Emulator, OnFailure, Sam, lamplighter, repository, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project and the crates that it is built from.
struct Outside {
    folder: TempDir,
    /// Cargo's folder. By default it is the repository's, so that the dependencies are compiled once for both. With
    /// `OUTSIDE_COLD` the project is compiled as on a stranger's machine, which takes minutes: with its own features, profile and folder.
    target: PathBuf,
}

impl Outside {
    /// Packs and unpacks the crates, and starts a project.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_cold = std::env::var_os("OUTSIDE_COLD").is_some();
        let metadata = MetadataCommand::new().current_dir(repository()).no_deps().exec().unwrap();
        let ours = metadata.target_directory.clone().into_std_path_buf();
        let target = if is_cold { folder.path().join("target") } else { ours };
        let outside = Self { folder, target };
        outside.unpack(&metadata);
        let kinds = ["--no-input", "--kinds", "lifecycle,cron,queue,side"];
        let source = format!("--source=path:{}", outside.crates().display());
        let new = [&["new", "shop"][..], &kinds, &[&source]].concat();
        let created = CommandOutput::of(&mut outside.command(outside.folder.path(), &new));
        assert_eq!(created.code, Some(0), "{created:?}");
        // The versions that are compiled already.
        fs::copy(repository().join("Cargo.lock"), outside.root().join("Cargo.lock")).unwrap();
        if !is_cold {
            outside.share();
        }
        outside
    }

    /// The unpacked crates. Their path stays, so that they are compiled once for several runs.
    fn crates(&self) -> PathBuf {
        self.target.join("outside")
    }

    /// Lets the project share compiled dependencies with the repository: the same profile, and a package that asks for the features
    /// that others of the repository's packages ask for.
    fn share(&self) {
        let manifest: toml_edit::DocumentMut =
            fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
        let mut config = toml_edit::DocumentMut::new();
        config["profile"]["dev"] = manifest["profile"]["dev"].clone();
        fs::create_dir_all(self.folder.path().join(".cargo")).unwrap();
        fs::write(self.folder.path().join(".cargo/config.toml"), config.to_string()).unwrap();
        // A build without tests has the features that the packages themselves ask for.
        let ours = self.features(repository(), "normal,build,dev");
        let theirs = self.features(&self.root(), "normal,build");
        let mut tables = ["\n[dependencies]\n".to_owned(), "\n[build-dependencies]\n".to_owned()];
        let different = theirs
            .iter()
            .filter(|(package, features)| ours.get(*package).is_some_and(|own| own != *features));
        for (i, (package, _)) in different.enumerate() {
            let (name, version) = package.split_once(" v").unwrap();
            // Macros are compiled with features of their own.
            let table = &mut tables[usize::from(["syn", "quote", "proc-macro2"].contains(&name))];
            let _ = writeln!(
                table,
                "d{i} = {{ package = \"{name}\", version = \"={version}\", default-features = false, features = {:?} }}",
                ours[package]
            );
        }
        fs::create_dir_all(self.root().join("shared-features/src")).unwrap();
        let package = "[package]\nname = \"shared-features\"\nedition = \"2024\"\n";
        fs::write(self.root().join("shared-features/Cargo.toml"), format!("{package}{}", tables.concat()))
            .unwrap();
        fs::write(self.root().join("shared-features/build.rs"), "fn main() {}").unwrap();
        fs::write(self.root().join("shared-features/src/lib.rs"), "").unwrap();
        let manifest = fs::read_to_string(self.root().join("Cargo.toml")).unwrap();
        let members = "members = [";
        assert!(manifest.contains(members), "{manifest}");
        let manifest = manifest.replacen(members, &format!("{members}\"shared-features\", "), 1);
        fs::write(self.root().join("Cargo.toml"), manifest).unwrap();
    }

    /// The features of each dependency from the registry.
    fn features(&self, folder: &Path, edges: &str) -> BTreeMap<String, Vec<String>> {
        let line = ["tree", "--workspace", "--prefix", "none", "--format", "{p} [{f}]", "--edges", edges];
        let output = self.cargo(folder, &line).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter(|line| !line.contains("(/") && !line.contains("(proc-macro)"));
        lines
            .filter_map(|line| {
                let (package, features) =
                    line.trim_end_matches(" (*)").strip_suffix(']')?.split_once(" [")?;
                let features = features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned);
                Some((package.to_owned(), features.collect()))
            })
            .collect()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    fn unpack(&self, metadata: &Metadata) {
        let published = metadata.packages.iter().filter(|package| package.publish.is_none());
        let names: Vec<_> = published.map(|package| package.name.to_string()).collect();
        assert!(names.iter().any(|name| name == "lamplighter-cli") && names.len() >= 10, "{names:?}");
        let mut package = self.cargo(repository(), &["package", "--no-verify", "--allow-dirty"]);
        package.args(names.iter().flat_map(|name| ["--package", name]));
        let packed = run(package.arg("--target-dir").arg(self.folder.path().join("packed")));
        packed.expect_success("cargo package");
        let unpacked = self.folder.path().join("unpacked");
        fs::create_dir_all(&unpacked).unwrap();
        for name in names {
            let file = format!("packed/package/{name}-{}.crate", env!("CARGO_PKG_VERSION"));
            let file = self.folder.path().join(file);
            let done = Command::new("tar").arg("xzmf").arg(&file).arg("-C").arg(&unpacked).status().unwrap();
            assert!(done.success(), "{}", file.display());
        }
        replace(&unpacked, &self.crates());
    }

    /// A command of `lamplighter` in a folder, which compiles into the folder of this test.
    fn command(&self, folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = lamplighter();
        self.compile(command.current_dir(folder).args(arguments));
        command
    }

    fn cargo(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        self.compile(command.current_dir(folder).args(arguments).stdin(Stdio::null()));
        // Build scripts that read these variables would run again, and what depends on them would be compiled again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }

    fn compile(&self, command: &mut Command) {
        command
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "0")
            // The lints are those of the repository.
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
    }

    /// Adds the task of the README: its two dependencies, and the first Rust code in it.
    fn follow_the_readme(&self) {
        let readme = fs::read_to_string(repository().join("README.md")).unwrap();
        self.lamplighter(&["add", "lifecycle", "greet"]);
        let folder = self.root().join("functions/tasks/greet");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = ["schemars = \"1\"", "serde = { version = \"1\", features = [\"derive\"] }"];
        let named = |text: &str| {
            readme.replace(['\n', '`'], " ").split_whitespace().collect::<Vec<_>>().join(" ").contains(text)
        };
        assert!(dependencies.iter().all(|dependency| named(dependency)), "the README names the dependencies");
        let lamplighter = "lamplighter.workspace = true\n";
        let manifest =
            manifest.replacen(lamplighter, &format!("{lamplighter}{}\n", dependencies.join("\n")), 1);
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        let (_, code) = readme.split_once("```rust\n").unwrap();
        let (code, _) = code.split_once("```").unwrap();
        let code: Vec<_> = code.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
        assert!(code.iter().any(|line| line.starts_with("pub async fn greet(")), "{code:#?}");
        fs::write(folder.join("src/lib.rs"), code.join("\n")).unwrap();
    }

    fn lamplighter(&self, arguments: &[&str]) -> CommandOutput {
        let output = CommandOutput::of(&mut self.command(&self.root(), arguments));
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        output
    }
}

/// Makes `to` like `from`. A file that is the same stays as old as it is, so that cargo compiles only what has changed.
fn replace(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let names = |folder: &Path| -> BTreeSet<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    for gone in names(to).difference(&names(from)) {
        let path = to.join(gone);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            replace(&from, &to);
        } else if fs::read(&from).ok() != fs::read(&to).ok() {
            fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn n01_n02_n04_a_project_outside_the_repository_is_built_tested_deployed_and_used() {
    let started = Instant::now();
    let outside = Outside::new();
    let (root, lamplighter) = (outside.root(), |arguments: &[&str]| outside.lamplighter(arguments));
    lamplighter(&["generate", "--check"]);
    let first = lamplighter(&["up", "--version", "1", "--json"]).json();
    assert_eq!(first["status"], "CREATE_COMPLETE", "{first:#}");
    println!("from packing and `new` to the end of the first `up`: {:.0} s", started.elapsed().as_secs_f64());

    outside.follow_the_readme();
    lamplighter(&["add", "cron", "nightly", "--schedule", "every day"]);
    let source = root.join("functions/tasks/prepare/src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("the version before is {previous}\")))", "again, after {previous}\")))"))
        .unwrap();
    let second = lamplighter(&["up", "--version", "2", "--json"]).json();
    assert_eq!(second["status"], "UPDATE_COMPLETE", "{second:#}");
    let history = lamplighter(&["history", "--json"]).json();
    let messages: Vec<_> = history["runs"].as_array().unwrap().iter().map(|run| &run["message"]).collect();
    assert!(messages.contains(&&json!("prepared; again, after 1")), "{messages:?}");

    let job = lamplighter(&["enqueue", "mail", "{\"name\": \"Ada\"}"]).stdout.trim().to_owned();
    let mut runner =
        outside.command(&root, &["start"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let result = lamplighter(&["result", &job, "--timeout", "60s"]).stdout;
    assert!(result.contains("hello, Ada"), "{result}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&runner), rustix::process::Signal::TERM)
        .unwrap();
    assert!(runner.wait().unwrap().success());

    run(&mut outside.cargo(&root, &["test", "--workspace"])).expect_success("cargo test");

    lamplighter(&["generate"]);
    lamplighter(&["build", "--dev"]);
    let emulator = Emulator::start();
    let endpoint = emulator.endpoint();
    let (sam, aws) = (Sam::new(&endpoint), Aws::new(&endpoint));
    let parameters = [("Version", "1"), ("AnswerEndpoint", endpoint.as_str())];
    let deployed = sam.deploy(&root.join("infra/template.yaml"), "shop", &parameters, OnFailure::Stop);
    assert!(deployed.success, "{deployed:?} {:#?}", aws.stack_events("shop").await);
    let stack = |folder: &Path, arguments: &[&str]| {
        let mut command = outside.command(folder, arguments);
        let command = command
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        CommandOutput::of(command)
    };
    let history: Value = stack(&root, &["history", "--aws", "--json"]).json();
    let runs = history["runs"].as_array().unwrap();
    let completed: Vec<_> =
        runs.iter().filter(|run| run["status"] == "COMPLETED").map(|run| &run["task"]).collect();
    assert!(completed.contains(&&json!("prepare")) && completed.contains(&&json!("greet")), "{history:#}");

    let elsewhere = tempfile::tempdir().unwrap();
    let tasks: Value = stack(elsewhere.path(), &["tasks", "--aws", "--stack", "shop", "--json"]).json();
    let names: Vec<_> = tasks.as_array().unwrap().iter().map(|task| &task["name"]).collect();
    assert_eq!(names, ["greet", "look", "mail", "nightly", "prepare", "tidy"]);
    let history: Value = stack(elsewhere.path(), &["history", "prepare", "--stack", "shop", "--json"]).json();
    assert_eq!(history["runs"][0]["status"], "COMPLETED", "{history:#}");
    let none = stack(elsewhere.path(), &["history", "--stack", "nobody"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("nobody"), "{none:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is written");
}
