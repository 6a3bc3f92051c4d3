//! The commands of `lamplighter` on a stack in AWS, and who is told there of a task that failed.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use lamplighter_e2e::{Ended, expire_sessions, lamplighter};
use serde_json::{Value, json};

use crate::version::Version;
use crate::world::{Stack, World};

const TASK: &str = "purge-expired";
/// A configuration that the task refuses.
const REFUSED: &str = r#"{"pause_ms": 600000}"#;
/// The queue task.
const QUEUE: &str = "import-users";
/// How long a line that is followed may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// A purge that takes half a second for each session.
const SLOW: &str = r#"{"batch_size": 1, "pause_ms": 500}"#;

/// Somebody with the program.
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
    let version = Version::new(&format!("sqlite:{}", hand.database.display())).telling();
    let (deployed, status) = stack.deploy(&version, "1").await;
    assert!(deployed.success, "{status}: {:#?}\n{}", stack.events().await, deployed.output);

    p06_a_topic_and_an_event_bus_are_told(&stack).await;
    let started = std::time::Instant::now();
    tokio::task::spawn_blocking(move || {
        hand.it_runs_and_is_read();
        hand.k05_it_knows_why();
        hand.c05_it_is_switched_off_and_set();
        hand.its_log_is_read_and_followed();
        hand.c19_it_is_cancelled();
        hand.q04_a_job_goes_through_its_queue_and_its_result_comes_back();
        hand.q09_a_job_that_failed_is_replayed();
        hand.p03_the_pulse_tells_how_it_has_fared();
        hand.what_is_not_there_is_named();
    })
    .await
    .unwrap();
    eprintln!("by hand: {:.1} s", started.elapsed().as_secs_f64());
}

/// The tick of some days ago.
fn tick(days: i64) -> String {
    let day = Timestamp::now().strftime("%Y-%m-%dT03:00:00Z").to_string().parse::<Timestamp>().unwrap();
    (day - (days * 24).hours()).to_string()
}

async fn p06_a_topic_and_an_event_bus_are_told(stack: &Stack) {
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
    let [told] = &aws.receive(&queue).await[..] else { panic!("one message") };
    assert_eq!(told["Subject"], "purge-expired FAILED in hand", "{told:#}");
    expected(&serde_json::from_str(told["Message"].as_str().unwrap()).unwrap(), 2);

    let bus = json!({ "event_bus": aws.physical_id(&stack.name, "AlertBus").await }).to_string();
    let pulse = stack.function("lamplighter-pulse");
    aws.set_variable(&pulse, "LAMPLIGHTER_NOTIFY", &bus).await;
    // What CloudFormation put in is the topic.
    aws.set_variable(&pulse, "LAMPLIGHTER_NOTIFY_VALUE", "").await;
    aws.invoke_async(&stack.function(TASK), &fails(1)).await;
    let [told] = &aws.receive(&queue).await[..] else { panic!("one event") };
    assert_eq!(
        (&told["source"], &told["detail-type"]),
        (&json!("lamplighter"), &json!("Lamplighter Task Failure"))
    );
    expected(&told["detail"], 1);
}

impl Hand {
    fn it_runs_and_is_read(&self) {
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
        let told = &statistics[0];
        // The two that the schedule's trigger started count in too.
        assert_eq!((&told["total"], &told["by_status"]["COMPLETED"]), (&json!(5), &json!(1)), "{told:#}");
        assert_eq!((&told["success_rate"], &told["failure_streak"]), (&json!(20.0), &json!(2)), "{told:#}");
    }

    fn k05_it_knows_why(&self) {
        let why = self.expect(&["why", TASK, &tick(1), "--json"], 0).json();
        // It is a day late.
        assert_eq!((&why["answer"], &why["status"]), (&json!("caught_up"), &json!("FAILED")), "{why:#}");
        assert_eq!(why["records"][0]["trigger"], "schedule", "{why:#}");
        let why = self.expect(&["why", TASK, &tick(-1), "--json"], 0).json();
        assert_eq!(why["answer"], "future", "{why:#}");
    }

    fn c05_it_is_switched_off_and_set(&self) {
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

    fn its_log_is_read_and_followed(&self) {
        let run = self.expect(&["run", TASK, "--json"], 0).json();
        let id = run["id"].as_str().unwrap();
        let of_run = |ended: &Ended| ended.stdout.contains(id);
        let lines = Ended::until(|| self.command(&["logs", id, "--json"]), of_run);
        assert_eq!(lines.code, Some(0), "{lines:?}");
        for line in lines.stdout.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!((&line["run_id"], &line["task"]), (&json!(id), &json!(TASK)));
        }
        // Those of all runs, and what Lambda itself says.
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
        // Every line up to the first one of a run.
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
        // What was said before and what comes are both there, once.
        seen.retain(|line| line.contains(id));
        let whole = self.expect(&["logs", id, "--json"], 0).stdout;
        assert_eq!(seen, whole.lines().collect::<Vec<_>>());
    }

    fn c19_it_is_cancelled(&self) {
        expire_sessions(&self.database, 120);
        let mut run = self.command(&["run", TASK, "--json", "--config", SLOW]);
        let run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let cancelled =
            Ended::until(|| self.command(&["cancel", TASK, "--json"]), |ended| ended.code == Some(0));
        let run = Ended::wait(run);
        assert_eq!((run.code, &run.json()["status"]), (Some(1), &json!("CANCELLED")), "{run:?}");
        assert_eq!(cancelled.json()[0], run.json());
        let none = self.expect(&["cancel", TASK], 1);
        assert_eq!(none.stderr, "error: no run of purge-expired is in progress\n");
    }

    fn q04_a_job_goes_through_its_queue_and_its_result_comes_back(&self) {
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

    fn q09_a_job_that_failed_is_replayed(&self) {
        let given = r#"{"users": [{"email": "nobody", "name": ""}]}"#;
        let failed = self.expect(&["enqueue", QUEUE, given, "--wait", "60s", "--json"], 1).json();
        assert_eq!(failed["status"], "FAILED", "{failed:#}");
        let dead = self.expect(&["jobs", "dead", QUEUE], 0).stdout;
        assert!(dead.contains(failed["id"].as_str().unwrap()) && dead.contains("is not an email address"), "{dead}");
        let replayed = self.expect(&["jobs", "replay", QUEUE, "--all", "--json"], 0).json();
        let again = replayed[0]["run_id"].as_str().unwrap();
        let result = self.expect(&["result", again, "--timeout", "60s", "--json"], 1).json();
        assert_eq!((&result["status"], &result["retry_of"]), (&json!("FAILED"), &failed["id"]), "{result:#}");
    }

    fn p03_the_pulse_tells_how_it_has_fared(&self) {
        let due = self.expect(&["pulse", "execute", "--dry-run", "--json"], 0);
        assert_eq!(due.json()["executed"], 0, "{due:?}");
        // The emulator sends the pulse its event each minute, too.
        let has_worked = |ended: &Ended| ended.json()["pulses"] != 0;
        let execute = || self.command(&["pulse", "execute", "--json"]);
        Ended::until(execute, |_| has_worked(&self.expect(&["pulse", "status", "--json"], 0)));
        let told = self.expect(&["pulse", "status", "--json"], 0).json();
        assert!(["HEALTHY", "FAILING"].contains(&told["status"].as_str().unwrap()), "{told:#}");
        assert_eq!(told["failure_streaks"][TASK], 1, "{told:#}");
    }

    fn what_is_not_there_is_named(&self) {
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

    /// The command to its end, which is this.
    fn expect(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = Ended::of(&mut self.command(arguments));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        ended
    }
}
