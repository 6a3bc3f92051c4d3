//! The commands that only read, as processes, on a table with known runs.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::{local_dynamodb, signed_config},
    objects::Objects,
    table::{Recorded, Table, create},
};
use lamplighter_core::{
    claim::{KnownSchedule, Refusal},
    id::RunId,
    run::{Attempt, ErrorKind, Run, RunError, Trigger},
    statistics::floor,
    status::Status,
};
use lamplighter_local::{Bucket, Credentials, Engine, Synchronous};
use serde_json::{Value, json};

use crate::fixture::Workspace;

/// A workspace with an hourly task, and the hours at which it completed, was skipped and failed.
struct World {
    workspace: Workspace,
    completed: Run,
    skipped: Run,
    failed: Run,
    missed: Timestamp,
}

fn run(tick: Timestamp, status: Status) -> Run {
    let started_at = tick + Duration::from_secs(2);
    let attempt = Attempt { started_at, duration_ms: 50, error: None };
    Run {
        status,
        scheduled_for: Some(tick),
        completed_at: started_at + Duration::from_millis(50),
        attempts: if status == Status::Skipped { Vec::new() } else { vec![attempt] },
        ..Run::begun(RunId::new(started_at, 7), "purge".parse().unwrap(), Trigger::Schedule, started_at)
    }
}

/// A value that is too large for a record.
fn large() -> Value {
    json!({ "größe": ["🕯".repeat(30_000), null, { "": u64::MAX }] })
}

fn world() -> World {
    let workspace = Workspace::new();
    workspace.write("lamplighter.toml", "name = \"shop\"\n");
    let cron = json!({
        "kind": "cron", "schedule": "0 * * * *", "timezone": "UTC", "priority": "medium",
        "category": "billing", "tags": ["nightly"], "config": { "batch": 100 },
        "config_schema": { "properties": { "batch": { "type": "integer" } } },
    });
    workspace.task("purge", "purge", cron);
    workspace.task("seed", "seed", json!({}));
    let hours_ago = |hours: u64| floor(Timestamp::now()) - Duration::from_secs(hours * 3600);
    let completed = Run { data: Some(large()), ..run(hours_ago(1), Status::Completed) };
    let refusal = Refusal::PreviousInstanceRunning { run_id: completed.id, until: completed.started_at };
    let skipped = run(hours_ago(2), Status::Skipped).because(refusal.reason());
    let error = Some(RunError::new(ErrorKind::Execution, "the disk is full"));
    let failed = Run { error, ..run(hours_ago(4), Status::Failed) };
    let world = World { workspace, completed, skipped, failed, missed: hours_ago(3) };
    record(&world.workspace, &[&world.completed, &world.skipped, &world.failed]);
    world
}

/// Creates the table of this machine, with these records.
fn record(workspace: &Workspace, runs: &[&Run]) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = Engine::open(&workspace.path(".lamplighter/table.sqlite"), Synchronous::Normal).unwrap();
        let client = local_dynamodb(&engine.serve().await.unwrap());
        create(&client, "shop-lamplighter").await.unwrap();
        let folder = workspace.path(".lamplighter/bucket");
        let bucket = Bucket::serve(&folder, "shop-lamplighter").await.unwrap();
        let Credentials { access_key_id, secret_access_key } = bucket.credentials();
        let config = signed_config(&bucket.endpoint(), access_key_id, secret_access_key);
        let objects = Objects::new("shop-lamplighter", &config);
        let table = Table::new(client, "shop-lamplighter").with_objects(objects);
        for run in runs {
            assert_eq!(table.record(run).await.unwrap(), Recorded::Written);
        }
        drop(table);
        engine.close().await;
    });
}

impl World {
    fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.workspace.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn text(&self, arguments: &[&str]) -> String {
        self.workspace.run(arguments).succeeded()
    }

    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        let answer = self.json(&[&["history"], arguments].concat());
        let runs = answer["runs"].as_array().unwrap();
        runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn k01_the_reading_commands_show_the_contents_of_a_table() {
    let world = world();
    history(&world);
    c09_p05_statistics_and_tasks(&world);
    next_and_why(&world);
    types_and_logs(&world);
    invalid_arguments_are_named(&world);
}

#[test]
fn p05_statistics_of_each_window_have_counts_a_rate_and_durations() {
    let workspace = Workspace::new();
    workspace.write("lamplighter.toml", "name = \"shop\"\n");
    workspace.task("sync", "sync", json!({}));
    let now = Timestamp::now();
    let ran = |minutes_ago: u64, status: Status, duration_ms: u64| {
        let started_at = now - Duration::from_secs(60 * minutes_ago);
        let attempt = Attempt { started_at, duration_ms, error: None };
        Run {
            status,
            completed_at: started_at + Duration::from_millis(duration_ms),
            attempts: vec![attempt],
            ..Run::begun(RunId::new(started_at, 7), "sync".parse().unwrap(), Trigger::Manual, started_at)
        }
    };
    let day = 24 * 60;
    // The durations of less than 64 ms have exact percentiles.
    let runs = [
        ran(5, Status::Completed, 10),
        ran(10, Status::Completed, 20),
        ran(15, Status::Completed, 30),
        ran(20, Status::Failed, 60),
        ran(day / 2, Status::Completed, 40),
        ran(3 * day, Status::Failed, 50),
        ran(20 * day, Status::Failed, 60),
        ran(40 * day, Status::Completed, 5),
    ];
    record(&workspace, &runs.iter().collect::<Vec<_>>());
    let of = |window: &str| {
        let answer = workspace.run(&["stats", "sync", "--window", window, "--json"]).succeeded();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let keys = ["total", "success_rate", "average_ms", "p50_ms", "p99_ms", "min_ms", "max_ms"];
        json!(keys.map(|key| answer[0][key].clone()))
    };
    assert_eq!(of("hour"), json!([4, 75.0, 30, 20, 60, 10, 60]));
    assert_eq!(of("day"), json!([5, 80.0, 32, 30, 60, 10, 60]));
    assert_eq!(of("week"), json!([6, 66.6, 35, 30, 60, 10, 60]));
    // From rollups, which the week's call has made in part.
    assert_eq!(of("month"), json!([7, 57.1, 38, 40, 60, 10, 60]));
    assert_eq!(of("month"), json!([7, 57.1, 38, 40, 60, 10, 60]));
    let text = workspace.run(&["stats", "sync", "--window", "hour"]).succeeded();
    let cells = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(cells, "sync 4 75 % 30 ms 20 ms 60 ms 0 COMPLETED 3, FAILED 1", "{text}");
}

#[test]
fn k05_next_marks_the_clock_changes_of_a_year() {
    let workspace = Workspace::new();
    workspace.write("lamplighter.toml", "name = \"shop\"\n");
    let cron = json!({ "kind": "cron", "schedule": "30 2 * * *", "timezone": "Europe/Vienna", "priority": "medium" });
    workspace.task("purge", "purge", cron);
    // One more than a year, in which there is one change of each kind at least.
    let next = ["next", "purge", "--days", "366", "--limit", "1000"];
    let answer = workspace.run(&[&next[..], &["--json"]].concat()).succeeded();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let coming = answer[0]["coming"].as_array().unwrap();
    let of = |kind: &str| coming.iter().filter(|it| it["kind"] == kind).collect::<Vec<_>>();
    let (ticks, forward, back) = (of("tick"), of("forward"), of("back"));
    assert!((1..=2).contains(&forward.len()) && (1..=2).contains(&back.len()), "{forward:#?} {back:#?}");
    for (change, key) in forward.iter().map(|it| (it, "left_out")).chain(back.iter().map(|it| (it, "once"))) {
        assert_eq!(change["minutes"], 60, "{change:#}");
        let [local] = &change[key].as_array().unwrap()[..] else { panic!("{change:#}") };
        let local = local.as_str().unwrap();
        assert!(local.ends_with("T02:30:00"), "{change:#}");
        let runs = ticks.iter().filter(|tick| tick["local"] == *local).count();
        assert_eq!(runs, usize::from(key == "once"), "{change:#}");
    }
    let text = workspace.run_with(&next, &[("COLUMNS", Path::new("200"))]).succeeded();
    for (sentence, changes) in [
        ("the clocks go forward by 60 minutes: 02:30 does not exist and has no run", forward),
        ("the clocks go back by 60 minutes: 02:30 occurs twice, and the task runs the first time", back),
    ] {
        let lines: Vec<_> = text.lines().filter(|line| line.ends_with(sentence)).collect();
        assert_eq!(lines.len(), changes.len(), "{text}");
        for (line, change) in lines.iter().zip(changes) {
            assert!(line.contains(change["at"].as_str().unwrap()), "{line}: {change:#}");
        }
    }
}

/// The case `born-yesterday`: a tick is missed only if the task, its table and its schedule were known before it.
#[test]
fn o08_a_tick_before_the_task_existed_is_not_missed() {
    let workspace = Workspace::new();
    workspace.write("lamplighter.toml", "name = \"shop\"\n");
    let cron = |schedule: &str| json!({ "kind": "cron", "schedule": schedule, "timezone": "UTC", "priority": "medium" });
    workspace.task("purge", "purge", cron("0 * * * *"));
    let hour = floor(Timestamp::now());
    let hours_ago = |hours: u64| hour - Duration::from_secs(hours * 3600);
    let ask = |hours: u64, more: &[&str]| {
        workspace.run(&[&["why", "purge", &hours_ago(hours).to_string()], more].concat()).succeeded()
    };
    let why = |hours: u64| -> Value { serde_json::from_str(&ask(hours, &["--json"])).unwrap() };
    // No run was ever started on this table.
    for hours in [1, 3, 24] {
        let answer = why(hours);
        assert_eq!(
            (&answer["answer"], &answer["since"]),
            (&json!("not_there_yet"), &Value::Null),
            "{answer}"
        );
    }
    assert!(ask(2, &[]).contains("purge did not exist yet at "), "{}", ask(2, &[]));
    assert!(ask(2, &["--locale", "de"]).contains("noch nicht"));
    // A runner or the pulse has seen the task one and a half hours ago.
    let since = hours_ago(2) + Duration::from_secs(60);
    let know = |known: KnownSchedule, before: Option<KnownSchedule>| {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let file = workspace.path(".lamplighter/table.sqlite");
            let engine = Engine::open(&file, Synchronous::Normal).unwrap();
            let table = Table::new(local_dynamodb(&engine.serve().await.unwrap()), "shop-lamplighter");
            table.know(&"purge".parse().unwrap(), &known, before.as_ref()).await.unwrap();
            drop(table);
            engine.close().await;
        });
    };
    let first = KnownSchedule { schedule: "0 * * * * UTC".into(), since, is_changed: false };
    know(first.clone(), None);
    assert_eq!((&why(2)["answer"], &why(2)["since"]), (&json!("not_there_yet"), &json!(since)));
    assert_eq!(why(1)["answer"], "missed");
    // The schedule was changed and deployed.
    workspace.task("purge", "purge", cron("0 */1 * * *"));
    assert_eq!((&why(1)["answer"], &why(1)["is_changed"]), (&json!("not_there_yet"), &json!(true)));
    know(
        KnownSchedule { schedule: "0 */1 * * * UTC".into(), since: hours_ago(1), is_changed: true },
        Some(first),
    );
    assert_eq!((&why(2)["answer"], &why(2)["is_changed"]), (&json!("not_there_yet"), &json!(true)));
    assert_eq!(why(1)["answer"], "missed");
    assert!(ask(2, &[]).contains("did not have this schedule yet"), "{}", ask(2, &[]));
}

fn history(world: &World) {
    let [completed, skipped, failed] =
        [&world.completed, &world.skipped, &world.failed].map(|run| run.id.to_string());
    assert_eq!(world.ids(&[]), [completed.clone(), skipped.clone(), failed.clone()]);
    assert_eq!(world.ids(&["purge", "--status", "FAILED", "--status", "SKIPPED"]), [skipped, failed.clone()]);
    assert_eq!(world.ids(&["--trigger", "pulse"]), Vec::<String>::new());
    let since = world.missed.to_string();
    assert_eq!(world.ids(&["--until", &since]), std::slice::from_ref(&failed));
    let first = world.json(&["history", "--limit", "2", "--since", "6h", "--totals"]);
    assert_eq!(first["totals"], json!({ "COMPLETED": 1, "FAILED": 1, "SKIPPED": 1 }));
    let cursor = first["next"].as_str().unwrap();
    assert_eq!(world.ids(&["--cursor", cursor]), [failed]);
    let one = world.json(&["history", &completed]);
    assert_eq!((&one["runs"][0]["data"], one["runs"].as_array().unwrap().len()), (&large(), 1), "q02");
    assert_eq!(one["runs"][0].get("large"), None);
    let listed = &world.json(&["history", "purge"])["runs"][0];
    assert!(
        listed["data"].is_null() && listed["large"]["data"]["bytes"].as_u64() > Some(100_000),
        "{listed}"
    );
    let unknown = world.workspace.run(&["history", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).failed();
    assert!(unknown.contains("has a run 01ARZ3NDEKTSV4RRFFQ69G5FAV"), "{unknown}");
    let text = world.text(&["history", "purge"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[2].contains("FAILED") && lines[2].contains("the disk is full"), "{text}");
    assert_eq!(lines[3], "3 runs: COMPLETED 1, FAILED 1, SKIPPED 1", "{text}");
    assert!(!text.contains('\u{1b}'), "no colour where nobody sees it: {text:?}");
}

fn c09_p05_statistics_and_tasks(world: &World) {
    let answer = world.json(&["stats", "purge"]);
    assert_eq!(
        (&answer[0]["total"], &answer[0]["success_rate"], &answer[0]["p50_ms"]),
        (&json!(3), &json!(50.0), &json!(50))
    );
    let none = world.json(&["stats", "seed", "--window", "month"]);
    assert_eq!(
        (&none[0]["total"], &none[0]["success_rate"], &none[0]["p99_ms"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert!(world.text(&["stats"]).lines().nth(1).unwrap().starts_with("purge  3     50 %"));

    let names = |arguments: &[&str]| {
        let answer = world.json(&[&["tasks"], arguments].concat());
        answer.as_array().unwrap().iter().map(|task| task["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["purge", "seed"]);
    for arguments in [["--category", "billing"], ["--tag", "nightly"], ["--kind", "cron"]] {
        assert_eq!(names(&arguments), ["purge"], "c09 {arguments:?}");
    }
    assert_eq!(names(&["--category", "billing", "--kind", "lifecycle"]), Vec::<Value>::new());
    let state = &world.json(&["tasks"])[0]["state"];
    assert_eq!((&state["enabled"], &state["failure_streak"]), (&json!(true), &json!(0)));
    assert!(world.text(&["tasks"]).contains("next in "));
}

fn next_and_why(world: &World) {
    let answer = world.json(&["next", "purge", "--days", "1"]);
    assert_eq!(answer[0]["coming"].as_array().unwrap().len(), 24);
    assert_eq!(world.json(&["next"])[0]["more"], json!(true), "168 hours are more than 50");
    assert!(world.text(&["next", "--days", "1"]).starts_with("purge: every hour, UTC"));
    let error = world.workspace.run(&["next", "seed"]).failed();
    assert_eq!(error, "error: the task seed has no schedule\n");

    let why = |tick: Timestamp| world.json(&["why", "purge", &tick.to_string()]);
    let of = |run: &Run| why(run.scheduled_for.unwrap());
    let ran = of(&world.completed);
    assert_eq!((&ran["answer"], &ran["run_id"]), (&json!("ran"), &json!(world.completed.id)));
    assert_eq!(ran["records"][0]["id"], json!(world.completed.id));
    let skipped = of(&world.skipped);
    assert_eq!((&skipped["answer"], &skipped["by"]), (&json!("skipped"), &json!(world.completed.id)));
    let failed = of(&world.failed);
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("FAILED"), &json!("the disk is full")));
    let missed = why(world.missed);
    assert_eq!((&missed["answer"], &missed["instead"]), (&json!("missed"), &json!(world.completed.id)));
    let before = why(world.failed.scheduled_for.unwrap() - Duration::from_secs(3600));
    assert_eq!((&before["answer"], &before["since"]), (&json!("not_there_yet"), &Value::Null));
    let not_due = why(world.missed + Duration::from_secs(60));
    assert_eq!((&not_due["answer"], &not_due["before"]), (&json!("not_due"), &json!(world.missed)));
    assert_eq!(why(floor(Timestamp::now()) + Duration::from_secs(7200))["answer"], "future");
    assert!(world.text(&["why", "purge"]).starts_with(['✓', '✗', '…', '-']));
    assert!(world.text(&["why", "seed"]).contains("seed has no schedule"));
}

fn types_and_logs(world: &World) {
    assert_eq!(world.json(&["types", "purge"])[0]["config_schema"]["properties"]["batch"]["type"], "integer");
    assert!(world.text(&["types", "purge"]).contains("batch: integer = 100"));

    let id = world.completed.id.to_string();
    let line = json!({ "timestamp": "2026-11-21T06:00:00.000Z", "level": "INFO", "run_id": id, "message": "deleted 12" });
    world.workspace.write(".lamplighter/logs/shop-purge.log", &format!("starting\n{line}\nend\n"));
    assert_eq!(
        world.text(&["logs", "purge", "--limit", "2"]),
        "2026-11-21T06:00:00.000Z INFO  deleted 12\nend\n"
    );
    assert_eq!(world.text(&["logs", &id, "--json"]), format!("{line}\n"));
    assert_eq!(world.text(&["logs", "seed"]), "no log lines\n");
}

fn invalid_arguments_are_named(world: &World) {
    for (arguments, said) in [
        (&["history", "--since", "yesterday"][..], "`yesterday` is not a time"),
        (&["history", "--cursor", "x"], "`x` is not a cursor"),
        (&["history", "--status", "DONE"], "`DONE` is not a status"),
        (&["history", "--trigger", "moon"], "`moon` is not a trigger"),
        (&["stats", "--window", "year"], "`year` is not a window"),
        (&["tasks", "--kind", "cronjob"], "`cronjob` is not a kind of task"),
        (&["why"], "<TASK>"),
    ] {
        let ended = world.workspace.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
    for arguments in
        [&["history", "purg"][..], &["stats", "purg"], &["next", "purg"], &["why", "purg"], &["logs", "purg"]]
    {
        let ended = world.workspace.run(arguments);
        assert!(ended.code != 0 && ended.stderr.contains("purg"), "{arguments:?}: {ended:?}");
    }
}
