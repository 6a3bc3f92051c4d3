//! The schedules by which EventBridge Scheduler invokes the functions of cron tasks.

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
    group::{Group, Skip, skipping},
    ids::{self, Ids, UNDELIVERED_TICKS},
    intrinsics::{attribute, own, sub},
    properties, roles,
    yaml::map,
};

/// The retention of the queue of undelivered ticks, in seconds: the maximum of SQS.
const UNDELIVERED_SECONDS: u32 = 14 * 24 * 3600;

/// The event that a schedule sends. EventBridge inserts the tick, which is part of the run's identity.
const INPUT: &str = r#"{"trigger":"schedule","scheduled_for":"<aws.scheduler.scheduled-time>"}"#;
/// The number of retries of a tick's delivery: the maximum of EventBridge.
const RETRIES: u32 = 185;
/// The limits of the time for which delivery is retried, in seconds. Source: EventBridge Scheduler API Reference,
/// `RetryPolicy`.
const RETRY_SECONDS: std::ops::RangeInclusive<i64> = 60..=86_400;
/// The number of ticks among which the shortest pause of a schedule is looked for.
const TICKS: usize = 200;
/// The time from which these ticks are counted: 2024-01-01.
const FROM: Timestamp = Timestamp::constant(1_704_067_200, 0);

/// Renders the queue of undelivered ticks, one for all schedules, if EventBridge drives a task.
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

/// Renders the schedule of a task and its role. The role allows invoking the task's function and storing an undelivered tick.
/// A task that the pulse drives has neither.
pub(super) fn resources(project: &Project, task: &TaskName, cron: &Cron) -> Vec<(String, Value)> {
    let (Some(schedule), Driver::EventBridge { expression }) = (&cron.schedule, driver(cron)) else {
        return Vec::new();
    };
    let function = Ids::of_task(task).function;
    let prefix = task.to_pascal_case();
    let invoke = roles::allow(&["lambda:InvokeFunction"], vec![attribute(&function, "Arn")]);
    let set_aside = roles::allow(&["sqs:SendMessage"], vec![attribute(UNDELIVERED_TICKS, "Arn")]);
    let role = roles::role(
        roles::trusts_scheduler(),
        vec![invoke, set_aside],
        properties::of_role(&project.framework.role),
    );
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
    vec![(role_id, role), (ids::schedule(task), resource)]
}

/// Returns the time for which the delivery of a tick is retried, in seconds: until the next tick. With catch-up `none`
/// this is at most the grace period in which a late tick still runs.
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
    fn the_delivery_of_a_tick_is_retried_until_the_next_one() {
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
