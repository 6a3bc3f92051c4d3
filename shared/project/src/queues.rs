//! The queues of a project: their names, and the limits of SQS.

use crate::{Project, Task};

/// The queue of the ticks that no schedule could deliver, behind the stack's name.
pub const UNDELIVERED: &str = "undelivered-ticks";
/// What comes behind a queue's name in that of its dead letters.
pub const DEAD: &str = "-dead";
/// How many times the function's own time a message stays invisible. Source: AWS Lambda Developer Guide, "Using Lambda
/// with Amazon SQS".
const VISIBILITY: u64 = 6;
/// How often a message may be delivered besides once for each attempt: for workers that die, and for throttling.
const SPARE_DELIVERIES: u32 = 5;
/// The most deliveries that a redrive policy can wait for. Source: Amazon SQS API Reference, `SetQueueAttributes`.
const MAX_DELIVERIES: u32 = 1000;
/// How long a message that was delivered stays invisible, unless a retry says otherwise.
pub fn visibility_seconds(task: &Task) -> u64 {
    VISIBILITY * task.function_seconds()
}

/// How often a message is delivered before it is one of the dead letters.
pub fn deliveries(task: &Task) -> u32 {
    task.definition.retry.max_attempts.saturating_add(SPARE_DELIVERIES).min(MAX_DELIVERIES)
}

/// What of a queue task cannot be in AWS, each with its key.
pub fn faults(project: &Project, task: &Task) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let name = task.name().as_str();
    if name == UNDELIVERED {
        faults.push((
            "name",
            format!("`{name}` is the queue of ticks that no schedule could deliver: give it another"),
        ));
    }
    if let Some(dead) = name.strip_suffix(DEAD)
        && project.queues().any(|(other, _)| other.name().as_str() == dead)
    {
        faults.push((
            "name",
            format!("`{name}` is the queue of the dead letters of `{dead}`: give it another"),
        ));
    }
    let most = MAX_DELIVERIES - SPARE_DELIVERIES;
    let attempts = task.definition.retry.max_attempts;
    if attempts > most {
        faults.push((
            "attempts",
            format!("{attempts} are more than SQS delivers a message: give at most {most}"),
        ));
    }
    faults
}
