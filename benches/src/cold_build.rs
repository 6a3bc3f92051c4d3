//! Benchmark: a clean build of a new project, compared with that of as many handwritten functions with the same SDK
//! crates. Part of `make bench`.
//!
//! The project has the profile that `lamplighter new` writes. The handwritten functions have cargo's default profile.
//! The project's profile saves more time than its tasks cost, so a second figure compares both with that profile. The
//! promise is on CPU time, which other load on the machine affects least.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{Measured, figures::sign, jobs::process::processor_of_ended_children};

/// The most that a project may take, as a ratio of the baseline's time.
const AT_MOST: f64 = 1.1;

/// The baseline's functions, as many as the new project has.
const FUNCTIONS: [&str; 6] = ["answer", "watch", "migrate", "tidy", "mail", "look"];

/// A function that uses each of the SDK crates that the functions of a project use.
const HANDWRITTEN: &str = r#"
use aws_config::BehaviorVersion;
use aws_smithy_http_client::{Builder, tls::{Provider, rustls_provider::CryptoMode}};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let config = &config;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let name = event.payload["name"].as_str().unwrap_or_default();
        aws_sdk_dynamodb::Client::new(config).describe_table().table_name(name).send().await?;
        aws_sdk_sqs::Client::new(config).get_queue_url().queue_name(name).send().await?;
        aws_sdk_s3::Client::new(config).head_bucket().bucket(name).send().await?;
        aws_sdk_lambda::Client::new(config).get_function().function_name(name).send().await?;
        aws_sdk_cloudformation::Client::new(config).describe_stacks().stack_name(name).send().await?;
        aws_sdk_sns::Client::new(config).publish().topic_arn(name).send().await?;
        aws_sdk_eventbridge::Client::new(config).describe_event_bus().name(name).send().await?;
        let answered = reqwest::get(name).await?;
        Ok::<Value, Error>(answered.status().as_u16().into())
    }))
    .await
}
"#;

/// The crates of [`HANDWRITTEN`].
const CRATES: [&str; 12] = [
    "aws-config",
    "aws-sdk-cloudformation",
    "aws-sdk-dynamodb",
    "aws-sdk-eventbridge",
    "aws-sdk-lambda",
    "aws-sdk-s3",
    "aws-sdk-sns",
    "aws-sdk-sqs",
    "aws-smithy-http-client",
    "lambda_runtime",
    "reqwest",
    "tokio",
];

/// The profile of a new project, as variables.
const PROFILE: [(&str, &str); 2] = [
    ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_DEV_BUILD_OVERRIDE_DEBUG", "line-tables-only"),
];

/// Builds both. Returns whether the promise is kept.
pub(crate) fn measure() -> Measured<bool> {
    let folder = tempfile::tempdir()?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the benchmark has no folder")?;
    let (baseline, project) = (folder.path().join("handwritten"), folder.path().join("shop"));
    write_baseline(&baseline, repository)?;
    write_project(&project, repository)?;
    println!("a build of {} functions from nothing", FUNCTIONS.len());
    let ([theirs, their_wait], [ours, our_wait]) = (build(&baseline, &[])?, build(&project, &[])?);
    let ratio = ours / theirs;
    println!(
        "{}  a new project, against handwritten functions {ours:>18.0} s CPU against {theirs:>4.0} s CPU = {ratio:.2} (at most \
         {AT_MOST}); waited {our_wait:.0} and {their_wait:.0} s",
        sign(ratio <= AT_MOST)
    );
    let [theirs, _] = build(&baseline, &PROFILE)?;
    println!(
        "      the handwritten functions with the project's profile {ours:>8.0} s CPU against {theirs:>4.0} s CPU = {:.2}",
        ours / theirs
    );
    Ok(ratio <= AT_MOST)
}

/// Builds a workspace in a new target folder, with these settings of cargo. Returns the processor's time and the time that
/// passed, in seconds.
fn build(workspace: &Path, settings: &[(&str, &str)]) -> Measured<[f64; 2]> {
    // The build does not include downloads.
    run(cargo(workspace).arg("fetch"))?;
    let target = workspace.join("target");
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    let (started, before) = (Instant::now(), processor_of_ended_children()?);
    run(cargo(workspace).args(["build", "--workspace", "--bins"]).envs(settings.iter().copied()))?;
    Ok([processor_of_ended_children()? - before, started.elapsed().as_secs_f64()])
}

fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace).env("CARGO_TARGET_DIR", workspace.join("target"));
    for variable in ["CARGO_INCREMENTAL", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

fn run(command: &mut Command) -> Measured<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Writes the handwritten functions, with the versions and features of the repository.
fn write_baseline(folder: &Path, repository: &Path) -> Measured<()> {
    let text = fs::read_to_string(repository.join("Cargo.toml"))?;
    let (_, dependencies) = text.split_once("[workspace.dependencies]").ok_or("no dependencies")?;
    let line = |name: &str| -> Measured<&str> {
        let is = |line: &&str| line.split(" = ").next() == Some(name);
        Ok(dependencies.lines().find(is).ok_or_else(|| format!("no dependency {name}"))?)
    };
    let mut manifest =
        "[workspace]\nresolver = \"3\"\nmembers = [\"functions/*\"]\n\n[workspace.dependencies]\n".to_owned();
    for name in CRATES.iter().chain(&["serde_json"]) {
        manifest.extend([line(name)?, "\n"]);
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::copy(repository.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    for function in FUNCTIONS {
        let package = folder.join("functions").join(function);
        fs::create_dir_all(package.join("src"))?;
        let mut manifest = format!(
            "[package]\nname = \"{function}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n"
        );
        for name in CRATES.iter().chain(&["serde_json"]) {
            manifest.extend([name, ".workspace = true\n"]);
        }
        fs::write(package.join("Cargo.toml"), manifest)?;
        fs::write(package.join("src/main.rs"), HANDWRITTEN)?;
    }
    Ok(())
}

/// Writes a new project, as its author would.
fn write_project(folder: &Path, repository: &Path) -> Measured<()> {
    let lamplighter = std::env::current_exe()?.with_file_name("lamplighter");
    let mut command = Command::new(lamplighter);
    command.args(["new", "shop", "--no-input", "--kinds", "lifecycle,cron,queue,side", "--source"]);
    command.arg(format!("path:{}", repository.display()));
    run(command.current_dir(folder.parent().ok_or("the project has no parent")?))?;
    fs::copy(repository.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}
