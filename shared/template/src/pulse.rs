//! The pulse and its schedule. The stack has it only if a task needs it.

use lamplighter_core::{
    notification::Target,
    schedule::{Driver, driver},
};
use lamplighter_project::{
    Project,
    functions::{Destination, FunctionKind, FunctionPlan, PULSE_FUNCTION},
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    functions::{self, Additions},
    group::Group,
    ids::{self, Ids, PULSE_RETRIES},
    intrinsics::{attribute, dead_letters_arn, function_arn, own, queue_arn, reference, sub, sub_if_needed},
    properties, roles,
    yaml::{map, mapping},
};

/// The time in which EventBridge tries to deliver the event of one minute, in seconds. The next minute's pulse makes up for a lost
/// one.
/// Source: EventBridge Scheduler API Reference, `RetryPolicy`.
const EVENT_SECONDS: u32 = 60;

/// Renders the destination to which Lambda sends the record of a cron task's failed invocation: the pulse.
pub(super) fn destination() -> Value {
    let pulse = attribute(&Ids::of_pulse().function, "Arn");
    map! { "OnFailure" => map! { "Type" => "Lambda", "Destination" => pulse } }
}

/// Allows a function to send such records.
pub(super) fn may_be_invoked() -> Value {
    roles::allow(&["lambda:InvokeFunction"], vec![function_arn(PULSE_FUNCTION)])
}

/// Renders the pulse, if the stack has one.
pub(super) fn groups(project: &Project, plans: &[FunctionPlan<'_>]) -> Vec<Group> {
    let pulse = plans.iter().filter(|plan| plan.in_stack && plan.kind == FunctionKind::Pulse);
    pulse.map(|plan| group(project, plan)).collect()
}

fn group(project: &Project, plan: &FunctionPlan<'_>) -> Group {
    let ids = Ids::of_pulse();
    let mut invoked = mapping(map! {
        "FunctionName" => reference(&ids.function),
        "Qualifier" => "$LATEST",
        "MaximumRetryAttempts" => plan.max_retries,
    });
    if let Some(Destination::Target(target)) = plan.on_failure
        && let Some((_, arn)) = delivery(target)
    {
        // Lambda itself reports a pulse that fails, to the same target.
        let destination = map! { "OnFailure" => map! { "Destination" => arn } };
        invoked.insert("DestinationConfig".into(), destination);
    }
    let additions =
        Additions { statements: statements(project), attributes: waits(project), properties: Mapping::new() };
    let comment = "Each minute starts the tasks that EventBridge cannot and the jobs that are due, ends lost runs, and \
                   tells of failures.";
    Group::new(comment)
        .with_all(functions::resources(project, plan, &ids, additions))
        .with(PULSE_RETRIES, map! { "Type" => "AWS::Lambda::EventInvokeConfig", "Properties" => invoked })
        .with_all(schedule(project, &ids))
}

fn statements(project: &Project) -> Vec<Value> {
    let mut functions: Vec<_> = project.cron().map(|(task, _)| function_arn(task.name().as_str())).collect();
    functions.dedup();
    let mut statements = vec![roles::table(&[
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    ])];
    if !functions.is_empty() {
        statements.push(roles::allow(&["lambda:InvokeFunction"], functions));
    }
    let queue_tasks: Vec<_> = project.queues().map(|(task, _)| task.name()).collect();
    if !queue_tasks.is_empty() {
        let queues = queue_tasks.iter().map(|task| queue_arn(task)).collect();
        statements.extend([
            roles::due(),
            roles::allow(&["sqs:SendMessage"], queues),
            roles::values(queue_tasks.iter().copied()),
            roles::follower_values(queue_tasks.iter().copied()),
        ]);
        if project.notify.is_some() {
            let dead_letters = queue_tasks.iter().map(|task| dead_letters_arn(task)).collect();
            statements.push(roles::allow(&["sqs:GetQueueAttributes"], dead_letters));
        }
    }
    let delivery = project.notify.as_ref().and_then(delivery);
    statements.extend(delivery.map(|(action, arn)| roles::allow(&[action], vec![arn])));
    statements
}

/// Makes CloudFormation change the pulse after the functions of the cron tasks and their schedules. So the pulse never
/// starts a task whose new version is not deployed yet.
fn waits(project: &Project) -> Mapping {
    let mut needed = Vec::new();
    for (task, cron) in project.cron() {
        needed.push(Ids::of_task(task.name()).function);
        if matches!(driver(cron), Driver::EventBridge { .. }) {
            needed.push(ids::schedule(task.name()));
        }
    }
    if needed.is_empty() {
        return Mapping::new();
    }
    let needed: Vec<_> = needed.into_iter().map(Value::from).collect();
    Mapping::from_iter([("DependsOn".into(), needed.into())])
}

/// Renders the schedule of the pulse, and the role that lets it invoke the pulse and nothing else.
fn schedule(project: &Project, ids: &Ids) -> [(String, Value); 2] {
    let arn = attribute(&ids.function, "Arn");
    let invoke = roles::allow(&["lambda:InvokeFunction"], vec![arn.clone()]);
    let schedule = map! {
        "Type" => "AWS::Scheduler::Schedule",
        "Properties" => map! {
            "Name" => sub(own(PULSE_FUNCTION)),
            "ScheduleExpression" => "rate(1 minute)",
            "State" => "ENABLED",
            "FlexibleTimeWindow" => map! { "Mode" => "OFF" },
            "Target" => map! {
                "Arn" => arn,
                "RoleArn" => attribute("LamplighterPulseScheduleRole", "Arn"),
                "Input" => "{}",
                "RetryPolicy" => map! {
                    "MaximumEventAgeInSeconds" => EVENT_SECONDS,
                    "MaximumRetryAttempts" => 0,
                },
            },
        },
    };
    let role =
        roles::role(roles::trusts_scheduler(), vec![invoke], properties::of_role(&project.framework.role));
    [("LamplighterPulseScheduleRole".to_owned(), role), ("LamplighterPulseSchedule".to_owned(), schedule)]
}

/// Returns the action that sends a message to the target, and the target's ARN. A webhook needs no permission.
fn delivery(target: &Target) -> Option<(&'static str, Value)> {
    match target {
        Target::Topic(arn) => Some(("sns:Publish", sub_if_needed(arn))),
        Target::EventBus(bus) if bus.starts_with("arn:") || bus.contains("${") => {
            Some(("events:PutEvents", sub_if_needed(bus)))
        }
        Target::EventBus(name) => {
            let arn = format!(
                "arn:${{AWS::Partition}}:events:${{AWS::Region}}:${{AWS::AccountId}}:event-bus/{name}"
            );
            Some(("events:PutEvents", sub(arn)))
        }
        Target::Webhook(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures, *};
    use lamplighter_project::{config::Config, functions::functions};

    fn pulse(config: &str) -> Option<String> {
        let mut project =
            Project::resolve("shop", fixtures::tasks(), &Config::parse(config).unwrap(), None).unwrap();
        project.tasks.retain(|task| task.definition.queue().is_none());
        pulse_of(&project)
    }

    fn pulse_of(project: &Project) -> Option<String> {
        let groups = groups(project, &functions(project));
        let mut text = String::new();
        groups.first()?.write(&mut text);
        Some(text)
    }

    #[test]
    fn g04_the_pulse_is_there_only_if_something_needs_it() {
        assert_eq!(pulse(""), None);
        assert!(pulse("[notify]\nwebhook = \"https://hooks.example/\"").is_some());
        let mut queues = fixtures::shop();
        queues.tasks.retain(|task| task.definition.queue().is_some());
        let text = pulse_of(&queues).unwrap();
        assert!(text.contains("/index/due") && !text.contains("lambda:InvokeFunction\""), "{text}");
        assert!(!text.contains("sqs:GetQueueAttributes"), "dead letters notify nobody: {text}");
        queues.notify = Some(Target::Webhook("https://hooks.example/".to_owned()));
        let text = pulse_of(&queues).unwrap();
        let (_, counts) = text.split_once("sqs:GetQueueAttributes").unwrap();
        assert!(counts.contains("-send-receipt-dead") && counts.contains("-write-invoice-dead"), "{text}");
    }

    #[test]
    fn g03_the_pulse_may_notify_only_its_target() {
        for (notify, action, arn) in [
            ("topic = \"arn:aws:sns:eu-west-1:1:alerts\"", "sns:Publish", "arn:aws:sns:eu-west-1:1:alerts"),
            ("topic = \"${Alerts}\"", "sns:Publish", "${Alerts}"),
            ("event_bus = \"alerts\"", "events:PutEvents", ":event-bus/alerts"),
        ] {
            let text = pulse(&format!("[notify]\n{notify}")).unwrap();
            assert!(text.contains(action) && text.contains(arn), "{text}");
        }
        let looked_up = pulse("[notify]\nwebhook = \"{{resolve:secretsmanager:hook}}\"").unwrap();
        assert!(looked_up.contains("LAMPLIGHTER_NOTIFY: '{\"webhook\":\"\"}'"), "{looked_up}");
        assert!(
            looked_up.contains("LAMPLIGHTER_NOTIFY_VALUE: \"{{resolve:secretsmanager:hook}}\""),
            "{looked_up}"
        );
        let webhook = pulse("[notify]\nwebhook = \"https://hooks.example/\"").unwrap();
        assert!(!webhook.contains("sns:") && !webhook.contains("events:"), "{webhook}");
    }
}
