//! Schedules: EventBridge Scheduler invokes a cron task's function directly.

use jiff::{Timestamp, tz::TimeZone};
use lamplighter_core::{definition::Cron, name::TaskName, schedule::Schedule};
use serde_yaml_ng::Value;

use super::{
    functions::Ids,
    intrinsics::{attribute, own, sub},
    roles,
    yaml::map,
};

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

/// The schedule of a task, and the role that lets it invoke the task's function and nothing else. A schedule that
/// EventBridge cannot express has neither; it has been refused before.
pub(super) fn resources(task: &TaskName, cron: &Cron) -> Vec<(String, Value)> {
    let Some(schedule) = &cron.schedule else { return Vec::new() };
    let Ok(expression) = schedule.to_eventbridge() else { return Vec::new() };
    let function = Ids::of(task).function;
    let prefix = task.to_pascal_case();
    let invoke = roles::allow(&["lambda:InvokeFunction"], vec![attribute(&function, "Arn")]);
    let role = roles::role(roles::trusts_scheduler(), vec![invoke]);
    let role_id = format!("{prefix}ScheduleRole");
    let resource = map! {
        "Type" => "AWS::Scheduler::Schedule",
        "Properties" => map! {
            "Name" => sub(own(task.as_str())),
            "ScheduleExpression" => expression,
            "ScheduleExpressionTimezone" => cron.timezone.as_str(),
            "FlexibleTimeWindow" => map! { "Mode" => "OFF" },
            "Target" => map! {
                "Arn" => attribute(&function, "Arn"),
                "RoleArn" => attribute(&role_id, "Arn"),
                "Input" => INPUT,
                "RetryPolicy" => map! {
                    "MaximumEventAgeInSeconds" => retry_seconds(schedule),
                    "MaximumRetryAttempts" => RETRIES,
                },
            },
        },
    };
    vec![(role_id, role), (format!("{prefix}Schedule"), resource)]
}

/// For how long a tick that could not be delivered is tried again: until the next one, which makes it stale.
fn retry_seconds(schedule: &Schedule) -> i64 {
    let ticks: Vec<_> = schedule.ticks(&TimeZone::UTC, FROM).take(TICKS).collect();
    let pauses = ticks.windows(2).map(|pair| pair[0].duration_until(pair[1]).as_secs());
    pauses.min().unwrap_or(*RETRY_SECONDS.end()).clamp(*RETRY_SECONDS.start(), *RETRY_SECONDS.end())
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
            assert_eq!(retry_seconds(&schedule.parse().unwrap()), seconds, "{schedule}");
        }
    }

    #[test]
    fn the_input_is_json() {
        let input: serde_json::Value = serde_json::from_str(INPUT).unwrap();
        assert_eq!(input["trigger"], "schedule");
    }
}
