//! The commands of `lamplighter` on a stack in AWS, and the notifications about a failed task.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use lamplighter_e2e::{CommandOutput, cargo_lambda_deploy, expire_sessions, lamplighter, repository};
use serde_json::{Value, json};

use super::version::Version;
use super::world::{Stack, World};

const TASK: &str = "purge-expired";
/// A configuration that the task refuses.
const REFUSED: &str = r#"{"pause_ms": 600000}"#;
/// The queue task.
const QUEUE: &str = "import-users";
/// The timeout for a followed log line.
const PATIENCE: Duration = Duration::from_secs(60);
/// The configuration of a purge that takes half a second for each session.
const SLOW: &str = r#"{"batch_size": 1, "pause_ms": 500}"#;

/// A user of the program, with the stack and the database.
#[derive(Clone)]
struct Hand {
    endpoint: String,
    stack: String,
    database: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn k01_the_commands_work_on_a_stack_in_aws() {
    let world = tokio::task::spawn_blocking(World::shared).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stack = world.stack("hand");
    let hand = Hand {
        endpoint: world.endpoint(),
        stack: stack.name.clone(),
        database: folder.path().join("app.sqlite"),
    };
    let version = Version::new(&format!("sqlite:{}", hand.database.display())).with_notifications();
    let (deployed, status) = stack.deploy(&version, "1").await;
    assert!(deployed.success, "{status}: {:#?}\n{}", stack.events().await, deployed.output);

    p06_a_topic_and_an_event_bus_get_notifications(&stack).await;
    let started = std::time::Instant::now();
    tokio::task::spawn_blocking(move || {
        hand.p04_p05_a_task_runs_and_its_history_and_statistics_are_read();
        hand.k05_why_explains_ticks();
        hand.c05_c08_a_task_is_disabled_and_has_settings_of_run_time();
        hand.l25_the_log_is_read_and_followed();
        hand.c19_a_run_is_cancelled();
        hand.q04_a_job_runs_and_its_result_is_returned();
        hand.q09_a_failed_job_is_replayed();
        hand.p03_the_pulse_status_has_its_success_and_streaks();
        hand.g05_the_code_of_one_function_is_updated();
        hand.a_missing_stack_log_or_run_is_an_error_that_names_it();
    })
    .await
    .unwrap();
    eprintln!("by hand: {:.1} s", started.elapsed().as_secs_f64());
}

/// The tick of `days` before the start of the test.
fn tick(days: i64) -> String {
    static NOW: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);
    let day = NOW.strftime("%Y-%m-%dT03:00:00Z").to_string().parse::<Timestamp>().unwrap();
    (day - (days * 24).hours()).to_string()
}

async fn p06_a_topic_and_an_event_bus_get_notifications(stack: &Stack) {
    let aws = &stack.world.aws;
    let queue = aws.physical_id(&stack.name, "AlertQueue").await;
    let fails = |days| json!({ "trigger": "schedule", "scheduled_for": tick(days), "config": { "pause_ms": 600_000 } });
    let expected = |message: &Value, days| {
        for (key, value) in
            [("task", TASK), ("status", "FAILED"), ("kind", "configuration"), ("stack", "hand")]
        {
            assert_eq!(message[key], value, "{message:#}");
        }
        assert_eq!(message["scheduled_for"], tick(days), "{message:#}");
    };

    aws.invoke_async(&stack.function(TASK), &fails(2)).await;
    let [report] = &aws.receive(&queue).await[..] else { panic!("one message") };
    assert_eq!(report["Subject"], "purge-expired FAILED in hand", "{report:#}");
    expected(&serde_json::from_str(report["Message"].as_str().unwrap()).unwrap(), 2);

    let bus = json!({ "event_bus": aws.physical_id(&stack.name, "AlertBus").await }).to_string();
    let pulse = stack.function("lamplighter-pulse");
    aws.set_variable(&pulse, "LAMPLIGHTER_NOTIFY", &bus).await;
    // CloudFormation has set the variable to the topic.
    aws.set_variable(&pulse, "LAMPLIGHTER_NOTIFY_VALUE", "").await;
    aws.invoke_async(&stack.function(TASK), &fails(1)).await;
    let [report] = &aws.receive(&queue).await[..] else { panic!("one event") };
    assert_eq!(
        (&report["source"], &report["detail-type"]),
        (&json!("lamplighter"), &json!("Lamplighter Task Failure"))
    );
    expected(&report["detail"], 1);
}

impl Hand {
    fn p04_p05_a_task_runs_and_its_history_and_statistics_are_read(&self) {
        let tasks = self.expect(&["tasks", "--json"], 0).json();
        let task = tasks.as_array().unwrap().iter().find(|task| task["name"] == TASK).unwrap();
        assert_eq!((&task["state"]["enabled"], &task["state"]["running"]), (&json!(true), &json!([])));

        let completed = self.expect(&["run", TASK, "--json"], 0).json();
        assert_eq!((&completed["status"], &completed["trigger"]), (&json!("COMPLETED"), &json!("manual")));
        let failed = self.expect(&["run", TASK, "--json", "--config", REFUSED], 1).json();
        assert_eq!(
            (&failed["status"], &failed["error"]["kind"]),
            (&json!("FAILED"), &json!("configuration"))
        );
        let retried = self.expect(&["retry", TASK, "--json"], 1).json();
        assert_eq!((&retried["retry_of"], &retried["config"]), (&failed["id"], &failed["config"]));

        let history = self.expect(&["history", TASK, "--trigger", "manual", "--json"], 0).json();
        let ids: Vec<_> = history["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect();
        assert_eq!(ids, [&retried, &failed, &completed].map(|run| run["id"].clone()));
        let page = self.expect(&["history", TASK, "--limit", "1", "--json"], 0).json();
        assert_eq!((&page["runs"][0], page["runs"].as_array().unwrap().len()), (&retried, 1));
        let line = self.expect(&["history", TASK, "--status", "COMPLETED"], 0).stdout;
        assert!(line.contains(TASK) && line.contains("deleted 0 expired sessions"), "{line}");
        let deployed = self.expect(&["history", "seed-data", "--json"], 0).json();
        assert_eq!(deployed["runs"][0]["deployment"]["version"], "1", "{deployed:#}");

        let statistics = self.expect(&["stats", TASK, "--json"], 0).json();
        let report = &statistics[0];
        // Includes the two runs that the schedule's trigger started.
        assert_eq!(
            (&report["total"], &report["by_status"]["COMPLETED"]),
            (&json!(5), &json!(1)),
            "{report:#}"
        );
        assert_eq!(
            (&report["success_rate"], &report["failure_streak"]),
            (&json!(20.0), &json!(2)),
            "{report:#}"
        );
    }

    fn k05_why_explains_ticks(&self) {
        let why = self.expect(&["why", TASK, &tick(1), "--json"], 0).json();
        // The run is a day late.
        assert_eq!((&why["answer"], &why["status"]), (&json!("caught_up"), &json!("FAILED")), "{why:#}");
        assert_eq!(why["records"][0]["trigger"], "schedule", "{why:#}");
        let why = self.expect(&["why", TASK, &tick(-1), "--json"], 0).json();
        assert_eq!(why["answer"], "future", "{why:#}");
    }

    fn c05_c08_a_task_is_disabled_and_has_settings_of_run_time(&self) {
        let off = self.expect(&["disable", TASK, "--json"], 0).json();
        assert_eq!(off, json!({ "task": TASK, "enabled": false, "changed": true }));
        let refused = self.expect(&["run", TASK, "--json"], 1).json();
        assert_eq!((&refused["status"], &refused["skipped_reason"]), (&json!("SKIPPED"), &json!("disabled")));
        self.expect(&["enable", TASK], 0);
        let set =
            self.expect(&["set", TASK, "--timeout", "2m", "--config", r#"{"batch_size": 7}"#, "--json"], 0);
        assert_eq!(set.json()["settings"], json!({ "timeout_ms": 120_000, "config": { "batch_size": 7 } }));
        assert_eq!(self.expect(&["run", TASK, "--json"], 0).json()["config"]["batch_size"], 7);
        self.expect(&["set", TASK, "--timeout", "2h"], 2);
        self.expect(&["set", TASK, "--reset"], 0);
    }

    fn l25_the_log_is_read_and_followed(&self) {
        let run = self.expect(&["run", TASK, "--json"], 0).json();
        let id = run["id"].as_str().unwrap();
        let of_run = |ended: &CommandOutput| ended.stdout.contains(id);
        let lines = CommandOutput::until(|| self.command(&["logs", id, "--json"]), of_run);
        assert_eq!(lines.code, Some(0), "{lines:?}");
        for line in lines.stdout.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!((&line["run_id"], &line["task"]), (&json!(id), &json!(TASK)));
        }
        // The lines of all runs, and Lambda's own lines.
        let all = self.expect(&["logs", TASK, "--json"], 0).stdout;
        assert!(all.contains(id) && all.lines().count() > lines.stdout.lines().count(), "{all}");
        let newest = self.expect(&["logs", TASK, "--json", "--limit", "2"], 0).stdout;
        assert!(all.ends_with(&newest) && newest.lines().count() == 2, "{newest}");

        let mut follow = self.command(&["logs", TASK, "--json", "--follow"]);
        let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let output = BufReader::new(follow.stdout.take().unwrap());
        let (sender, followed) = mpsc::channel();
        let reading = thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        // All lines up to a run's first one.
        let up_to = |run: &str| {
            let mut seen = Vec::new();
            while seen.last().is_none_or(|line: &String| !line.contains(run)) {
                let line = followed.recv_timeout(PATIENCE);
                seen.push(line.unwrap_or_else(|_| panic!("no line of {run} behind {seen:#?}")));
            }
            seen
        };
        let mut seen = up_to(id);
        let next = self.expect(&["run", TASK, "--json"], 0).json();
        seen.extend(up_to(next["id"].as_str().unwrap()));
        follow.kill().unwrap();
        follow.wait().unwrap();
        let _ = reading.join();
        // Earlier and new lines are both shown, once.
        seen.retain(|line| line.contains(id));
        let whole = self.expect(&["logs", id, "--json"], 0).stdout;
        assert_eq!(seen, whole.lines().collect::<Vec<_>>());
    }

    fn c19_a_run_is_cancelled(&self) {
        expire_sessions(&self.database, 120);
        let mut run = self.command(&["run", TASK, "--json", "--config", SLOW]);
        let run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let cancelled =
            CommandOutput::until(|| self.command(&["cancel", TASK, "--json"]), |ended| ended.code == Some(0));
        let run = CommandOutput::wait(run);
        assert_eq!((run.code, &run.json()["status"]), (Some(1), &json!("CANCELLED")), "{run:?}");
        assert_eq!(cancelled.json()[0], run.json());
        let none = self.expect(&["cancel", TASK], 1);
        assert_eq!(none.stderr, "error: no run of purge-expired is in progress\n");
    }

    fn q04_a_job_runs_and_its_result_is_returned(&self) {
        let given = r#"{"users": [{"email": "a@example.com", "name": "żółw"}]}"#;
        let job = self.expect(&["enqueue", QUEUE, given], 0).stdout.trim().to_owned();
        let result = self.expect(&["result", &job, "--timeout", "60s"], 0).json();
        assert_eq!(result, json!({ "added": 1, "known": 0 }));
        let again = self.expect(&["enqueue", QUEUE, given, "--wait", "60s", "--json"], 0).json();
        assert_eq!(
            (&again["status"], &again["data"]["known"]),
            (&json!("COMPLETED"), &json!(1)),
            "{again:#}"
        );

        let later = self.expect(&["enqueue", QUEUE, given, "--delay", "1h"], 0).stdout.trim().to_owned();
        assert!(self.expect(&["status", &later], 0).stdout.contains("PENDING: starts at "));
        self.expect(&["abort", &later], 0);
        let over = self.expect(&["abort", &later], 1);
        assert!(over.stderr.contains("has already ended: CANCELLED"), "{over:?}");
        let unfit = self.expect(&["enqueue", QUEUE, r#"{"users": [{}]}"#], 2);
        assert!(unfit.stderr.contains("invalid arguments for import-users"), "{unfit:?}");

        let list = self.expect(&["jobs", "list", QUEUE, "--json"], 0).json();
        let statuses: Vec<_> = list["jobs"].as_array().unwrap().iter().map(|job| &job["status"]).collect();
        assert_eq!(statuses, ["CANCELLED", "COMPLETED", "COMPLETED"]);
    }

    fn q09_a_failed_job_is_replayed(&self) {
        let given = r#"{"users": [{"email": "nobody", "name": ""}]}"#;
        let failed = self.expect(&["enqueue", QUEUE, given, "--wait", "60s", "--json"], 1).json();
        assert_eq!(failed["status"], "FAILED", "{failed:#}");
        let dead = self.expect(&["jobs", "dead", QUEUE], 0).stdout;
        assert!(
            dead.contains(failed["id"].as_str().unwrap()) && dead.contains("is not an email address"),
            "{dead}"
        );
        let replayed = self.expect(&["jobs", "replay", QUEUE, "--all", "--json"], 0).json();
        let again = replayed[0]["run_id"].as_str().unwrap();
        let result = self.expect(&["result", again, "--timeout", "60s", "--json"], 1).json();
        assert_eq!((&result["status"], &result["retry_of"]), (&json!("FAILED"), &failed["id"]), "{result:#}");
    }

    fn p03_the_pulse_status_has_its_success_and_streaks(&self) {
        let due = self.expect(&["pulse", "execute", "--dry-run", "--json"], 0);
        assert_eq!(due.json()["executed"], 0, "{due:?}");
        // The emulator sends the pulse's event each minute as well.
        let has_worked = |ended: &CommandOutput| ended.json()["pulses"] != 0;
        let execute = || self.command(&["pulse", "execute", "--json"]);
        CommandOutput::until(execute, |_| has_worked(&self.expect(&["pulse", "status", "--json"], 0)));
        let report = self.expect(&["pulse", "status", "--json"], 0).json();
        assert!(["HEALTHY", "FAILING"].contains(&report["status"].as_str().unwrap()), "{report:#}");
        assert_eq!(report["failure_streaks"][TASK], 1, "{report:#}");
    }

    /// The function gets another migration, and keeps its configuration.
    fn g05_the_code_of_one_function_is_updated(&self) {
        let package = tempfile::tempdir().unwrap();
        let built = repository().join("target/lamplighter/run-migrations");
        let migrations = package.path().join("assets/migrations");
        fs::create_dir_all(&migrations).unwrap();
        fs::copy(built.join("bootstrap"), package.path().join("bootstrap")).unwrap();
        for file in fs::read_dir(built.join("assets/migrations")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), migrations.join(file.file_name())).unwrap();
        }
        fs::write(migrations.join("V3__add_orders.sql"), "CREATE TABLE orders (id INTEGER);").unwrap();
        let function = format!("{}-run-migrations", self.stack);
        let deployed = cargo_lambda_deploy(&self.endpoint, &function, package.path());
        deployed.expect_success("cargo lambda deploy");
        let run = self.expect(&["run", "run-migrations", "--json"], 0).json();
        assert!(run["message"].as_str().unwrap().contains("V3__add_orders"), "{run:#}");
        assert_eq!(run["environment"], "dev", "{run:#}");
    }

    fn a_missing_stack_log_or_run_is_an_error_that_names_it(&self) {
        let nobody = Self { stack: "nobody".to_owned(), ..self.clone() };
        let failed = nobody.expect(&["history"], 1);
        assert!(failed.stderr.starts_with("error: stack `nobody` cannot be read: "), "{failed:?}");
        let failed = nobody.expect(&["logs", TASK], 1);
        let said = "error: there is no log group `/aws/lambda/nobody-purge-expired`: ";
        assert!(failed.stderr.starts_with(said), "{failed:?}");
        assert_eq!(nobody.expect(&["logs", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], 1).stdout, "");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = lamplighter();
        command.args(arguments).args(["--aws", "--stack", &self.stack]);
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"] {
            command.env_remove(name);
        }
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    /// Runs a command and expects its exit code.
    fn expect(&self, arguments: &[&str], code: i32) -> CommandOutput {
        let ended = CommandOutput::of(&mut self.command(arguments));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        ended
    }
}
