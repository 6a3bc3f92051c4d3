//! The queues of a project: their names, and the limits of SQS.

use crate::{Project, Task};

/// The name of the queue of undelivered ticks, behind the stack's name.
pub const UNDELIVERED: &str = "undelivered-ticks";
/// The suffix of a dead-letter queue's name, behind the name of its queue.
pub const DEAD: &str = "-dead";
/// The visibility timeout, as a multiple of the function's timeout. Source: AWS Lambda Developer Guide, "Using Lambda
/// with Amazon SQS".
const VISIBILITY: u64 = 6;
/// The deliveries of a message beyond one for each attempt: for workers that die, and for throttling.
const SPARE_DELIVERIES: u32 = 5;
/// The highest `maxReceiveCount` of a redrive policy. Source: Amazon SQS API Reference, `SetQueueAttributes`.
const MAX_DELIVERIES: u32 = 1000;

/// The visibility timeout of a task's queue, in seconds. A retry changes it for its own message.
pub fn visibility_seconds(task: &Task) -> u64 {
    VISIBILITY * task.function_seconds()
}

/// The number of deliveries of a message before SQS moves it to the dead-letter queue.
pub fn deliveries(task: &Task) -> u32 {
    task.definition.retry.max_attempts.saturating_add(SPARE_DELIVERIES).min(MAX_DELIVERIES)
}

/// Returns the faults of a queue task that prevent its deployment to AWS, each with its key.
pub fn faults(project: &Project, task: &Task) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let name = task.name().as_str();
    if name == UNDELIVERED {
        faults.push((
            "name",
            format!("`{name}` is the name of the queue of undelivered ticks: use another name"),
        ));
    }
    if let Some(dead) = name.strip_suffix(DEAD)
        && project.queues().any(|(other, _)| other.name().as_str() == dead)
    {
        faults.push((
            "name",
            format!("`{name}` is the name of the dead-letter queue of `{dead}`: use another name"),
        ));
    }
    let most = MAX_DELIVERIES - SPARE_DELIVERIES;
    let attempts = task.definition.retry.max_attempts;
    if attempts > most {
        faults.push((
            "attempts",
            format!("{attempts} attempts are more than SQS can deliver a message: use at most {most}"),
        ));
    }
    faults
}
