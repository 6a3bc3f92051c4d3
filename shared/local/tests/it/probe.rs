//! Hosts with the probe function, and checks of its answers.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use lamplighter_local::{Clock, FunctionSpec, HostOptions, Invocation, LambdaHost, LogLine};
use serde_json::Value;
use tokio::sync::watch;

/// The spec of `examples/probe.rs`, which `cargo test` builds beside the tests.
pub(crate) fn probe(name: &str) -> FunctionSpec {
    let test = std::env::current_exe().unwrap();
    let binary: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/probe");
    assert!(
        binary.exists(),
        "{} is missing: run a whole `cargo test -p lamplighter-local`",
        binary.display()
    );
    let mut spec = FunctionSpec::new(name, binary);
    spec.timeout = Duration::from_secs(20);
    spec
}

/// The lines so far.
#[derive(Clone)]
pub(crate) struct Lines(watch::Receiver<Vec<LogLine>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<LogLine> {
        self.0.borrow().clone()
    }

    pub(crate) async fn containing(&self, text: &str) -> LogLine {
        let mut lines = self.0.clone();
        let found = |lines: &Vec<LogLine>| lines.iter().any(|it| it.line.contains(text));
        let lines = tokio::time::timeout(Duration::from_secs(20), lines.wait_for(found)).await;
        let lines = lines.unwrap_or_else(|_| panic!("no line with {text:?}: {:?}", self.all())).unwrap();
        lines.iter().find(|it| it.line.contains(text)).unwrap().clone()
    }
}

pub(crate) async fn host_with(specs: impl IntoIterator<Item = FunctionSpec>) -> (Arc<LambdaHost>, Lines) {
    host_by(Clock::default(), specs).await
}

/// A host with this wall clock.
pub(crate) async fn host_by(
    clock: Clock,
    specs: impl IntoIterator<Item = FunctionSpec>,
) -> (Arc<LambdaHost>, Lines) {
    let (sender, lines) = watch::channel(Vec::new());
    let sender = Mutex::new(sender);
    let options = HostOptions { retry_pause: Duration::from_millis(10), clock, ..HostOptions::default() };
    let sink = move |line| sender.lock().unwrap().send_modify(|lines: &mut Vec<LogLine>| lines.push(line));
    let host = LambdaHost::start_with(options, sink).await.unwrap();
    for spec in specs {
        host.register(spec);
    }
    (Arc::new(host), Lines(lines))
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
