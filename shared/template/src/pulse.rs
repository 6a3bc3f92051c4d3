//! The pulse: in the template if a task needs it, because EventBridge cannot drive it, because its jobs may have to wait
//! for longer than SQS delays a message, or because somebody is to be told of its failures.

use lamplighter_core::{
    notify::Target,
    schedule::{Driver, driver},
};
use lamplighter_project::{Project, workspace::PULSE};
use serde_yaml_ng::{Mapping, Value};

use super::{
    Group,
    functions::{self, Function, Ids, mapping},
    intrinsics::{attribute, function_arn, own, reference, sub},
    queues, roles, schedules,
    storage::{BUCKET, TABLE},
    yaml::map,
};

const NAME: &str = "lamplighter-pulse";
/// The time of one pulse: it is over before the next one comes.
const SECONDS: u64 = 55;
/// How long EventBridge tries to deliver a minute's pulse; the next one makes up for it. Source: EventBridge Scheduler API
/// Reference, `RetryPolicy`.
const EVENT_SECONDS: u32 = 60;

fn ids() -> Ids {
    Ids::new("LamplighterPulse")
}

/// Where a task's function sends the record of an invocation that failed.
pub(super) fn destination() -> Value {
    map! { "OnFailure" => map! { "Type" => "Lambda", "Destination" => attribute(&ids().function, "Arn") } }
}

/// What lets it.
pub(super) fn told() -> Value {
    roles::allow(&["lambda:InvokeFunction"], vec![function_arn(NAME)])
}

/// The pulse, if something needs it.
pub(super) fn groups(project: &Project) -> Vec<Group> {
    let drives = project.cron().any(|(_, cron)| matches!(driver(cron), Driver::Pulse { .. }));
    let tells = project.notify.is_some() && project.cron().next().is_some();
    let enqueues = project.queues().next().is_some();
    if !drives && !tells && !enqueues {
        return Vec::new();
    }
    let mut functions: Vec<_> = project.cron().map(|(task, _)| function_arn(task.name().as_str())).collect();
    functions.dedup();
    let queues: Vec<_> = project.queues().map(|(task, _)| queues::arn(task.name())).collect();
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
    let mut variables = mapping(map! {
        "LAMPLIGHTER_TABLE" => reference(TABLE),
        "LAMPLIGHTER_STACK" => reference("AWS::StackName"),
        "LAMPLIGHTER_ENVIRONMENT" => project.environment.as_str(),
    });
    if enqueues {
        let tasks: Vec<_> = project.queues().map(|(task, _)| task.name()).collect();
        let values = [roles::values(tasks.iter().copied()), roles::job_values(tasks.iter().copied())];
        statements.extend([roles::due(), roles::allow(&["sqs:SendMessage"], queues)]);
        statements.extend(values);
        if project.notify.is_some() {
            let dead = tasks.iter().map(|task| queues::dead_arn(task)).collect();
            statements.push(roles::allow(&["sqs:GetQueueAttributes"], dead));
        }
        variables.insert(queues::VARIABLE.into(), queues::prefix());
        variables.insert("LAMPLIGHTER_BUCKET".into(), reference(BUCKET));
    }
    let mut invoked = mapping(map! {
        "FunctionName" => reference(&ids().function),
        "Qualifier" => "$LATEST",
        "MaximumRetryAttempts" => 2,
    });
    if let Some(target) = &project.notify {
        let (json, beside) = target.packed();
        variables.insert("LAMPLIGHTER_NOTIFY".into(), json.to_string().into());
        if let Some(value) = beside {
            variables.insert("LAMPLIGHTER_NOTIFY_VALUE".into(), filled_in(value));
        }
        if let Some((action, arn)) = way(target) {
            statements.push(roles::allow(&[action], vec![arn.clone()]));
            // A pulse that fails is told by Lambda itself, to the same.
            let destination = map! { "OnFailure" => map! { "Destination" => arn } };
            invoked.insert("DestinationConfig".into(), destination);
        }
    }
    let function = Function {
        name: NAME,
        description: "Starts what is due each minute, ends what was lost, and tells of failures.",
        package: PULSE,
        memory_mb: 256,
        seconds: SECONDS,
        variables,
        statements,
        attributes: waits(project),
        properties: Mapping::new(),
    };
    let comment = "Each minute starts the tasks that EventBridge cannot and the jobs that are due, ends lost runs, and \
                   tells of failures.";
    let group = Group::new(comment)
        .with_all(functions::resources(project, &ids(), function))
        .with(
            "LamplighterPulseRetries",
            map! { "Type" => "AWS::Lambda::EventInvokeConfig", "Properties" => invoked },
        )
        .with_all(schedule());
    vec![group]
}

/// Has CloudFormation change the pulse after the functions of the cron tasks and their schedules. So its plan never has a task that
/// a deployment holds back.
fn waits(project: &Project) -> Mapping {
    let mut needed = Vec::new();
    for (task, cron) in project.cron() {
        needed.push(Ids::of(task.name()).function);
        if matches!(driver(cron), Driver::EventBridge { .. }) {
            needed.push(schedules::id(task.name()));
        }
    }
    if needed.is_empty() {
        return Mapping::new();
    }
    let needed: Vec<_> = needed.into_iter().map(Value::from).collect();
    Mapping::from_iter([("DependsOn".into(), needed.into())])
}

/// The schedule of the pulse, and the role that lets it invoke the pulse and nothing else.
fn schedule() -> [(String, Value); 2] {
    let arn = attribute(&ids().function, "Arn");
    let invoke = roles::allow(&["lambda:InvokeFunction"], vec![arn.clone()]);
    let schedule = map! {
        "Type" => "AWS::Scheduler::Schedule",
        "Properties" => map! {
            "Name" => sub(own(NAME)),
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
    [
        ("LamplighterPulseScheduleRole".to_owned(), roles::role(roles::trusts_scheduler(), vec![invoke])),
        ("LamplighterPulseSchedule".to_owned(), schedule),
    ]
}

/// The action that tells the target, and the target's ARN; nothing for a webhook, which needs no leave.
fn way(target: &Target) -> Option<(&'static str, Value)> {
    match target {
        Target::Topic(arn) => Some(("sns:Publish", filled_in(arn))),
        Target::EventBus(bus) if bus.starts_with("arn:") || bus.contains("${") => {
            Some(("events:PutEvents", filled_in(bus)))
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

/// A text in which CloudFormation puts what it knows.
fn filled_in(text: &str) -> Value {
    if text.contains("${") { sub(text) } else { Value::from(text) }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures, *};
    use lamplighter_project::config::Config;

    fn pulse(config: &str) -> Option<String> {
        let mut project =
            Project::resolve("shop", fixtures::tasks(), &Config::parse(config).unwrap(), None).unwrap();
        project.tasks.retain(|task| task.definition.queue().is_none());
        pulse_of(&project)
    }

    fn pulse_of(project: &Project) -> Option<String> {
        let groups = groups(project);
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
        assert!(!text.contains("sqs:GetQueueAttributes"), "nobody is told of dead letters: {text}");
        queues.notify = Some(Target::Webhook("https://hooks.example/".to_owned()));
        let text = pulse_of(&queues).unwrap();
        let (_, counts) = text.split_once("sqs:GetQueueAttributes").unwrap();
        assert!(counts.contains("-send-receipt-dead") && counts.contains("-write-invoice-dead"), "{text}");
    }

    #[test]
    fn g03_the_pulse_may_tell_only_its_target() {
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
