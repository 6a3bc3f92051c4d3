//! The names of the properties that must hold.

pub const FORWARD_ONCE: &str = "a task's forward body runs at most once for a request";
pub const UNDO_ONCE: &str = "a forward run is undone at most once, unless its undo failed";
pub const UNDO_RIGHT: &str = "a rollback body runs only for runs that completed and are being undone";
pub const ALL_UNDONE: &str = "after a rollback each run that completed is undone";
pub const TRUTH: &str = "a body gets the last success that was not undone";
pub const WAITED: &str =
    "a forward body starts only if CloudFormation waited for its request when the status was read";
pub const ONE_ANSWER: &str = "a request has one answer";
pub const ANSWERED: &str = "in the end no request waits for an answer";
pub const REASON: &str = "a deployment is answered FAILED only if it failed";
pub const STACK_MOVES: &str = "a rollback is never answered FAILED";
pub const AGREE: &str = "at rest the ledger's last success is CloudFormation's";
