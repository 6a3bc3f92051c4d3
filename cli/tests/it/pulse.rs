//! P01, P03: `lamplighter pulse execute` and `pulse status` as processes.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_aws::{
    clients::local_dynamodb,
    table::{Table, create},
};
use lamplighter_core::pulse::{MissedTicks, Record, Tally};
use lamplighter_local::{Engine, Synchronous};
use serde_json::{Value, json};

use crate::{fixture::Workspace, runner::stage::Stage};

/// Opens the table of a workspace that no other process has open.
fn with_table(workspace: &Workspace, act: impl AsyncFnOnce(&Table)) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = Engine::open(&workspace.path(".lamplighter/table.sqlite"), Synchronous::Normal).unwrap();
        let client = local_dynamodb(&engine.serve().await.unwrap());
        // It may exist.
        let _ = create(&client, "shop-lamplighter").await;
        let table = Table::new(client, "shop-lamplighter");
        act(&table).await;
        drop(table);
        engine.close().await;
    });
}

#[test]
fn p01_pulse_execute_runs_what_is_due_or_chosen_and_counts_it() {
    let stage = Stage::new()
        .task("good", "* * * * *", "")
        .task("bad", "* * * * *", "fail")
        .task("rare", "0 0 1 1 *", "")
        .set("bad", "attempts = 1")
        .pulse();
    let execute = |more: &[&str]| stage.workspace.run(&[&["pulse", "execute"], more].concat());
    let counts = |more: &[&str], code: i32| {
        let ended = execute(&[more, &["--json"]].concat());
        assert_eq!(ended.code, code, "{more:?}: {ended:?}");
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        ["due", "executed", "succeeded", "failed", "skipped"].map(|key| report[key].as_u64().unwrap())
    };
    assert_eq!(counts(&["--dry-run"], 0), [2, 0, 0, 0, 0]);
    assert_eq!(stage.noted(), [] as [&str; 0]);
    let began =
        || stage.noted().iter().map(|note| note.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(counts(&["--task", "good"], 0), [1, 1, 1, 0, 0]);
    assert_eq!(began(), ["good"]);
    // The tick of `good` counts again, although it already has a run. If the next minute has begun, its next tick
    // counts.
    assert_eq!(counts(&[], 1), [2, 2, 1, 1, 0]);
    assert!(began().contains(&"bad".to_owned()), "{:?}", began());
    let before = began().len();
    assert_eq!(counts(&["--force", "--task", "rare"], 0), [1, 1, 1, 0, 0]);
    assert_eq!(began()[before..], ["rare"]);
    let forced = execute(&["--force"]);
    assert_eq!(forced.code, 1, "{forced:?}");
    assert!(forced.stdout.ends_with("due 3, executed 3, succeeded 2, failed 1, skipped 0\n"), "{forced:?}");
    let mut all = began().split_off(before + 1);
    all.sort();
    assert_eq!(all, ["bad", "good", "rare"]);
    stage.workspace.run(&["disable", "good"]).succeeded();
    assert_eq!(counts(&["--force", "--task", "good"], 0), [1, 0, 0, 0, 1]);
    let unknown = execute(&["--task", "god"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("did you mean `good`?"), "{unknown:?}");
}

#[test]
fn p03_the_pulse_status_shows_its_health_success_rate_and_times() {
    let workspace = Workspace::new();
    workspace.write("lamplighter.toml", "name = \"shop\"\n");
    workspace.task(
        "purge",
        "purge",
        json!({ "kind": "cron", "schedule": "0 * * * *", "timezone": "UTC", "priority": "medium" }),
    );
    // The record of a pulse of `ago` seconds before the test that took this time.
    let now = Timestamp::now();
    let pulse = |ago: u64, duration_ms: Option<u64>, tally: Tally| {
        let started_at = now - Duration::from_secs(ago);
        Record { duration_ms, tally, ..Record::begun(started_at) }
    };
    let status = || {
        let text = workspace.run(&["pulse", "status"]).succeeded();
        let json: Value =
            serde_json::from_str(&workspace.run(&["pulse", "status", "--json"]).succeeded()).unwrap();
        assert!(text.starts_with(&format!("the pulse is {}\n", json["status"].as_str().unwrap())), "{text}");
        (text, json)
    };
    let record = |pulses: &[Record]| {
        with_table(&workspace, async |table| {
            for pulse in pulses {
                table.end_pulse(pulse).await.unwrap();
            }
        });
    };
    let well = |due| Tally { due, executed: due, succeeded: due, ..Tally::default() };
    let (_, unknown) = status();
    assert_eq!((&unknown["status"], &unknown["pulses"]), (&json!("UNKNOWN"), &json!(0)), "{unknown:#}");
    for key in ["success_rate", "average_ms", "slowest_ms", "last"] {
        assert_eq!(unknown[key], Value::Null, "{key}");
    }

    record(&[pulse(900, Some(100), well(1)), pulse(840, Some(300), well(0))]);
    assert_eq!(status().1["status"], "SILENT", "the last one was long ago");
    record(&[pulse(120, Some(200), well(3))]);
    assert_eq!(status().1["status"], "HEALTHY");
    let failed = Tally { due: 2, executed: 2, succeeded: 1, failed: 1, ..Tally::default() };
    let last = pulse(60, Some(1000), failed);
    record(std::slice::from_ref(&last));
    let (text, failing) = status();
    assert_eq!(failing["status"], "FAILING");
    let numbers = ["pulses", "success_rate", "average_ms", "slowest_ms"].map(|key| &failing[key]);
    assert_eq!(numbers, [&json!(4), &json!(75), &json!(400), &json!(1000)], "{failing:#}");
    assert_eq!(failing["last"]["started_at"], json!(last.started_at));
    for part in ["due 2, executed 2, succeeded 1, failed 1, skipped 0", "75 %", "400 ms", "1.0 s"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    // A pulse in progress does not count, and a pulse that missed ticks is not successful.
    record(&[pulse(0, None, Tally::default())]);
    let (_, running) = status();
    assert_eq!(
        (&running["status"], &running["success_rate"]),
        (&json!("FAILING"), &json!(75)),
        "{running:#}"
    );
    record(&[pulse(0, Some(900), well(1))]);
    let task = "purge".parse().unwrap();
    let at = Timestamp::now();
    let missed = MissedTicks { task, ticks: 1, first: at, last: at };
    let missed =
        Record { misses: vec![missed], ..pulse(0, Some(1), Tally { missed: 1, ..Tally::default() }) };
    record(&[missed]);
    assert_eq!(status().1["status"], "FAILING");
}
