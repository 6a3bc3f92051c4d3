//! The logical ids of the template.

use lamplighter_core::{definition::Phase, name::TaskName};

/// The table.
pub(super) const TABLE: &str = "LamplighterTable";
/// The bucket.
pub(super) const BUCKET: &str = "LamplighterBucket";
/// The custom resource that the application waits for.
pub const BEFORE: &str = "LamplighterBefore";
/// The custom resource that waits for the application.
pub const AFTER: &str = "LamplighterAfter";
/// The retries of the dispatcher's asynchronous invocations.
pub(super) const DISPATCHER_RETRIES: &str = "LamplighterDispatcherRetries";
/// The retries of the pulse's asynchronous invocations.
pub(super) const PULSE_RETRIES: &str = "LamplighterPulseRetries";
/// The queue of the ticks that EventBridge Scheduler could not deliver.
pub(super) const UNDELIVERED_TICKS: &str = "LamplighterUndeliveredTicks";
/// The parameter with the environment.
pub(super) const ENVIRONMENT: &str = "Environment";
/// The parameter with an emulator's endpoint for CloudFormation's answers.
pub(super) const ANSWER_ENDPOINT: &str = "AnswerEndpoint";
/// The condition that holds in AWS, where everything is reached by TLS.
pub(super) const ON_AWS: &str = "OnAws";

/// The logical id of a phase's custom resource.
pub fn logical_id(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => BEFORE,
        Phase::After => AFTER,
    }
}

/// The logical ids of a function and of the resources that it needs.
pub(super) struct Ids {
    pub(super) function: String,
    pub(super) role: String,
    pub(super) log_group: String,
}

impl Ids {
    fn new(prefix: &str) -> Self {
        Self {
            function: format!("{prefix}Function"),
            role: format!("{prefix}Role"),
            log_group: format!("{prefix}LogGroup"),
        }
    }

    pub(super) fn of_task(task: &TaskName) -> Self {
        Self::new(&task.to_pascal_case())
    }

    pub(super) fn of_dispatcher() -> Self {
        Self::new("LamplighterDispatcher")
    }

    pub(super) fn of_fallback() -> Self {
        Self::new("LamplighterFallback")
    }

    pub(super) fn of_pulse() -> Self {
        Self::new("LamplighterPulse")
    }
}

/// The schedule of a cron task.
pub(super) fn schedule(task: &TaskName) -> String {
    format!("{}Schedule", task.to_pascal_case())
}

/// The queue of a queue task.
pub(super) fn queue(task: &TaskName) -> String {
    format!("{}Queue", task.to_pascal_case())
}

/// The dead-letter queue of a queue task.
pub(super) fn dead_letters(task: &TaskName) -> String {
    format!("{}DeadLetters", task.to_pascal_case())
}
