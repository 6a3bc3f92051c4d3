//! The later life of the stack: repeated and malformed events, a kill, ticks, a missing permission, a rollback, and its
//! deletion.

use std::time::Duration;

use lamplighter_e2e::Aws;
use serde_json::{Value, json};

use super::life::{AFTER, BEFORE, Life};
use super::processes::kill;
use super::world::{Stack, statuses};

/// The secret of a task.
const SECRET: &str = "correct-horse-battery-staple";
const TASKS: [&str; 5] = ["run-migrations", "seed-data", "process-assets", "warm-cache", "purge-expired"];

impl Life {
    pub async fn l14_events_delivered_again_run_nothing(&self) {
        let event = self.last_event(BEFORE);
        assert_eq!(
            (&event["RequestType"], &event["ResourceProperties"]["Version"]),
            (&json!("Update"), &json!("4"))
        );
        let (runs, answer) = (self.all_runs().await, self.answer(BEFORE).await);
        let aws = &self.stack.world.aws;
        let dispatcher = self.stack.dispatcher();
        let again = aws.invoke(&dispatcher, &event).await;
        assert_eq!((again.function_error, again.payload), (None, json!("Answered")));
        // Twice at once, one of them with another URL: the same answer.
        let mut elsewhere = event.clone();
        elsewhere["ResponseURL"] = json!(format!("{}-elsewhere", event["ResponseURL"].as_str().unwrap()));
        let (one, other) = tokio::join!(aws.invoke(&dispatcher, &event), aws.invoke(&dispatcher, &elsewhere));
        assert_eq!((one.payload, other.payload), (json!("Answered"), json!("Answered")));
        assert_eq!((self.all_runs().await, self.answer(BEFORE).await), (runs, answer));
    }

    pub async fn l22_malformed_events_are_answered_or_logged(&self) {
        let (aws, dispatcher) = (&self.stack.world.aws, self.stack.dispatcher());
        let runs = self.all_runs().await;
        let event = self.last_event(BEFORE);
        let with = |key: &str, value: Value| {
            let mut event = event.clone();
            event[key] = value;
            event
        };
        for (garbage, word) in [
            (json!({}), "`ResponseURL` is missing"),
            (json!("garbage"), "`ResponseURL` is missing"),
            (json!([null, 1]), "`ResponseURL` is missing"),
            (with("ResponseURL", json!("http://example.com/")), "`ResponseURL` is not https"),
            (with("StackId", json!(7)), "`StackId` is missing or not a string"),
        ] {
            let answer = aws.invoke(&dispatcher, &garbage).await;
            let message = answer.payload["errorMessage"].as_str().unwrap_or_default().to_owned();
            assert!(answer.function_error.is_some() && message.contains(word), "{garbage}: {answer:?}");
        }
        let mut request = with("RequestId", json!("malformed"));
        request["RequestType"] = json!("Upsert");
        let mut tasks = with("RequestId", json!("malformed-too"));
        tasks["ResourceProperties"]["Tasks"] = json!({ "all": ["x".repeat(1 << 20)] });
        for event in [request, tasks] {
            let answer = aws.invoke(&dispatcher, &event).await;
            assert_eq!((answer.function_error, answer.payload), (None, json!("Answered")));
        }
        let logs = aws.logs(&dispatcher).await;
        for word in [
            "`ResponseURL` is missing",
            "RequestType: must be Create, Update or Delete",
            "ResourceProperties.Tasks",
        ] {
            assert!(logs.iter().any(|line| line.contains(word)), "no `{word}` in {logs:#?}");
        }
        assert!(!logs.iter().any(|line| line.contains("panicked")), "{logs:#?}");
        assert_eq!(self.all_runs().await, runs);
    }

    pub async fn l19_after_a_kill_of_the_dispatcher_the_deployment_resumes(&self) {
        let (pages, events) = (self.pages.versions().len(), self.events().len());
        self.pages.close();
        let (stack, version) = (self.stack.clone(), self.version());
        let deploying = tokio::spawn(async move { stack.deploy(&version, "5").await });
        // Now the tasks before the application have ended, and the one after it is running.
        tokio::select! {
            () = self.pages.requested(pages + 1) => {}
            () = tokio::time::sleep(Duration::from_secs(90)) => panic!("warm-cache requests nothing"),
        }
        let event = self.last_event(AFTER);
        assert_ne!(kill(&self.stack.world.endpoint(), &self.stack.dispatcher()), 0);
        let again = tokio::spawn(redeliver(self.stack.clone(), event));
        // One event for each phase, and the repeated one.
        let arrived = async {
            while self.events().len() < events + 3 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), arrived).await.expect("the event is not redelivered");
        self.pages.open();
        assert_eq!(again.await.unwrap(), json!("Answered"));
        let (deployed, status) = deploying.await.unwrap();
        deployed.expect_success("sam deploy with a dispatcher that is killed");
        assert_eq!(status, "UPDATE_COMPLETE");
        self.expect_versions("warm-cache", "5", "4").await;
        assert_eq!(self.pages.versions().len(), pages + 1);
    }

    pub async fn g04_a_tick_runs_its_task_once(&self) {
        let (aws, function) = (&self.stack.world.aws, self.stack.function("purge-expired"));
        let schedule = aws.schedule(&function).await;
        assert_eq!(
            (&schedule["ScheduleExpression"], &schedule["State"]),
            (&json!("cron(0 3 * * ? *)"), &json!("ENABLED"))
        );
        assert_eq!(schedule["ScheduleExpressionTimezone"], "UTC");
        let input = schedule["Target"]["Input"].as_str().unwrap();
        let tick = |time: &str| {
            serde_json::from_str::<Value>(&input.replace("<aws.scheduler.scheduled-time>", time)).unwrap()
        };
        // At 3:00 UTC the emulator starts a run of its own.
        let runs = async || {
            let mut runs = self.stack.runs("purge-expired").await;
            runs.retain(|run| run["scheduled_for"].as_str().is_some_and(|tick| tick.starts_with("2026-01-")));
            runs
        };
        let first = tick("2026-01-01T03:00:00Z");
        assert_eq!(aws.invoke(&function, &first).await.payload["status"], "COMPLETED");
        let again = aws.invoke(&function, &first).await;
        assert!(again.function_error.is_none() && !again.payload["refused"].is_null(), "{again:?}");
        assert_eq!(statuses(&runs().await), ["COMPLETED"]);

        let next = tick("2026-01-02T03:00:00Z");
        let invoke =
            |aws: Aws, function: String, tick: Value| async move { aws.invoke(&function, &tick).await };
        let at_once = (0..4).map(|_| tokio::spawn(invoke(aws.clone(), function.clone(), next.clone())));
        let mut reports = Vec::new();
        for answer in at_once.collect::<Vec<_>>() {
            reports.push(answer.await.unwrap().payload);
        }
        let ran =
            reports.iter().filter(|report| report["status"] == "COMPLETED" && report["refused"].is_null());
        assert_eq!(ran.count(), 1, "{reports:#?}");
        let refused = reports.iter().filter(|report| !report["refused"].is_null());
        assert_eq!(refused.count(), 3, "{reports:#?}");
        let runs = runs().await;
        let bodies: Vec<_> = runs.iter().filter(|run| run["status"] == "COMPLETED").collect();
        assert_eq!(bodies.len(), 2, "{runs:#?}");
        let rest = statuses(&runs)
            .into_iter()
            .filter(|status| *status != "COMPLETED")
            .all(|status| status == "SKIPPED");
        assert!(rest, "{runs:#?}");
    }

    pub async fn g03_a_role_without_its_permission_fails_the_deployment(&self) {
        let poorer = self.version().forbidding("RunMigrationsRole", "dynamodb:UpdateItem");
        let (deployed, status) = self.stack.deploy(&poorer, "6").await;
        deployed.expect_failure("sam deploy of a role that may not claim");
        assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE");
        let reason = self.stack.reason(BEFORE, "UPDATE_FAILED").await;
        assert!(reason.contains("run-migrations FAILED") && reason.contains("AccessDenied"), "{reason}");
        assert_eq!(self.version_served().await, "5");
    }

    /// The tasks before the application succeed, and the resource after it fails. The stack rolls back, the published files
    /// are withdrawn once, and the next update gets the right previous version.
    pub async fn l18_if_another_resource_fails_the_completed_tasks_are_undone(&self) {
        let bucket = self.stack.world.aws.physical_id(&self.stack.name, "LamplighterBucket").await;
        let published = |keys: Vec<String>| keys.into_iter().filter(|key| key.contains("/notice")).count();
        let noticed = self.version().with_public_file("notice.txt", "we are moving");
        let (deployed, status) = self.stack.deploy(&noticed.leaking(SECRET), "7").await;
        deployed.expect_failure("sam deploy of a version whose cache cannot be warmed");
        assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE", "{:#?}", self.stack.events().await);
        let reason = self.stack.reason(AFTER, "UPDATE_FAILED").await;
        assert!(reason.contains("warm-cache FAILED") && reason.contains("refused \"[secret]\""), "{reason}");
        let runs = self.stack.runs("process-assets").await;
        let last: Vec<_> =
            runs.iter().rev().take(2).rev().map(|run| (&run["trigger"], &run["status"])).collect();
        let completed = json!("COMPLETED");
        assert_eq!(last, [(&json!("update"), &completed), (&json!("rollback"), &completed)], "{runs:#?}");
        assert_eq!(runs.last().unwrap()["deployment"]["rolled_back_version"], "7");
        assert_eq!(published(self.stack.world.aws.keys(&bucket).await), 0);
        assert_eq!(self.version_served().await, "5");

        let (deployed, status) = self.stack.deploy(&self.version(), "8").await;
        deployed.expect_success("sam deploy of the next version");
        assert_eq!(status, "UPDATE_COMPLETE");
        self.expect_versions("run-migrations", "8", "5").await;
        self.expect_versions("warm-cache", "8", "5").await;
    }

    /// The response URL, which allows to forge the answer, is in no log, item or event. Neither is the secret of a task that
    /// logs it and fails with it.
    pub async fn l23_no_secret_is_logged_or_stored(&self) {
        let mut texts =
            vec![format!("{:?}", self.stack.items().await), format!("{:?}", self.stack.events().await)];
        let functions = TASKS.into_iter().chain(["site", "lamplighter-dispatcher", "lamplighter-fallback"]);
        for function in functions {
            texts.extend(self.stack.world.aws.logs(&self.stack.function(function)).await);
        }
        assert!(texts.iter().any(|text| text.contains("the secret is [secret]")));
        assert!(!texts.iter().any(|text| text.contains(SECRET)));
        let events = self.events();
        assert!(events.len() > 10);
        for event in events {
            let Some(url) = event["ResponseURL"].as_str().filter(|url| url.contains("cfn-response")) else {
                continue;
            };
            let token = url.rsplit('/').next().unwrap();
            for text in &texts {
                assert!(!text.contains(url) && !text.contains(token), "{text}");
            }
        }
        assert!(!texts.iter().any(|text| text.contains("cfn-response")));
    }

    pub async fn l06_a_delete_runs_nothing(&self) {
        let (runs, pages) = (self.all_runs().await, self.pages.versions());
        let mut delete = self.last_event(AFTER);
        delete["RequestType"] = json!("Delete");
        delete["RequestId"] = json!("by-hand");
        delete["PhysicalResourceId"] = json!("nobody-knows-it");
        let answer = self.stack.world.aws.invoke(&self.stack.dispatcher(), &delete).await;
        assert_eq!((answer.function_error, answer.payload), (None, json!("Answered")));
        assert_eq!(self.all_runs().await, runs);

        let events = self.events().len();
        self.stack.delete().await.expect_success("sam delete");
        let status = self.stack.world.aws.stack_status(&self.stack.name).await;
        assert!(status.is_none_or(|status| status == "DELETE_COMPLETE"));
        let kinds: Vec<_> =
            self.events()[events..].iter().map(|event| event["RequestType"].clone()).collect();
        assert_eq!(kinds, ["Delete", "Delete"]);
        assert_eq!(self.pages.versions(), pages);
    }
}

/// Delivers an event to the dispatcher as Lambda does: up to three times if the process dies. The first delivery may
/// reach the killed process, if the emulator has not noticed its end yet.
async fn redeliver(stack: Stack, event: Value) -> Value {
    let mut answer = Value::Null;
    for _ in 0..3 {
        let invocation = stack.world.aws.invoke(&stack.dispatcher(), &event).await;
        answer = invocation.payload;
        if invocation.function_error.is_none() {
            break;
        }
    }
    answer
}
