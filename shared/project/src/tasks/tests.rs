//! The resolved project, and its faults.

use lamplighter_core::definition::{Overlap, Priority};
use serde_json::json;

use super::*;
use crate::fixtures::{CONFIG, described, shop, tasks};

fn faults(tasks: Vec<DescribedTask>, config: &str) -> Vec<String> {
    let config = Config::parse(config).unwrap();
    let faults = Project::resolve("shop", tasks, &config, None).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

fn task<'a>(project: &'a Project, name: &str) -> &'a Task {
    project.tasks.iter().find(|task| task.name().as_str() == name).unwrap()
}

#[test]
fn l02_every_fault_is_reported_with_file_and_key() {
    let tasks = vec![
        described("a", json!({ "depends_on": ["b", "nobody"], "timeout_ms": 901_000 })),
        described("b", json!({ "depends_on": ["a"], "run_on": [] })),
        described("early", json!({ "depends_on": ["late", "tick"] })),
        described("late", json!({ "phase": "after" })),
        described(
            "tick",
            json!({ "kind": "cron", "schedule": "@daily", "timezone": "UTC", "priority": "low" }),
        ),
    ];
    let lib = |task: &str| format!("functions/tasks/{task}/src/lib.rs");
    assert_eq!(
        faults(tasks, "[tasks.nobody]\n[tasks.late]\ntimeout = \"16m\"\nattempts = 0\nmemory_mb = 1"),
        [
            "lamplighter.toml: tasks.nobody: there is no task `nobody`: the tasks are a, b, early, late, tick"
                .to_owned(),
            format!("{}: timeout: 15m 1s is not within 1 ms and 900 s", lib("a")),
            format!("{}: run_on: an empty list never runs: give some of deploy, update", lib("b")),
            "lamplighter.toml: tasks.late.timeout: 16m is not within 1 ms and 900 s".to_owned(),
            "lamplighter.toml: tasks.late.attempts: 0 attempts never run the body: give at least 1"
                .to_owned(),
            "lamplighter.toml: tasks.late.memory_mb: 1 is not between 128 and 10240 MB".to_owned(),
            format!(
                "{}: depends_on: `a` depends on `nobody`, which is not a task here: there are a, b, early, late",
                lib("a")
            ),
            format!(
                "{}: depends_on: `early` runs before the application, but depends on `late`, which runs after it",
                lib("early")
            ),
            format!(
                "{}: depends_on: `early` depends on `tick`, which is not a lifecycle task: deployments run \
                 only those",
                lib("early")
            ),
            format!("{}: depends_on: the tasks depend on each other in a circle: a -> b -> a", lib("a")),
        ]
    );
}

#[test]
fn l02_two_tasks_of_one_name_are_both_named() {
    let copy = DescribedTask { source: "functions/tasks/x/a/src/lib.rs".into(), ..described("a", json!({})) };
    assert_eq!(
        faults(vec![described("a", json!({})), copy], ""),
        ["functions/tasks/x/a/src/lib.rs: name: two tasks are named `a`, the other one in \
          functions/tasks/a/src/lib.rs"]
    );
}

#[test]
fn l02_an_invalid_override_is_reported_with_its_key() {
    let schema = json!({ "properties": { "urls": {}, "token": { "writeOnly": true } } });
    let task = described("a", json!({ "config": { "urls": [] }, "config_schema": schema }));
    let config = r#"
        [tasks.a]
        timeout = "2 parsecs"
        [tasks.a.config]
        url = "u"
        token = "in clear"
        [[tasks.a.permissions]]
        actions = ["s3:GetObject"]
        [tasks.a.environment]
        LAMPLIGHTER_TABLE = "x"
        LAMPLIGHTER_LOG = "debug"
        LAMPLIGHTER_ASSETS = "s3://artifacts/a"
        LAMPLIGHTER_EPOCH = "1"
        "B-C" = "y"
    "#;
    let keys: Vec<_> = faults(vec![task], config)
        .into_iter()
        .map(|fault| fault.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        keys,
        [
            "lamplighter.toml: tasks.a.timeout",
            "lamplighter.toml: tasks.a.config.token",
            "lamplighter.toml: tasks.a.config.url",
            "lamplighter.toml: tasks.a.permissions[0].resources",
            "lamplighter.toml: tasks.a.environment.B-C",
            "lamplighter.toml: tasks.a.environment.LAMPLIGHTER_EPOCH",
            "lamplighter.toml: tasks.a.environment.LAMPLIGHTER_TABLE",
        ]
    );
}

#[test]
fn l23_a_secret_in_code_is_rejected_with_its_place() {
    let schema = json!({ "properties": { "token": { "writeOnly": true } } });
    let task = || described("a", json!({ "config": { "token": "s3cr3t" }, "config_schema": schema }));
    let [fault] = &faults(vec![task()], "")[..] else { panic!("one fault") };
    assert!(fault.starts_with("functions/tasks/a/src/lib.rs: config.token: is secret"), "{fault}");
    assert!(!fault.contains("s3cr3t"));
    assert_eq!(
        faults(vec![task()], "[tasks.a.config]\ntoken = \"{{resolve:ssm:/shop/token}}\""),
        Vec::<String>::new()
    );
}

#[test]
fn o04_a_reference_that_cannot_be_resolved_is_rejected_with_its_place() {
    let task = || described("a", json!({ "config": { "url": "" } }));
    let config = |value: &str| format!("[tasks.a.config]\nurl = {value}");
    for (value, wanted) in [
        ("\"{{resolve:ssm-secure:/a}}\"", "config.url: has a reference to `ssm-secure`"),
        ("\"x {{resolve:ssm:/a\"", "config.url: has a reference that begins with"),
        (
            "[{ deep = \"{{resolve:ssm:}}\" }]",
            "config.url[0].deep: has the reference `{{resolve:ssm:}}`, which names",
        ),
        ("{ \"{{resolve:ssm:/a}}\" = 1 }", "config.url: has the key `{{resolve:ssm:/a}}`"),
    ] {
        let found = faults(vec![task()], &config(value));
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted}: {found:?}");
        assert!(found[0].starts_with("lamplighter.toml: tasks.a."), "{found:?}");
    }
    let variable = "[tasks.a.environment]\nURL = \"{{resolve:ssm-secure:/a}}\"\nLAMPLIGHTER_SECRET_1 = \"x\"";
    let found = faults(vec![task()], variable);
    assert!(found[1].contains("environment.URL: has a reference to `ssm-secure`"), "{found:?}");
    assert!(found[0].contains("LAMPLIGHTER_SECRET_1: is reserved for Lamplighter"), "{found:?}");
}

#[test]
fn o04_a_reference_in_the_tasks_own_defaults_is_resolved_too() {
    let keys = json!({ "config": { "url": "{{resolve:ssm:/shop/url}}", "n": 1 } });
    let project = Project::resolve("shop", vec![described("a", keys)], &Config::default(), None).unwrap();
    let variables = task(&project, "a").variables();
    assert!(variables.values().any(|text| text == "{{resolve:ssm:/shop/url}}"), "{variables:?}");
    let settings: Value = serde_json::from_str(&variables["LAMPLIGHTER_SETTINGS"]).unwrap();
    assert_eq!(settings["config"], json!({ "n": 1, "url": "" }));
}

#[test]
fn l09_overrides_reach_the_function_with_their_types() {
    let project = shop();
    let mut variables = task(&project, "warm-cache").variables();
    let settings = variables.remove("LAMPLIGHTER_SETTINGS").unwrap();
    let (name, text) = variables.pop_first().unwrap();
    assert!(name.starts_with("LAMPLIGHTER_SECRET_") && variables.is_empty(), "{name}");
    assert_eq!(text, "{{resolve:secretsmanager:shop:SecretString:token}}");
    assert_eq!(
        settings,
        format!(
            "{{\"config\":{{\"token\":\"\",\"urls\":[\"https://shop.example/\"]}},\"max_attempts\":2,\
             \"resolved\":{{\"/token\":\"{name}\"}},\"timeout_ms\":60000}}"
        )
    );
    assert!(task(&project, "seed-data").variables().is_empty(), "nothing is overridden");
    assert_eq!(task(&project, "process-assets").variables()["CDN"], "https://cdn.example");
}

#[test]
fn c02_a_schedule_that_never_fires_again_prevents_only_the_deployment() {
    let cron = |schedule: &str| json!({ "kind": "cron", "schedule": schedule, "timezone": "UTC", "priority": "low" });
    let tasks = ["0 0 0 1 1 * 2020", "@daily", "0 0 0 1 1 * 2026-2030"];
    let tasks: Vec<_> =
        ["a", "b", "c"].into_iter().zip(tasks).map(|(name, text)| described(name, cron(text))).collect();
    let config = r#"
        [tasks.b]
        schedule = "30 2 * 3 SUN#L"
        timezone = "Europe/Vienna"
    "#;
    // A task whose schedule has ended stays in the project, so that commands can show its runs.
    let project = Project::resolve("shop", tasks.clone(), &Config::parse(config).unwrap(), None).unwrap();
    let over = project.undeployable("2026-11-28T12:00:00Z".parse().unwrap());
    let over: Vec<_> = over.iter().map(ToString::to_string).collect();
    assert_eq!(
        over,
        [
            "functions/tasks/a/src/lib.rs: schedule: `0 0 0 1 1 * 2020` is not a schedule: it never fires again: its last \
             time was 2020-01-01T00:00:00Z; name a year that is yet to come\n  0 0 0 1 1 * 2020\n              ^^^^",
            "lamplighter.toml: tasks.b.schedule: `30 2 * 3 SUN#L` is not a schedule: it never fires: a clock change of its \
             time zone leaves out each of its times; write another hour, or another time zone\n  30 2 * 3 SUN#L\n  \
             ^^^^^^^^^^^^^^",
        ]
    );
    let never = faults(tasks, "[tasks.b]\nschedule = \"0 0 31 2 *\"");
    assert_eq!(
        never,
        [
            "lamplighter.toml: tasks.b.schedule: `0 0 31 2 *` is not a schedule: it never fires: `31` is no day of \
          February; days are 1 to 29 there, and `L` is the last one\n  0 0 31 2 *\n      ^^^^"
        ]
    );
}

#[test]
fn l08_the_command_line_takes_precedence_over_the_file() {
    let config = Config::parse(&format!("environment = \"staging\"\n{CONFIG}")).unwrap();
    let project = |environment| Project::resolve("shop", tasks(), &config, environment).unwrap();
    assert_eq!(project(None).environment, "staging");
    assert_eq!(project(Some("production")).environment, "production");
    let timeout = |environment| task(&project(environment), "warm-cache").definition.timeout.as_secs();
    assert_eq!((timeout(None), timeout(Some("production"))), (60, 120));
    assert_eq!(shop().environment, "dev");
    assert_eq!((shop().name, config.name), ("shop".to_owned(), None));
}

#[test]
fn variables_that_are_too_long_for_a_function_are_rejected() {
    let long = "x".repeat(4000);
    let config = Config::parse(&format!("[tasks.a.environment]\nLONG = \"{long}\"")).unwrap();
    let project = Project::resolve("shop", vec![described("a", json!({}))], &config, None).unwrap();
    let faults = project.undeployable(jiff::Timestamp::now()).to_string();
    assert!(
        faults.starts_with("lamplighter.toml: tasks.a: its configuration and environment are 4004 bytes")
    );
}

#[test]
fn a_task_that_replaces_the_run_in_progress_has_time_to_wait_for_its_end() {
    let cron = |name: &str, overlap: &str| {
        let cron = json!({ "kind": "cron", "schedule": "@daily", "timezone": "UTC", "priority": "low",
                           "overlap": overlap, "timeout_ms": 60_000 });
        described(name, cron)
    };
    let tasks = vec![cron("sweep", "skip"), cron("turn", "replace")];
    let project = Project::resolve("shop", tasks, &Config::parse("").unwrap(), None).unwrap();
    let seconds = |name| task(&project, name).function_seconds();
    assert_eq!((seconds("sweep"), seconds("turn")), (70, 90));
}

#[test]
fn l09_a_cron_task_is_overridden_by_the_file() {
    let cron = json!({ "kind": "cron", "schedule": "@daily", "timezone": "UTC", "priority": "low" });
    let config = r#"
        [tasks.tick]
        schedule = "every 5 minutes"
        timezone = "Europe/Vienna"
        priority = "critical"
        overlap = "buffer"
        catch_up = "all within 1h"
        retention_days = 7
        [environments.production.tasks.tick]
        schedule = "0 6 * * MON"
    "#;
    let config = Config::parse(config).unwrap();
    let resolved = |environment: &str| {
        let tasks = vec![described("tick", cron.clone())];
        Project::resolve("shop", tasks, &config, Some(environment)).unwrap()
    };
    let project = resolved("dev");
    let definition = &task(&project, "tick").definition;
    let cron = definition.cron().unwrap();
    assert_eq!(cron.schedule.as_ref().unwrap().as_str(), "every 5 minutes");
    assert_eq!((cron.timezone.as_str(), cron.priority), ("Europe/Vienna", Priority::Critical));
    assert_eq!((cron.overlap, cron.catch_up.to_string()), (Overlap::Buffer, "all within 1h".to_owned()));
    assert_eq!(definition.retention.as_secs(), 7 * 24 * 3600);
    let project = resolved("production");
    let cron = task(&project, "tick").definition.cron().unwrap();
    assert_eq!(cron.schedule.as_ref().unwrap().as_str(), "0 6 * * MON");
}

#[test]
fn c02_an_invalid_override_is_reported_with_file_and_key() {
    let cron = json!({ "kind": "cron", "schedule": "@daily", "timezone": "Europe/Viena", "priority": "low" });
    let config = r#"
        [tasks.tick]
        schedule = "0 6 * * MOM"
        priority = "urgent"
        overlap = "wait"
        catch_up = "all within soon"
        retention_days = 0
        [tasks.late]
        timezone = "europe/vienna"
        [tasks.plain]
        schedule = "@daily"
    "#;
    let tasks = vec![described("late", cron.clone()), described("plain", json!({})), described("tick", cron)];
    let found = faults(tasks, config);
    for (fault, expected) in found.iter().zip([
        "lamplighter.toml: tasks.late.timezone: `europe/vienna` is not a time zone: did you mean `Europe/Vienna`?",
        "lamplighter.toml: tasks.plain.schedule: is only for cron tasks, and `plain` is none",
        "lamplighter.toml: tasks.tick.schedule: `0 6 * * MOM` is not a schedule: `MOM` is not a day of the week: they \
         are 0 to 7, or SUN to SAT; did you mean MON?\n  0 6 * * MOM\n          ^^^",
        "lamplighter.toml: tasks.tick.priority: `urgent` is not a priority: it must be one of critical, high, medium, \
         low, background",
        "lamplighter.toml: tasks.tick.overlap: `wait` is not a policy of overlap: it must be one of skip, allow, buffer, \
         replace",
        "lamplighter.toml: tasks.tick.catch_up: the catch-up policy: `soon` is not a duration: write a number with \
         its unit, such as `90s`, `2m` or `1h 30m`",
        "lamplighter.toml: tasks.tick.retention_days: expected at least 1 day",
        "functions/tasks/tick/src/lib.rs: timezone: `Europe/Viena` is not a time zone: did you mean `Europe/Vienna`?",
    ]) {
        assert_eq!(fault, expected);
    }
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn c10_an_unknown_dependency_and_a_cycle_are_refused() {
    let cron = |name: &str, needs: &[&str]| {
        let keys = json!({
            "kind": "cron", "schedule": "0 3 * * *", "timezone": "UTC", "priority": "low", "depends_on": needs,
        });
        crate::fixtures::described(name, keys)
    };
    let faults =
        |tasks| Project::resolve("shop", tasks, &Config::default(), None).err().map(|it| it.to_string());
    assert_eq!(faults(vec![cron("a", &[]), cron("b", &["a"])]), None);
    let unknown = faults(vec![cron("b", &["a"])]).unwrap();
    assert!(
        unknown.contains("src/lib.rs: depends_on: `b` depends on `a`, which is not a task here"),
        "{unknown}"
    );
    let circle = faults(vec![cron("a", &["b"]), cron("b", &["a"])]).unwrap();
    assert!(circle.contains("in a circle: a -> b -> a"), "{circle}");
}
