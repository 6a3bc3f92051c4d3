//! The clients and settings that every part of a pulse works with.

use std::sync::Arc;

use lamplighter_aws::{functions::Functions, jobs::DeadLetters, notify::Notifier, table::Table};
use lamplighter_core::pulse::{Plan, Record, Zones};
use tokio::sync::Notify;

/// The clients and settings of a pulse.
pub struct Pulse {
    /// The table.
    pub table: Table,
    /// The tasks' functions.
    pub functions: Functions,
    /// Delivers notifications, if a target is configured.
    pub notifier: Option<Notifier>,
    /// The stack's tasks.
    pub plan: Plan,
    /// The time zones of their schedules.
    pub zones: Zones,
    /// The stack's name, which is the prefix of the functions' names.
    pub stack: String,
    /// The environment's name.
    pub environment: String,
    /// The dead-letter queues. Present if the stack has queues and a notification target.
    pub letters: Option<DeadLetters>,
    /// Signalled when a notification is stored for delivery.
    pub posted: Arc<Notify>,
}

/// Logs an error of the pulse itself and adds it to the pulse's record.
pub(crate) fn note_error(record: &mut Record, error: &dyn std::error::Error) {
    tracing::error!("{error}");
    record.errors.push(error.to_string());
}
