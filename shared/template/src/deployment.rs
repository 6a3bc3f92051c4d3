//! What makes a deployment run tasks: a custom resource for each phase, the dispatcher that answers for them, and
//! the function that answers when the dispatcher cannot.

use lamplighter_aws::table::LEDGER_RETENTION;
use lamplighter_core::{definition::Phase, duration};
use lamplighter_project::{
    Project, Task,
    phases::{in_order, service_seconds},
    workspace::DISPATCHER,
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    ANSWER_ENDPOINT, Application, Group,
    functions::{self, Function, Ids, mapping},
    intrinsics::{attribute, function_arn, reference, sub},
    roles,
    storage::TABLE,
    yaml::map,
};

/// The custom resource that the application waits for.
pub const BEFORE: &str = "LamplighterBefore";
/// The custom resource that waits for the application.
pub const AFTER: &str = "LamplighterAfter";
const DISPATCHER_NAME: &str = "lamplighter-dispatcher";
const FALLBACK_NAME: &str = "lamplighter-fallback";
const RETRIES: &str = "LamplighterDispatcherRetries";

/// The days that a ledger keeps its entries, if no task keeps its records longer.
const LEDGER_DAYS: u64 = LEDGER_RETENTION.as_secs() / DAY;
const DAY: u64 = 24 * 3600;

/// The logical id of a phase's resource.
pub fn logical_id(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => BEFORE,
        Phase::After => AFTER,
    }
}

/// The properties of a phase's resource; nothing if the phase has no task. `function` gives the function of a task.
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

/// The dispatcher and the resources; nothing where no deployment starts a task.
pub(super) fn groups(project: &Project, application: Option<&Application>) -> Vec<Group> {
    let phases = [Phase::Before, Phase::After];
    let resources: Vec<_> =
        phases.into_iter().filter_map(|phase| resource(project, phase, application)).collect();
    if resources.is_empty() {
        return Vec::new();
    }
    [dispatcher(project), fallback(project)].into_iter().chain(resources).collect()
}

fn dispatcher(project: &Project) -> Group {
    let tasks = [Phase::Before, Phase::After].into_iter().flat_map(|phase| project.phase(phase));
    let functions: Vec<_> = tasks.map(|(task, _)| function_arn(task.name().as_str())).collect();
    let mut invoked = functions.clone();
    invoked.extend([function_arn(DISPATCHER_NAME), function_arn(FALLBACK_NAME)]);
    let statements = vec![
        ledger(),
        roles::allow(&["lambda:InvokeFunction"], invoked),
        roles::allow(&["lambda:GetFunctionConfiguration"], functions),
        own_stack(),
    ];
    let ids = Ids::new("LamplighterDispatcher");
    let retries = map! {
        "Type" => "AWS::Lambda::EventInvokeConfig",
        "Properties" => map! {
            "FunctionName" => reference(&ids.function),
            "Qualifier" => "$LATEST",
            "MaximumRetryAttempts" => 2,
            "DestinationConfig" => map! {
                "OnFailure" => map! { "Destination" => attribute(&fallback_ids().function, "Arn") },
            },
        },
    };
    let function = Function {
        name: DISPATCHER_NAME,
        description: "Runs the tasks of a deployment and answers CloudFormation.",
        package: DISPATCHER,
        memory_mb: 256,
        seconds: 900,
        variables: variables(project),
        statements,
        attributes: Mapping::new(),
        properties: Mapping::new(),
    };
    Group::new("Runs the tasks of a deployment, and hands over to itself before its own time is up.")
        .with_all(functions::resources(project, &ids, function))
        .with(RETRIES, retries)
}

fn fallback(project: &Project) -> Group {
    let function = Function {
        name: FALLBACK_NAME,
        description: "Answers CloudFormation when the dispatcher could not.",
        package: DISPATCHER,
        memory_mb: 256,
        seconds: 60,
        variables: variables(project),
        statements: vec![ledger(), own_stack()],
        attributes: Mapping::new(),
        properties: Mapping::new(),
    };
    Group::new("Answers when the dispatcher has failed for good, so that no stack waits for nothing.")
        .with_all(functions::resources(project, &fallback_ids(), function))
}

fn fallback_ids() -> Ids {
    Ids::new("LamplighterFallback")
}

fn variables(project: &Project) -> Mapping {
    let longest = project.tasks.iter().map(|task| task.definition.retention).max().unwrap_or_default();
    let days = longest.as_secs().div_ceil(DAY);
    let retention = (days > LEDGER_DAYS).then(|| ("LAMPLIGHTER_RETENTION_DAYS", days.to_string()));
    let mut variables = mapping(map! {
        "LAMPLIGHTER_TABLE" => reference(TABLE),
        "LAMPLIGHTER_ANSWER_ENDPOINT" => reference(ANSWER_ENDPOINT),
    });
    variables.extend(retention.map(|(name, days)| (name.into(), days.into())));
    variables
}

fn ledger() -> Value {
    let actions = ["ConditionCheckItem", "GetItem", "PutItem", "UpdateItem"];
    let actions = actions.map(|action| format!("dynamodb:{action}"));
    roles::table(&actions.each_ref().map(String::as_str))
}

/// To tell a deployment from a rollback.
fn own_stack() -> Value {
    let stack =
        "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}/*";
    roles::allow(&["cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks"], vec![sub(stack)])
}

/// A phase's resource. It depends on all that running its tasks needs, so that it also goes first on a delete.
fn resource(project: &Project, phase: Phase, application: Option<&Application>) -> Option<Group> {
    let dispatcher = Ids::new("LamplighterDispatcher");
    let token = attribute(&dispatcher.function, "Arn");
    let function = |task: &Task| reference(&Ids::of(task.name()).function);
    let properties = properties(project, phase, token, reference("Version"), function)?;
    let mut needed = vec![TABLE.to_owned(), dispatcher.role, dispatcher.log_group, RETRIES.to_owned()];
    needed.push(fallback_ids().role);
    for (task, _) in project.phase(phase) {
        let ids = Ids::of(task.name());
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
