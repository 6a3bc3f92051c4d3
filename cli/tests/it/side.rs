//! Side tasks under a runner, with real processes and an embedded table.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use lamplighter_aws::table::History;
use lamplighter_core::{
    name::TaskName,
    retry::Retry,
    run::{ErrorKind, Run, Trigger},
    side::{Next, Pace},
    status::Status,
};
use lamplighter_local::FunctionSpec;
use lamplighter_runner::side::{Side, SideEvent, supervise};
use lamplighter_testkit::{example, machine::Machine};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(40);

/// A machine, whose folder has the probe's marks.
struct World(Machine);

impl Deref for World {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
}

/// A runner in this process.
struct Keeper {
    shutdown: CancellationToken,
    kept: JoinHandle<()>,
    answer: Arc<Mutex<Vec<String>>>,
    /// The decisions after failures: the number of failures in a row, and the pause.
    pauses: Arc<Mutex<Vec<(u32, Duration)>>>,
}

impl World {
    async fn new() -> Self {
        Self(Machine::new().await)
    }

    fn binary() -> PathBuf {
        example("side-probe")
    }

    fn variables(&self, mode: &str) -> BTreeMap<String, String> {
        let settings = json!({ "config": { "mode": mode, "folder": self.folder() } });
        let mut variables = self.0.variables();
        variables.insert("AWS_REGION".to_owned(), "us-east-1".to_owned());
        variables.insert("LAMPLIGHTER_SETTINGS".to_owned(), settings.to_string());
        variables
    }

    fn side(&self, mode: &str, pace: Pace) -> Side {
        Side {
            task: task(),
            command: Self::binary(),
            built: None,
            folder: None,
            current_folder: None,
            inherited: Vec::new(),
            variables: self.variables(mode),
            runner: "here".to_owned(),
            environment: "test".to_owned(),
            pace,
        }
    }

    fn keep(&self, mode: &str, pace: Pace) -> Keeper {
        let (side, table) = (self.side(mode, pace), self.table.clone());
        let (shutdown, answer) = (CancellationToken::new(), Arc::<Mutex<Vec<String>>>::default());
        let (stop, kept) = (shutdown.clone(), Arc::clone(&answer));
        let pauses = Arc::<Mutex<Vec<_>>>::default();
        let decided = Arc::clone(&pauses);
        let kept = tokio::spawn(async move {
            let tell = |it: SideEvent<'_>| {
                let text = match it {
                    SideEvent::Line(_, line) => line.to_owned(),
                    SideEvent::Ended(run, Next::Rest) => format!("ended {}, rests", run.status),
                    SideEvent::Ended(run, Next::StartAfter { failures, pause }) => {
                        decided.lock().unwrap().push((failures, pause));
                        format!("ended {}, {failures} failures", run.status)
                    }
                    other => format!("{other:?}"),
                };
                kept.lock().unwrap().push(text);
            };
            supervise(&side, &table, tell, stop).await;
        });
        Keeper { shutdown, kept, answer, pauses }
    }

    /// A runner in a process of its own.
    fn another(&self) -> Child {
        let mut command = Command::new(Self::binary());
        command.arg("keep").env_clear().envs(self.variables("wait")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn marks(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file has a number of lines.
    async fn marked(&self, file: &str, lines: usize) -> Vec<String> {
        let marked = async {
            while self.marks(file).len() < lines {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(LONG, marked).await;
        assert!(waited.is_ok(), "`{file}` has {:?}", self.marks(file));
        self.marks(file)
    }

    async fn runs(&self) -> Vec<Run> {
        self.table.history(&History::of(task(), 100)).await.unwrap().runs
    }
}

impl Keeper {
    /// Waits for an event whose text begins with `word`.
    async fn says(&self, word: &str) {
        let said = async {
            while !self.answer.lock().unwrap().iter().any(|text| text.starts_with(word)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, said).await.expect("the event does not occur");
    }

    async fn stop(self) -> Vec<String> {
        self.shutdown.cancel();
        timeout(LONG, self.kept).await.expect("the runner does not stop").unwrap();
        self.answer.lock().unwrap().clone()
    }
}

fn task() -> TaskName {
    "side-probe".parse().unwrap()
}

/// Restarts without a pause after failures.
fn quick() -> Pace {
    let pauses =
        Retry { max_attempts: u32::MAX, initial: Duration::from_millis(5), max: Duration::from_millis(20) };
    Pace { pauses, ..Pace::default() }
}

fn is_alive(process: &str) -> bool {
    Command::new("kill").args(["-0", process]).stderr(Stdio::null()).status().unwrap().success()
}

#[tokio::test]
async fn s01_a_side_task_is_refused_in_lambda_with_the_reason() {
    let world = World::new().await;
    let mut spec = FunctionSpec::new("side-probe", World::binary());
    spec.environment = world.variables("wait");
    world.host.register(spec);
    let invocation = world.host.invoke("side-probe", "{}").await.unwrap();
    let answer = String::from_utf8_lossy(&invocation.payload).into_owned();
    assert!(invocation.failed && answer.contains("`side-probe` is a side task"), "{answer}");
    assert_eq!((world.marks("begun").len(), world.runs().await.len()), (0, 0));
}

#[tokio::test]
async fn s02_a_stop_fires_the_cancellation_and_the_shutdown_once() {
    let world = World::new().await;
    let keeper = world.keep("wait", Pace::default());
    let process = world.marked("begun", 1).await.remove(0);
    let answer = keeper.stop().await;
    assert!(!is_alive(&process));
    assert_eq!((world.marks("cancelled").len(), world.marks("shutdowns").len()), (1, 1));
    assert_eq!(world.marks("errors").len(), 0);
    assert!(answer.contains(&"listening".to_owned()), "{answer:?}");
    let runs = world.runs().await;
    let [run] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((run.status, run.trigger), (Status::Completed, Trigger::Runner));
    assert_eq!(run.message.as_deref(), Some("stopped on request"));
    assert!(world.table.state(&task()).await.unwrap().lease.is_none(), "it is free");
}

#[tokio::test]
async fn s02_a_failure_calls_on_error_once_and_restarts_the_task() {
    for (mode, message) in [("fail", "the line is dead"), ("panic", "panicked: the line is dead")] {
        let world = World::new().await;
        let keeper = world.keep(mode, quick());
        world.marked("errors", 3).await;
        let answer = keeper.stop().await;
        let (begun, errors) = (world.marks("begun").len(), world.marks("errors"));
        assert_eq!((begun, errors[0].as_str()), (errors.len(), message));
        assert_eq!(world.marks("shutdowns").len(), 0);
        assert!(answer.contains(&"ended FAILED, 3 failures".to_owned()), "{answer:?}");
        let runs = world.runs().await;
        assert!(runs.len() >= 3, "{runs:?}");
        let error = runs.last().unwrap().error.clone().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Execution, message));
    }
}

#[tokio::test]
async fn s02_each_restart_waits_for_its_pause_whose_bound_doubles() {
    let world = World::new().await;
    let pauses =
        Retry { max_attempts: u32::MAX, initial: Duration::from_millis(20), max: Duration::from_millis(160) };
    let keeper = world.keep("fail", Pace { pauses, ..Pace::default() });
    world.marked("errors", 6).await;
    let decided = Arc::clone(&keeper.pauses);
    keeper.stop().await;
    let (mut runs, decided) = (world.runs().await, decided.lock().unwrap().clone());
    runs.reverse();
    assert!(decided.len() >= 5 && decided.len() <= runs.len(), "{decided:?} {runs:?}");
    for (number, (pair, (failures, pause))) in (1..).zip(runs.windows(2).zip(decided)) {
        assert_eq!(failures, number);
        assert!(pause <= pauses.longest_pause(failures), "{pause:?} after {failures} failures");
        let waited = pair[1].started_at.duration_since(pair[0].completed_at);
        // Times are stored in whole milliseconds.
        assert!(
            waited.as_millis() + 1 >= i128::try_from(pause.as_millis()).unwrap(),
            "{waited:?} of {pause:?}"
        );
    }
}

#[tokio::test]
async fn s02_a_killed_process_is_restarted() {
    let world = World::new().await;
    let keeper = world.keep("wait", quick());
    let process = world.marked("begun", 1).await.remove(0);
    assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    world.marked("begun", 2).await;
    keeper.stop().await;
    let runs = world.runs().await;
    let error = runs.last().unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::System);
    assert!(error.message.contains("signal: 9"), "{}", error.message);
}

#[tokio::test]
async fn s02_a_task_that_returns_is_not_restarted() {
    let world = World::new().await;
    let keeper = world.keep("return", quick());
    let ended = async {
        while world.runs().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, ended).await.expect("the run does not end");
    let answer = keeper.stop().await;
    assert_eq!(answer.last().map(String::as_str), Some("ended COMPLETED, rests"));
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0].message.as_deref()), (1, Some("there is nothing to do")));
}

#[tokio::test]
async fn s02_the_process_of_a_body_that_does_not_stop_is_ended() {
    let world = World::new().await;
    let keeper = world.keep("block", Pace::default());
    let process = world.marked("begun", 1).await.remove(0);
    keeper.stop().await;
    assert!(!is_alive(&process));
    assert_eq!(world.marks("shutdowns").len(), 1);
    assert_eq!(world.runs().await[0].status, Status::Completed);
}

#[tokio::test]
async fn s02_a_cancelled_run_ends_and_a_disabled_task_stays_off() {
    let world = World::new().await;
    let pace = Pace { heartbeat: Duration::from_millis(50), ..quick() };
    let keeper = world.keep("wait", pace);
    world.marked("begun", 1).await;
    world.table.enable(&task(), false).await.unwrap();
    keeper.says("Disabled").await;
    keeper.stop().await;
    assert_eq!(world.runs().await[0].status, Status::Cancelled);
    assert_eq!((world.marks("begun").len(), world.marks("shutdowns").len()), (1, 1));
}

#[tokio::test]
async fn s03_a_side_task_runs_in_one_of_two_runners_and_moves_when_that_is_killed() {
    let world = World::new().await;
    let mut first = world.another();
    let process = world.marked("begun", 1).await.remove(0);
    let pace = Pace { lease: Duration::from_secs(3), heartbeat: Duration::from_millis(500), ..quick() };
    let second = world.keep("wait", pace);
    second.says("Elsewhere").await;
    assert_eq!(world.marks("begun").len(), 1, "it runs once");

    first.kill().unwrap();
    first.wait().unwrap();
    let begun = world.marked("begun", 2).await;
    assert_ne!(begun[0], begun[1]);
    assert!(!is_alive(&process), "a runner takes its side task with it");
    assert_eq!(world.marks("cancelled").len(), 1);
    second.stop().await;
    let runs = world.runs().await;
    let [moved, lost] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((moved.status, lost.status), (Status::Completed, Status::Failed));
    assert_eq!(lost.error.as_ref().unwrap().kind, ErrorKind::System);
    assert!(moved.fencing_token > lost.fencing_token);
}
