//! The resources that make a deployment run tasks: a custom resource for each phase, the dispatcher that handles them, and
//! the fallback responder that answers CloudFormation when the dispatcher cannot.

use lamplighter_aws::table::LEDGER_RETENTION;
use lamplighter_core::{definition::Phase, duration};
use lamplighter_project::{
    Project, Task,
    functions::{DISPATCHER_FUNCTION, FALLBACK_FUNCTION, FunctionKind, FunctionPlan, LEDGER_DAYS},
    phases::{in_order, service_seconds},
};
use serde_yaml_ng::Value;

use super::{
    application::Application,
    functions::{self, Additions},
    group::Group,
    ids::{BEFORE, DISPATCHER_RETRIES, ENVIRONMENT, Ids, TABLE, logical_id},
    intrinsics::{attribute, function_arn, reference, sub},
    roles,
    yaml::{map, mapping},
};

/// Both constants must be the same time: the retention of the ledger.
const _: () = assert!(LEDGER_DAYS * 24 * 3600 == LEDGER_RETENTION.as_secs());

/// Returns the properties of a phase's custom resource, or nothing if the phase has no task. `function` returns the value that
/// identifies the function of a task.
pub fn properties(
    project: &Project,
    phase: Phase,
    service_token: Value,
    version: Value,
    function: impl Fn(&Task) -> Value,
) -> Option<Value> {
    let tasks: Vec<_> = in_order(project, phase)
        .map(|(task, lifecycle, depends_on)| {
            map! {
                "Name" => task.name().as_str(),
                "Function" => function(task),
                "RunOn" => lifecycle.run_on.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>(),
                "DependsOn" => depends_on.iter().map(|name| Value::from(name.as_str())).collect::<Vec<_>>(),
                "OncePer" => lifecycle.once_per.as_str(),
                "Rollback" => task.definition.rollback.to_string(),
                "TimeoutMs" => duration::millis(task.definition.timeout).to_string(),
            }
        })
        .collect();
    let properties = map! {
        "ServiceToken" => service_token,
        "ServiceTimeout" => service_seconds(project, phase),
        "Version" => version,
        "Environment" => project.environment.as_str(),
        "Tasks" => tasks.clone(),
    };
    (!tasks.is_empty()).then_some(properties)
}

/// Renders the dispatcher, the fallback responder and the custom resources, if a deployment starts a task.
pub(super) fn groups(
    project: &Project,
    plans: &[FunctionPlan<'_>],
    application: Option<&Application>,
) -> Vec<Group> {
    let group = |plan: &FunctionPlan<'_>| match plan.kind {
        FunctionKind::Dispatcher => Some(dispatcher(project, plan)),
        FunctionKind::Fallback => Some(fallback(project, plan)),
        _ => None,
    };
    let functions = plans.iter().filter(|plan| plan.in_stack).filter_map(group);
    let phases = [Phase::Before, Phase::After];
    functions.chain(phases.into_iter().filter_map(|phase| resource(project, phase, application))).collect()
}

fn dispatcher(project: &Project, plan: &FunctionPlan<'_>) -> Group {
    let tasks = [Phase::Before, Phase::After].into_iter().flat_map(|phase| project.phase(phase));
    let functions: Vec<_> = tasks.map(|(task, _)| function_arn(task.name().as_str())).collect();
    let mut invoked = functions.clone();
    invoked.extend([function_arn(DISPATCHER_FUNCTION), function_arn(FALLBACK_FUNCTION)]);
    let statements = vec![
        ledger(),
        roles::allow(&["lambda:InvokeFunction"], invoked),
        roles::allow(&["lambda:GetFunctionConfiguration"], functions),
        own_stack(),
    ];
    let ids = Ids::of_dispatcher();
    let retries = map! {
        "Type" => "AWS::Lambda::EventInvokeConfig",
        "Properties" => map! {
            "FunctionName" => reference(&ids.function),
            "Qualifier" => "$LATEST",
            "MaximumRetryAttempts" => plan.max_retries,
            "DestinationConfig" => map! {
                "OnFailure" => map! { "Destination" => attribute(&Ids::of_fallback().function, "Arn") },
            },
        },
    };
    let additions = Additions { statements, ..Additions::default() };
    Group::new("Runs the tasks of a deployment, and hands over to itself before its own time is up.")
        .with_all(functions::resources(project, plan, &ids, additions))
        .with(DISPATCHER_RETRIES, retries)
}

fn fallback(project: &Project, plan: &FunctionPlan<'_>) -> Group {
    let additions = Additions { statements: vec![ledger(), own_stack()], ..Additions::default() };
    Group::new("Answers when the dispatcher has failed for good, so that no stack waits for nothing.")
        .with_all(functions::resources(project, plan, &Ids::of_fallback(), additions))
}

fn ledger() -> Value {
    roles::table(&["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"])
}

/// Allows reading the stack's events, which distinguish a deployment from a rollback.
fn own_stack() -> Value {
    let stack =
        "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}/*";
    roles::allow(&["cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks"], vec![sub(stack)])
}

/// Renders a phase's custom resource. It depends on everything that its tasks need to run. So CloudFormation deletes it
/// before them.
fn resource(project: &Project, phase: Phase, application: Option<&Application>) -> Option<Group> {
    let dispatcher = Ids::of_dispatcher();
    let token = attribute(&dispatcher.function, "Arn");
    let function = |task: &Task| reference(&Ids::of_task(task.name()).function);
    let mut properties = mapping(properties(project, phase, token, reference("Version"), function)?);
    properties.insert("Environment".into(), reference(ENVIRONMENT));
    let mut needed =
        vec![TABLE.to_owned(), dispatcher.role, dispatcher.log_group, DISPATCHER_RETRIES.to_owned()];
    needed.push(Ids::of_fallback().role);
    for (task, _) in project.phase(phase) {
        let ids = Ids::of_task(task.name());
        needed.extend([ids.role, ids.log_group]);
    }
    let comment = match phase {
        Phase::Before => "The tasks before the application: its functions wait for this resource.",
        Phase::After => "The tasks after the application: this resource waits for it.",
    };
    if phase == Phase::After {
        needed.extend(project.phase(Phase::Before).next().map(|_| BEFORE.to_owned()));
        needed.extend(application.into_iter().flat_map(Application::resource_ids));
    }
    let resource = map! {
        "Type" => "Custom::LamplighterTasks",
        "DependsOn" => needed.into_iter().map(Value::from).collect::<Vec<_>>(),
        "Properties" => properties,
    };
    Some(Group::new(comment).with(logical_id(phase), resource))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{fixtures, yaml::list},
        *,
    };

    #[test]
    fn l24_a_phase_names_only_its_own_tasks() {
        let project = fixtures::shop();
        let after = properties(&project, Phase::After, Value::Null, Value::Null, |_| Value::Null).unwrap();
        let tasks = after["Tasks"].as_sequence().unwrap();
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0]["Name"], "warm-cache");
        assert_eq!(tasks[0]["DependsOn"], list![]);
        assert_eq!(tasks[0]["Rollback"], "false");
        assert_eq!(tasks[0]["TimeoutMs"], "60000");
    }
}
