//! Cron tasks on the emulator with real functions. The pulse starts a task every minute, and a schedule of EventBridge every
//! second minute. The history has one run for each tick.
//!
//! The first trigger of a tick starts its run, and the pulse skips a tick that already has a run. Every second tick has
//! only the pulse as its trigger, so the runs of these ticks show that the pulse works.
//!
//! The emulator does not replace `<aws.scheduler.scheduled-time>`. A small script between Lambda and the task's process
//! replaces it with the current minute, which is the tick: the emulator fires some seconds after it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use lamplighter_e2e::{Aws, Emulator, OnFailure, Sam, lamplighter, repository, run};
use serde_json::{Value, json};

const TASK: &str = "refresh-statistics";
/// The time until both triggers have fired. The pulse first runs a minute after its deployment, and has a tick of its own
/// at most two minutes later.
const PATIENCE: Duration = Duration::from_secs(260);

#[tokio::test]
async fn c20_a_schedule_and_the_pulse_both_fire_and_each_tick_has_one_run() {
    run(lamplighter().args(["build", "--dev"])).expect_success("lamplighter build --dev");
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events");
    fs::create_dir(&events).unwrap();
    lay_out(folder.path());
    let emulator = Emulator::start();
    let (sam, aws) = (Sam::new(&emulator.endpoint()), Aws::new(&emulator.endpoint()));
    let database = format!("sqlite:{}", folder.path().join("app.sqlite").display());
    let parameters = [("Events", events.to_str().unwrap()), ("Database", database.as_str())];
    let deployed = sam.deploy(&folder.path().join("template.yaml"), "cron", &parameters, OnFailure::RollBack);
    deployed.expect_success("sam deploy");
    let table = aws.stack_outputs("cron").await["Table"].clone();

    let started = Instant::now();
    let fired = loop {
        let fired = fired(&events);
        let of = |trigger: &str| fired.get(trigger).copied().unwrap_or(0);
        if of("schedule") > 0 && of("pulse") > 0 {
            break fired;
        }
        assert!(started.elapsed() < PATIENCE, "{fired:?} {:#?}", aws.logs("cron-lamplighter-pulse").await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    // Waits for the records of a run and of the pulse that started it.
    let due = |items: &[Value]| {
        let pulses = items.iter().filter(|item| item["pk"] == "PULSE" && item["sk"] != "STATE");
        pulses.filter_map(|pulse| pulse["due"].as_u64()).sum::<u64>()
    };
    let items = loop {
        let items = aws.scan(&table).await;
        if due(&items) > 0 && items.iter().any(|item| item["status"] == "COMPLETED") {
            break items;
        }
        assert!(started.elapsed() < PATIENCE, "{items:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let runs: Vec<_> = items.iter().filter(|item| item["pk"] == format!("RUNS#{TASK}#0")).collect();
    let mut ticks: BTreeMap<&str, usize> = BTreeMap::new();
    // A tick during another tick's run may be skipped.
    for run in runs.iter().filter(|run| run["status"] != "SKIPPED") {
        assert_eq!(run["status"], "COMPLETED", "{run}");
        *ticks.entry(run["scheduled_for"].as_str().unwrap()).or_default() += 1;
    }
    assert!(!ticks.is_empty() && ticks.values().all(|runs| *runs == 1), "{fired:?} {ticks:?}");
}

/// Writes the template with its two functions: the task with the script, and the pulse with a plan of its own.
fn lay_out(folder: &Path) {
    let (fixture, packages) =
        (repository().join("tests/fixtures/cron"), repository().join("target/lamplighter"));
    for name in ["task", "pulse"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    for (from, to) in [
        (fixture.join("template.yaml"), "template.yaml"),
        (fixture.join("bootstrap"), "task/bootstrap"),
        (packages.join(TASK).join("bootstrap"), "task/task"),
        (packages.join("pulse/bootstrap"), "pulse/bootstrap"),
    ] {
        fs::copy(from, folder.join(to)).unwrap();
    }
    let plan = fs::read_to_string(packages.join("pulse/tasks.json")).unwrap();
    let plan: Vec<Value> = serde_json::from_str(&plan).unwrap();
    let mut task = plan.into_iter().find(|task| task["definition"]["name"] == TASK).unwrap();
    assert_eq!(task["driver"], "pulse");
    task["definition"]["schedule"] = json!("* * * * *");
    task["definition"]["depends_on"] = json!([]);
    fs::write(folder.join("pulse/tasks.json"), json!([task]).to_string()).unwrap();
}

/// The number of events that the task received, by trigger.
fn fired(events: &Path) -> BTreeMap<String, usize> {
    let mut fired = BTreeMap::new();
    for event in fs::read_dir(events).unwrap() {
        let text = fs::read_to_string(event.unwrap().path()).unwrap();
        if let Ok(event) = serde_json::from_str::<Value>(&text) {
            *fired.entry(event["trigger"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    fired
}
