//! Schedules: EventBridge Scheduler invokes a cron task's function directly.

use jiff::{Timestamp, tz::TimeZone};
use lamplighter_core::{
    catch_up::CatchUp,
    definition::Cron,
    name::TaskName,
    schedule::{Driver, GRACE, Schedule, driver},
};
use lamplighter_project::{Project, queues::UNDELIVERED};
use serde_yaml_ng::Value;

use super::{
    Group, Skip,
    functions::Ids,
    intrinsics::{attribute, own, sub},
    roles, skipping,
    yaml::map,
};

/// Where the ticks go that could not be delivered.
const UNDELIVERED_TICKS: &str = "LamplighterUndeliveredTicks";
/// How long they stay there, in seconds: the longest that SQS keeps a message.
const UNDELIVERED_SECONDS: u32 = 14 * 24 * 3600;

/// What a schedule sends. EventBridge puts in the tick's own time, which is part of the run's identity.
const INPUT: &str = r#"{"trigger":"schedule","scheduled_for":"<aws.scheduler.scheduled-time>"}"#;
/// How often a tick that could not be delivered is tried again, at most: what EventBridge allows.
const RETRIES: u32 = 185;
/// The bounds of the time for which it is tried, in seconds. Source: EventBridge Scheduler API Reference,
/// `RetryPolicy`.
const RETRY_SECONDS: std::ops::RangeInclusive<i64> = 60..=86_400;
/// As many ticks show the shortest pause of any schedule that people write.
const TICKS: usize = 200;
/// From when on they are counted: 2024-01-01.
const FROM: Timestamp = Timestamp::constant(1_704_067_200, 0);

/// The queue of what no schedule could deliver, one for all of them, if there are some.
pub(super) fn groups(project: &Project) -> Vec<Group> {
    let by_eventbridge = |cron| matches!(driver(cron), Driver::EventBridge { .. });
    if !project.tasks.iter().filter_map(|task| task.definition.cron()).any(by_eventbridge) {
        return Vec::new();
    }
    let queue = map! {
        "Type" => "AWS::SQS::Queue",
        "DeletionPolicy" => "Delete",
        "UpdateReplacePolicy" => "Retain",
        "Properties" => map! {
            "QueueName" => sub(own(UNDELIVERED)),
            "MessageRetentionPeriod" => UNDELIVERED_SECONDS,
            "SqsManagedSseEnabled" => true,
        },
    };
    let queue = skipping(
        queue,
        &[Skip("CKV_AWS_27", "encrypted with a key that SQS owns, which the check does not know of")],
    );
    vec![
        Group::new("The ticks that EventBridge Scheduler could not deliver, for two weeks.")
            .with(UNDELIVERED_TICKS, queue),
    ]
}

/// The schedule of a task, and the role that lets it invoke the task's function, or else set the tick aside, and
/// nothing else. A task that the pulse drives has neither.
pub(super) fn resources(task: &TaskName, cron: &Cron) -> Vec<(String, Value)> {
    let (Some(schedule), Driver::EventBridge { expression }) = (&cron.schedule, driver(cron)) else {
        return Vec::new();
    };
    let function = Ids::of(task).function;
    let prefix = task.to_pascal_case();
    let invoke = roles::allow(&["lambda:InvokeFunction"], vec![attribute(&function, "Arn")]);
    let set_aside = roles::allow(&["sqs:SendMessage"], vec![attribute(UNDELIVERED_TICKS, "Arn")]);
    let role = roles::role(roles::trusts_scheduler(), vec![invoke, set_aside]);
    let role_id = format!("{prefix}ScheduleRole");
    let resource = map! {
        "Type" => "AWS::Scheduler::Schedule",
        "Properties" => map! {
            "Name" => sub(own(task.as_str())),
            "State" => "ENABLED",
            "ScheduleExpression" => expression,
            "ScheduleExpressionTimezone" => cron.timezone.as_str(),
            "FlexibleTimeWindow" => map! { "Mode" => "OFF" },
            "Target" => map! {
                "Arn" => attribute(&function, "Arn"),
                "RoleArn" => attribute(&role_id, "Arn"),
                "Input" => INPUT,
                "DeadLetterConfig" => map! { "Arn" => attribute(UNDELIVERED_TICKS, "Arn") },
                "RetryPolicy" => map! {
                    "MaximumEventAgeInSeconds" => retry_seconds(schedule, cron.catch_up),
                    "MaximumRetryAttempts" => RETRIES,
                },
            },
        },
    };
    vec![(role_id, role), (id(task), resource)]
}

/// The logical id of a task's schedule.
pub(super) fn id(task: &TaskName) -> String {
    format!("{}Schedule", task.to_pascal_case())
}

/// For how long a tick that could not be delivered is tried again: until the next one, which makes it stale, or with
/// catch-up `none` as long as the pulse would run it.
fn retry_seconds(schedule: &Schedule, catch_up: CatchUp) -> i64 {
    let longest = match catch_up {
        CatchUp::None => i64::try_from(GRACE.as_secs()).unwrap_or(i64::MAX),
        CatchUp::Last | CatchUp::All { .. } => *RETRY_SECONDS.end(),
    };
    let ticks: Vec<_> = schedule.ticks(&TimeZone::UTC, FROM).take(TICKS).collect();
    let pauses = ticks.windows(2).map(|pair| pair[0].duration_until(pair[1]).as_secs());
    pauses.min().unwrap_or(longest).min(longest).clamp(*RETRY_SECONDS.start(), *RETRY_SECONDS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_tried_until_the_next_one() {
        for (schedule, seconds) in [
            ("* * * * *", 60),
            ("*/5 * * * *", 300),
            ("0,10 8-18 * * mon-fri", 600),
            ("@daily", 86_400),
            ("0 6 * * 1", 86_400),
            ("0 0 29 2 *", 86_400),
        ] {
            assert_eq!(retry_seconds(&schedule.parse().unwrap(), CatchUp::Last), seconds, "{schedule}");
            let soon = retry_seconds(&schedule.parse().unwrap(), CatchUp::None);
            assert_eq!(soon, seconds.min(120), "{schedule}");
        }
    }

    #[test]
    fn the_input_is_json() {
        let input: serde_json::Value = serde_json::from_str(INPUT).unwrap();
        assert_eq!(input["trigger"], "schedule");
    }
}
