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
    sync::LazyLock,
    time::Instant,
};

use cargo_metadata::{Metadata, MetadataCommand};
use lamplighter_e2e::{Aws, CommandOutput, Emulator, OnFailure, Sam, lamplighter, repository, run};
use lamplighter_project::compile::cargo;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A program with credentials of the account and nothing else.
const SCRIPT: &str = r#"
use std::{error::Error, time::Duration};

use lamplighter::{Enqueue, Jobs, definition::Priority};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let jobs = Jobs::of_stack("shop").await?;
    let arguments = serde_json::json!({ "name": "Grace" });
    let job = Enqueue::<String>::new(&jobs, "mail", Priority::Medium, &arguments).await?;
    println!("{}", job.result(Duration::from_secs(60)).await?);
    Ok(())
}
"#;

/// A workspace as many are: a Lambda function, a library, and a SAM template with `Globals` at the root.
const EXISTING: [(&str, &str); 6] = [
    (
        "Cargo.toml",
        "# The shop.\n[workspace]\nmembers = [\n    \"lambdas/*\", # each is a function\n    \"libs/prices\",\n]\n\
         resolver = \"3\"\n",
    ),
    (
        "lambdas/api/Cargo.toml",
        "[package]\nname = \"api\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nprices = { path = \"../../libs/prices\" }\n",
    ),
    ("lambdas/api/src/main.rs", "fn main() {\n    println!(\"{}\", prices::PRICE);\n}\n"),
    ("libs/prices/Cargo.toml", "[package]\nname = \"prices\"\nversion = \"1.0.0\"\nedition = \"2024\"\n"),
    ("libs/prices/src/lib.rs", "pub const PRICE: u32 = 7;\n"),
    (
        "template.yaml",
        "AWSTemplateFormatVersion: \"2010-09-09\"\nTransform: AWS::Serverless-2016-10-31\n\
         Globals:\n  Function:\n    Timeout: 5\n\
         Resources:\n  Api:\n    Type: AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda }\n    \
         Properties: { CodeUri: lambdas/api, Handler: bootstrap, Runtime: provided.al2023 }\n",
    ),
];

/// The lock of a test that compiles: cargo gives packages at the same path in two workspaces the same intermediate files.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The repository's packages and folders.
static REPOSITORY: LazyLock<Metadata> =
    LazyLock::new(|| MetadataCommand::new().current_dir(repository()).no_deps().exec().unwrap());

/// The crates as they are published. The folder they are unpacked to stays, so that they are compiled once for several runs.
static CRATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let crates = REPOSITORY.target_directory.as_std_path().join("outside");
    unpack(&REPOSITORY, &crates);
    crates
});

/// A project outside the repository.
struct Outside {
    folder: TempDir,
    /// Where cargo compiles. By default it is where it compiles the repository, so that the dependencies are compiled once
    /// for both. With `OUTSIDE_COLD` the project is compiled as on a user's machine: with its own features, profile and
    /// folder. That takes minutes.
    build: PathBuf,
}

impl Outside {
    /// Starts a project.
    fn new() -> Self {
        let outside = Self::empty();
        let (kinds, source) = (["--no-input", "--kinds", "lifecycle,cron,queue,side"], Self::source());
        let new = [&["new", "shop"][..], &kinds, &[&source]].concat();
        let created = CommandOutput::of(&mut outside.command(outside.folder.path(), &new));
        assert_eq!(created.code, Some(0), "{created:?}");
        outside.prepare();
        outside
    }

    /// Takes the crates into a workspace that exists.
    fn existing() -> Self {
        let outside = Self::empty();
        for (file, text) in EXISTING {
            let path = outside.root().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        outside.lamplighter(&["init", &Self::source()]);
        outside.prepare();
        outside
    }

    /// A folder without a project.
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let build = if is_cold() {
            folder.path().join("target")
        } else {
            let build = REPOSITORY.build_directory.as_ref().unwrap_or(&REPOSITORY.target_directory);
            build.as_std_path().to_path_buf()
        };
        Self { folder, build }
    }

    /// The option that names the crates.
    fn source() -> String {
        format!("--source=path:{}", CRATES.display())
    }

    /// Lets a project without compiled dependencies use those of the repository.
    fn prepare(&self) {
        // The versions that are compiled already.
        fs::copy(repository().join("Cargo.lock"), self.root().join("Cargo.lock")).unwrap();
        if !is_cold() {
            self.share();
        }
    }

    /// Lets the project share compiled dependencies with the repository. For this it gets the same profile, and a
    /// package that requests the same features as the repository's packages.
    fn share(&self) {
        let manifest: toml_edit::DocumentMut =
            fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
        let mut config = toml_edit::DocumentMut::new();
        config["profile"]["dev"] = manifest["profile"]["dev"].clone();
        fs::create_dir_all(self.folder.path().join(".cargo")).unwrap();
        fs::write(self.folder.path().join(".cargo/config.toml"), config.to_string()).unwrap();
        let folder = self.root().join("shared-features");
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("build.rs"), "fn main() {}").unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        // With the features of all builds below, so that the crate is compiled once.
        let own = "[package]\nname = \"shared-features\"\nedition = \"2024\"\n\n\
                   [dependencies]\nlamplighter = { workspace = true, features = [\"stacks\", \"testing\"] }\n";
        fs::write(folder.join("Cargo.toml"), own).unwrap();
        self.add_member("shared-features");

        let ours = self.features(repository(), "normal,build,dev");
        let theirs = self.features(&self.root(), "normal,build,dev");
        let mut tables = [own.to_owned(), "\n[build-dependencies]\n".to_owned()];
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
        fs::write(folder.join("Cargo.toml"), tables.concat()).unwrap();
    }

    /// Makes a folder of the project a member of its workspace.
    fn add_member(&self, folder: &str) {
        let path = self.root().join("Cargo.toml");
        let manifest = fs::read_to_string(&path).unwrap();
        let members = "members = [";
        assert!(manifest.contains(members), "{manifest}");
        fs::write(path, manifest.replacen(members, &format!("{members}\"{folder}\", "), 1)).unwrap();
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

    /// The folder of the project's programs.
    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// A command of `lamplighter` in a folder, which compiles into the folder of this test.
    fn command(&self, folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = lamplighter();
        self.compile(command.current_dir(folder).args(arguments));
        command
    }

    fn cargo(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = cargo(folder);
        self.compile(command.args(arguments));
        command
    }

    fn compile(&self, command: &mut Command) {
        command
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_BUILD_BUILD_DIR", &self.build)
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

    /// Adds a program that enqueues a job of the deployed stack and prints its result.
    fn add_script(&self) {
        let folder = self.root().join("scripts/welcome");
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = "[package]\nname = \"welcome\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
                        [dependencies]\nlamplighter = { workspace = true, features = [\"stacks\"] }\nserde_json = \"1\"\n\
                        tokio = { version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }\n";
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join("src/main.rs"), SCRIPT).unwrap();
        self.add_member("scripts/welcome");
    }

    fn lamplighter(&self, arguments: &[&str]) -> CommandOutput {
        let output = CommandOutput::of(&mut self.command(&self.root(), arguments));
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        output
    }
}

fn is_cold() -> bool {
    std::env::var_os("OUTSIDE_COLD").is_some()
}

/// Packs the crates that can be published, and unpacks them.
fn unpack(metadata: &Metadata, to: &Path) {
    let published = metadata.packages.iter().filter(|package| package.publish.is_none());
    let names: Vec<_> = published.map(|package| package.name.to_string()).collect();
    assert!(names.iter().any(|name| name == "lamplighter-cli") && names.len() >= 10, "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    let mut package = cargo(repository());
    package.args(["package", "--no-verify", "--allow-dirty"]).env_remove("RUSTC_WORKSPACE_WRAPPER");
    package.args(names.iter().flat_map(|name| ["--package", name])).arg("--target-dir").arg(&packed);
    run(&mut package).expect_success("cargo package");
    let unpacked = folder.path().join("unpacked");
    fs::create_dir_all(&unpacked).unwrap();
    for name in names {
        let file = packed.join(format!("package/{name}-{}.crate", env!("CARGO_PKG_VERSION")));
        let done = Command::new("tar").arg("xzmf").arg(&file).arg("-C").arg(&unpacked).status().unwrap();
        assert!(done.success(), "{}", file.display());
    }
    replace(&unpacked, to);
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
async fn n01_n02_n04_q16_a_project_outside_the_repository_is_built_tested_deployed_and_used() {
    let _turn = ONE_AT_A_TIME.lock().await;
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

    outside.add_script();
    run(&mut outside.cargo(&root, &["test", "--workspace"])).expect_success("cargo test");
    run(&mut outside.cargo(&root, &["build", "--workspace", "--bin", "welcome"]))
        .expect_success("cargo build");

    lamplighter(&["generate"]);
    lamplighter(&["build", "--dev"]);
    let emulator = Emulator::start();
    let endpoint = emulator.endpoint();
    let (sam, aws) = (Sam::new(&endpoint), Aws::new(&endpoint));
    let parameters = [("Version", "1"), ("AnswerEndpoint", endpoint.as_str())];
    let deployed = sam.deploy(&root.join("infra/template.yaml"), "shop", &parameters, OnFailure::Stop);
    assert!(deployed.success, "{deployed:?} {:#?}", aws.stack_events("shop").await);
    let in_account = |command: &mut Command| {
        command
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        CommandOutput::of(command)
    };
    let stack = |folder: &Path, arguments: &[&str]| in_account(&mut outside.command(folder, arguments));
    let history: Value = stack(&root, &["history", "--aws", "--json"]).json();
    let runs = history["runs"].as_array().unwrap();
    let completed: Vec<_> =
        runs.iter().filter(|run| run["status"] == "COMPLETED").map(|run| &run["task"]).collect();
    assert!(completed.contains(&&json!("prepare")) && completed.contains(&&json!("greet")), "{history:#}");

    let result = in_account(&mut Command::new(outside.target().join("debug/welcome")));
    assert_eq!((result.code, result.stdout.as_str()), (Some(0), "hello, Grace\n"), "{result:?}");

    let elsewhere = tempfile::tempdir().unwrap();
    let tasks: Value = stack(elsewhere.path(), &["tasks", "--aws", "--stack", "shop", "--json"]).json();
    let names: Vec<_> = tasks.as_array().unwrap().iter().map(|task| &task["name"]).collect();
    assert_eq!(names, ["greet", "look", "mail", "nightly", "prepare", "tidy"]);
    let asked = Instant::now();
    let history: Value = stack(elsewhere.path(), &["history", "prepare", "--stack", "shop", "--json"]).json();
    println!("`history --stack` in an empty folder: {} ms", asked.elapsed().as_millis());
    assert_eq!(history["runs"][0]["status"], "COMPLETED", "{history:#}");
    let none = stack(elsewhere.path(), &["history", "--stack", "nobody"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("nobody"), "{none:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is written");
}

#[tokio::test]
async fn n03_an_existing_application_is_taken_in_built_and_deployed() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let outside = Outside::existing();
    let (root, lamplighter) = (outside.root(), |arguments: &[&str]| outside.lamplighter(arguments));
    lamplighter(&["add", "lifecycle", "load-prices"]);
    lamplighter(&["add", "cron", "tidy", "--schedule", "every day"]);
    lamplighter(&["generate"]);
    lamplighter(&["generate", "--check"]);
    let template = fs::read_to_string(root.join("infra/template.yaml")).unwrap();
    for part in ["  Api:", "CodeUri: ../lambdas/api", "  LoadPricesFunction:", "  TidyFunction:"] {
        assert!(template.contains(part), "{part}: {template}");
    }
    let up = lamplighter(&["up", "--version", "1", "--json"]).json();
    assert_eq!(up["status"], "CREATE_COMPLETE", "{up:#}");
    let history = lamplighter(&["history", "load-prices", "--json"]).json();
    assert_eq!(history["runs"][0]["status"], "COMPLETED", "{history:#}");
    run(&mut outside.cargo(&root, &["run", "--package", "api", "--offline"])).expect_success("cargo run");
    for (file, text) in EXISTING.iter().filter(|(file, _)| *file != "Cargo.toml") {
        assert_eq!(fs::read_to_string(root.join(file)).unwrap(), *text, "{file}");
    }
}
