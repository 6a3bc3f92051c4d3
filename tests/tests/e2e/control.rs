//! `run`, `retry`, `cancel`, `enable`, `disable`, `set` and `pulse status` as processes in this repository, with a home and a
//! database of the test's own.
//!
//! All checks are in one test, since they package the same functions into the same folder.

use lamplighter_e2e::{CommandOutput, Home, expire_sessions};
use serde_json::{Value, json};

/// The configuration of a purge that takes half a second for each session.
const SLOW: &str = r#"{"batch_size": 1, "pause_ms": 500}"#;
/// The configuration of a purge that finds nothing.
const IDLE: &str = r#"{"older_than_days": 60}"#;

#[test]
fn k01_tasks_are_run_disabled_and_cancelled_by_commands() {
    let home = Home::new();
    wrong_usage_exits_with_2(&home);
    run_runs_a_task_and_reports_its_outcome(&home);
    c05_a_disabled_task_does_not_run(&home);
    c24_a_failed_run_is_retried(&home);
    c08_the_next_run_has_the_settings_of_run_time(&home);
    p03_the_pulse_is_unknown_before_the_first_one(&home);
    c12_c19_a_run_excludes_others_and_is_cancelled(&home);
    two_runs_of_different_tasks_share_the_table(&home);
}

fn wrong_usage_exits_with_2(home: &Home) {
    for arguments in [&["run"][..], &["run", "seed-data", "--config", "[1]"], &["enable"], &["cancel"]] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
    for command in ["run", "enable", "disable", "cancel"] {
        let ended = home.run(&[command, "purge-exipred"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.stderr, "error: there is no task `purge-exipred`: did you mean `purge-expired`?\n");
    }
}

fn run_runs_a_task_and_reports_its_outcome(home: &Home) {
    let failed = home.run(&["run", "purge-expired"]);
    assert_eq!(failed.code, Some(1), "there is no table to purge: {failed:?}");
    assert!(failed.stdout.starts_with("✗ purge-expired FAILED in "), "{failed:?}");
    assert!(failed.stdout.contains("no such table: sessions"), "{failed:?}");
    assert!(failed.stderr.contains("of purge-expired ended FAILED"), "{failed:?}");

    let migrated = home.run(&["run", "run-migrations", "--json"]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let run = migrated.json();
    assert_eq!((&run["status"], &run["trigger"]), (&json!("COMPLETED"), &json!("manual")));
    let recorded = home.run(&["history", "run-migrations", "--json"]).json();
    assert!(recorded.to_string().contains(run["id"].as_str().unwrap()), "{recorded:#}");

    // The task's `validate` refuses the first, and the schema of its configuration the second.
    let refused = home.run(&["run", "purge-expired", "--config", r#"{"pause_ms": 600000}"#]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("pause_ms is 600000"), "{refused:?}");
    let refused = home.run(&["run", "purge-expired", "--config", r#"{"batch_size": 0}"#]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("`batch_size` must be a whole number from 1"), "{refused:?}");
}

fn c05_a_disabled_task_does_not_run(home: &Home) {
    let off = home.run(&["disable", "purge-expired", "--json"]);
    assert_eq!(off.code, Some(0), "{off:?}");
    assert_eq!(off.json(), json!({ "task": "purge-expired", "enabled": false, "changed": true }));
    assert_eq!(home.run(&["disable", "purge-expired"]).stdout, "purge-expired is already disabled\n");
    let refused = home.run(&["run", "purge-expired", "--json"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(
        (&refused.json()["status"], &refused.json()["skipped_reason"]),
        (&json!("SKIPPED"), &json!("disabled"))
    );
    assert!(refused.stderr.contains("purge-expired did not run: it is disabled"), "{refused:?}");
    assert_eq!(home.run(&["enable", "purge-expired"]).stdout, "purge-expired is enabled\n");
    let runs = home.run(&["run", "purge-expired"]);
    assert_eq!(runs.code, Some(0), "{runs:?}");
}

fn c24_a_failed_run_is_retried(home: &Home) {
    let config = r#"{"pause_ms": 600000}"#;
    let failed = home.run(&["run", "purge-expired", "--json", "--config", config]).json();
    assert_eq!(failed["status"], "FAILED");
    let again = home.run(&["retry", "purge-expired", "--json"]);
    assert_eq!(again.code, Some(1), "it has the same configuration: {again:?}");
    let again = again.json();
    assert_eq!((&again["retry_of"], &again["config"]), (&failed["id"], &failed["config"]));
    assert_ne!(again["id"], failed["id"]);
    let migrated = home.run(&["retry", "run-migrations"]);
    assert_eq!(migrated.code, Some(1), "{migrated:?}");
    assert!(migrated.stderr.contains("only a failed run can be retried"), "{migrated:?}");
    // The oldest run failed since its tables were missing. They exist now.
    let failures = home.run(&["history", "purge-expired", "--status", "FAILED", "--json"]).json();
    let oldest = failures["runs"].as_array().unwrap().last().unwrap()["id"].clone();
    let completed = home.run(&["retry", oldest.as_str().unwrap(), "--json"]);
    assert_eq!(completed.code, Some(0), "{completed:?}");
    let completed = completed.json();
    assert_eq!((&completed["status"], &completed["retry_of"]), (&json!("COMPLETED"), &oldest));
    let unknown = home.run(&["retry", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}

fn c08_the_next_run_has_the_settings_of_run_time(home: &Home) {
    let config = r#"{"batch_size": 7}"#;
    let set = home.run(&["set", "purge-expired", "--timeout", "2m", "--config", config, "--json"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    assert_eq!(set.json()["settings"], json!({ "timeout_ms": 120_000, "config": { "batch_size": 7 } }));
    assert_eq!(home.run(&["run", "purge-expired", "--json"]).json()["config"]["batch_size"], 7);
    for (option, bad) in [("--config", r#"{"batch_size": "many"}"#), ("--attempts", "0"), ("--timeout", "2h")]
    {
        let refused = home.run(&["set", "purge-expired", option, bad]);
        assert_eq!(refused.code, Some(2), "{option} {bad}: {refused:?}");
        assert!(refused.stderr.contains(option), "{refused:?}");
    }
    let reset = home.run(&["set", "purge-expired", "--reset"]);
    assert_eq!(reset.stdout, "purge-expired has no run-time settings\n", "{reset:?}");
}

fn p03_the_pulse_is_unknown_before_the_first_one(home: &Home) {
    let status = home.run(&["pulse", "status", "--json"]);
    assert_eq!((status.code, &status.json()["status"]), (Some(0), &json!("UNKNOWN")), "{status:?}");
    assert_eq!((&status.json()["success_rate"], &status.json()["last"]), (&Value::Null, &Value::Null));
    let streaks = &status.json()["failure_streaks"];
    assert_eq!(streaks.get("purge-expired"), None, "it has completed since it failed: {streaks}");
    let words = home.run(&["pulse", "status"]);
    assert_eq!(words.stdout, "the pulse is UNKNOWN\n", "{words:?}");
}

fn c12_c19_a_run_excludes_others_and_is_cancelled(home: &Home) {
    // It lasts until it is cancelled.
    expire_sessions(&home.database(), 1000);
    let first = home.begin(&["run", "purge-expired", "--json", "--config", SLOW]);
    CommandOutput::until(
        || home.command(&["tasks", "--json"]),
        |listed| {
            let tasks = listed.json();
            let purge = tasks.as_array().unwrap().iter().find(|task| task["name"] == "purge-expired");
            purge.is_some_and(|purge| purge["state"]["running"] != json!([]))
        },
    );
    let second = home.run(&["run", "purge-expired", "--json", "--config", IDLE]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("is in progress"), "{second:?}");
    assert_eq!(second.json()["status"], "SKIPPED");

    let cancelled = home.run(&["cancel", "purge-expired", "--json"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let first = CommandOutput::wait(first);
    let [cancelled] =
        cancelled.json().as_array().unwrap().clone().try_into().unwrap_or_else(|_| panic!("one run"));
    assert_eq!(cancelled["id"], first.json()["id"]);
    assert_eq!(cancelled["status"], "CANCELLED", "{cancelled:#}");
    assert_eq!(first.code, Some(1), "{first:?}");
    let reason = second.json()["skipped_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(cancelled["id"].as_str().unwrap()), "{reason}");

    let none = home.run(&["cancel", "purge-expired"]);
    assert_eq!(
        (none.code, none.stderr.as_str()),
        (Some(1), "error: no run of purge-expired is in progress\n")
    );
    let over = home.run(&["cancel", cancelled["id"].as_str().unwrap()]);
    assert_eq!(over.code, Some(1), "{over:?}");
    // The sessions that are left.
    let purged = home.run(&["run", "purge-expired"]);
    assert_eq!(purged.code, Some(0), "{purged:?}");
}

/// The first command serves the table's file to the second one. It closes the table only after the second one has
/// ended.
fn two_runs_of_different_tasks_share_the_table(home: &Home) {
    expire_sessions(&home.database(), 6);
    let first = home.begin(&["run", "purge-expired", "--json", "--config", SLOW]);
    let seen =
        CommandOutput::until(|| home.command(&["run", "seed-data", "--json"]), |ended| ended.code == Some(0));
    assert_eq!(seen.json()["status"], "COMPLETED");
    let first = CommandOutput::wait(first);
    assert_eq!((first.code, &first.json()["status"]), (Some(0), &json!("COMPLETED")), "{first:?}");
}
