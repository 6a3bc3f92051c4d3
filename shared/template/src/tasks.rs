//! The functions of the tasks that run in Lambda.

use lamplighter_aws::table::LeadingKeys;
use lamplighter_core::{
    definition::{Cron, Lifecycle, Phase, Queue},
    schedule::{Driver, driver},
};
use lamplighter_project::{
    Project, Task,
    functions::{FunctionKind, FunctionPlan, reachable_queues},
};
use serde_yaml_ng::{Mapping, Value};

use super::{
    functions::{self, Additions},
    group::Group,
    ids::{BEFORE, Ids},
    pulse, queues, roles, schedules,
    yaml::{map, mapping},
};

/// Renders a group for each task that runs in Lambda, by name.
pub(super) fn groups(project: &Project, plans: &[FunctionPlan<'_>]) -> Vec<Group> {
    let group = |plan: &FunctionPlan<'_>| match plan.kind {
        FunctionKind::Lifecycle(task, lifecycle) => Some(lifecycle_group(project, plan, task, lifecycle)),
        FunctionKind::Cron(task, cron) => Some(cron_group(project, plan, task, cron)),
        FunctionKind::Queue(task, queue) => Some(queue_group(project, plan, task, queue)),
        FunctionKind::Dispatcher | FunctionKind::Fallback | FunctionKind::Pulse => None,
    };
    plans.iter().filter_map(group).collect()
}

fn lifecycle_group(project: &Project, plan: &FunctionPlan<'_>, task: &Task, lifecycle: &Lifecycle) -> Group {
    let words: Vec<_> = lifecycle.run_on.iter().map(|word| word.as_str()).collect();
    let comment = format!("{}: runs on {}", task.name(), words.join(" and "));
    let place = match lifecycle.phase {
        Phase::Before => "before the application.",
        Phase::After => "after the application.",
    };
    let additions = Additions { statements: statements(project, task), ..Additions::default() };
    Group::new(format!("{comment}, {place}")).with_all(functions::resources(
        project,
        plan,
        &Ids::of_task(task.name()),
        additions,
    ))
}

fn cron_group(project: &Project, plan: &FunctionPlan<'_>, task: &Task, cron: &Cron) -> Group {
    let mut statements = statements(project, task);
    let mut invoked = mapping(map! { "MaximumRetryAttempts" => plan.max_retries });
    if plan.on_failure.is_some() {
        invoked.insert("DestinationConfig".into(), pulse::destination());
        statements.push(pulse::may_be_invoked());
    }
    let properties = Mapping::from_iter([("EventInvokeConfig".into(), invoked.into())]);
    let additions = Additions { statements, attributes: waits(project), properties };
    let comment = match &cron.schedule {
        Some(schedule) => {
            let by_pulse = matches!(driver(cron), Driver::Pulse { .. });
            let by = if by_pulse { ", by the pulse" } else { "" };
            format!("{}: runs at `{schedule}`, {}{by}.", task.name(), cron.timezone)
        }
        None => format!("{}: runs when its function says so.", task.name()),
    };
    Group::new(comment)
        .with_all(functions::resources(project, plan, &Ids::of_task(task.name()), additions))
        .with_all(schedules::resources(task.name(), cron))
}

fn queue_group(project: &Project, plan: &FunctionPlan<'_>, task: &Task, queue: &Queue) -> Group {
    let mut statements = statements(project, task);
    statements.extend(queues::function_statements(task, project.notify.is_some()));
    let properties = queues::function_properties(queue);
    let additions = Additions { statements, attributes: waits(project), properties };
    Group::new(format!("{}: runs the jobs of its queue.", task.name()))
        .with_all(functions::resources(project, plan, &Ids::of_task(task.name()), additions))
        .with_all(queues::resources(task, queue))
}

/// Has CloudFormation change a function after the tasks before the application have run, since its new version may need what
/// they prepare.
fn waits(project: &Project) -> Mapping {
    let has_tasks_before = project.phase(Phase::Before).next().is_some();
    has_tasks_before.then(|| ("DependsOn".into(), BEFORE.into())).into_iter().collect()
}

/// The statements of the role of any task.
fn statements(project: &Project, task: &Task) -> Vec<Value> {
    let name = task.name();
    let own = LeadingKeys::of(name);
    let is_queue = task.definition.queue().is_some();
    let mut statements = vec![if is_queue {
        roles::items(&queues::JOBS, vec![own.task, own.runs, own.jobs])
    } else {
        let actions =
            ["dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];
        roles::items(&actions, vec![own.task, own.runs])
    }];
    if is_queue {
        statements.extend([roles::values([name]), roles::job_values([name])]);
    } else {
        statements.push(roles::written_values(name));
    }
    let reachable = reachable_queues(project, task);
    if !reachable.is_empty() {
        statements.extend(queues::may_enqueue(&reachable));
    }
    statements.extend(task.permissions.iter().map(roles::declared));
    statements
}
