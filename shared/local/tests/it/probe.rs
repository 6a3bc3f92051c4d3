//! Hosts with the probe function, and checks of its answers.

use std::{sync::Arc, time::Duration};

use lamplighter_local::{Clock, FunctionSpec, HostOptions, Invocation, LambdaHost};
use lamplighter_testkit::{example, log::Log};
use serde_json::Value;

/// The spec of `examples/probe.rs`, which `cargo test` builds beside the tests.
pub(crate) fn probe(name: &str) -> FunctionSpec {
    let mut spec = FunctionSpec::new(name, example("probe"));
    spec.timeout = Duration::from_secs(20);
    spec
}

pub(crate) async fn host_with(specs: impl IntoIterator<Item = FunctionSpec>) -> (Arc<LambdaHost>, Log) {
    host_by(Clock::default(), specs).await
}

/// A host with this wall clock.
pub(crate) async fn host_by(
    clock: Clock,
    specs: impl IntoIterator<Item = FunctionSpec>,
) -> (Arc<LambdaHost>, Log) {
    let (log, sink) = Log::new();
    let options = HostOptions { retry_pause: Duration::from_millis(10), clock, ..HostOptions::default() };
    let host = LambdaHost::start_with(options, sink).await.unwrap();
    for spec in specs {
        host.register(spec);
    }
    (Arc::new(host), log)
}

pub(crate) fn json(invocation: &Invocation) -> Value {
    serde_json::from_slice(&invocation.payload).unwrap()
}

/// Asserts a function error of this type and returns its message.
pub(crate) fn error(invocation: &Invocation, error_type: &str) -> String {
    let payload = json(invocation);
    assert!(invocation.failed, "{payload}");
    assert_eq!(payload["errorType"], error_type, "{payload}");
    payload["errorMessage"].as_str().unwrap().to_owned()
}

/// Returns true while the process runs; false for a zombie.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

pub(crate) async fn until_gone(pid: &str) {
    let gone = async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap_or_else(|_| panic!("{pid} still runs"));
}

pub(crate) fn parent_of(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned()
}
