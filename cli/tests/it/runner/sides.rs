//! S02, S03: side tasks under `lamplighter start`.

use serde_json::{Value, json};

use super::stage::Stage;

/// Returns true for an event of a side task.
fn event(name: &'static str, task: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == name && line["task"] == task
}

#[test]
fn s02_a_side_task_that_keeps_failing_does_not_affect_another_one() {
    let stage = Stage::new().side("good", "").side("bad", "fail");
    let mut runner = stage.start(&["start"], &[]);
    for _ in 0..3 {
        runner.until("a failure", event("side-ended", "bad"));
    }
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    let of = |name, task| said.iter().filter(|line| event(name, task)(line)).count();
    let failures = of("side-ended", "bad");
    assert_eq!((of("side-began", "good"), of("side-ended", "good")), (1, 1), "{said:#?}");
    let stopping = said.iter().position(|line| line["event"] == "stopping").unwrap();
    assert!(said.iter().position(event("side-ended", "good")) > Some(stopping), "{said:#?}");
    // The stop may end a run of `bad` before its body begins, or before it fails.
    let stopped = said[stopping..].iter().filter(|line| event("side-ended", "bad")(line)).count();
    assert!(stopped <= 1, "{said:#?}");
    // The marks of both tasks are in the same files.
    let marks = |file: &str| stage.workspace.read(file).lines().count();
    let failed = failures - stopped..=failures;
    assert!((failed.start() + 1..=failed.end() + 1).contains(&marks("begun")));
    assert!(failed.contains(&marks("errors")), "on_error is called once a failure");
    assert_eq!(marks("cancelled"), 1);
    assert!((1..=1 + stopped).contains(&marks("shutdowns")));
    let statuses =
        |task: &str| stage.history(task).iter().map(|run| run["status"].clone()).collect::<Vec<_>>();
    assert_eq!(statuses("good"), ["COMPLETED"]);
    assert_eq!(statuses("bad")[stopped..], vec![json!("FAILED"); failures - stopped]);
    assert_eq!(stage.processes(), 0);
}

#[test]
fn s03_a_running_side_task_is_not_started_again_and_moves_when_its_runner_is_killed() {
    let stage = Stage::new().side("side-probe", "");
    stage.workspace.dispatcher();
    let mut first = stage.start(&["start"], &[]);
    first.until("line `listening`", |line| line["message"] == "listening");
    let refused = stage.workspace.run(&["run", "side-probe"]).failed();
    assert!(refused.contains("side-probe is a side task"), "{refused}");
    let mut second = stage.start(&["start"], &[]);
    second.until("event `side-elsewhere`", event("side-elsewhere", "side-probe"));
    assert_eq!(stage.workspace.read("begun").lines().count(), 1);

    first.signal("KILL");
    drop(first);
    // The task moves when the lease of the killed runner has expired. The second runner also takes over the table.
    second.until("event `side-began`", event("side-began", "side-probe"));
    second.until("line `listening`", |line| line["message"] == "listening");
    second.signal("TERM");
    let (code, _, said) = second.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    assert_eq!(stage.workspace.read("begun").lines().count(), 2);
    let runs = stage.history("side-probe");
    let statuses: Vec<_> = runs.iter().map(|run| &run["status"]).collect();
    assert_eq!(statuses, ["COMPLETED", "FAILED"], "{runs:#?}");
    assert_eq!(runs[1]["why"]["kind"], "lost", "{runs:#?}");
    assert_eq!(stage.processes(), 0);
}
