//! The limits of the author's code: its deadline and its cancellation.

use std::time::Duration;

use jiff::Timestamp;
use lamplighter_core::{claim::Request, definition::Definition};
use tokio_util::sync::CancellationToken;

use crate::runtime::{process::RESERVE, shutdown};

/// The limits of a piece of the author's code.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The time at which the code is stopped.
    pub deadline: Timestamp,
    /// Fires when the run's cancellation is requested.
    pub cancel_requested: CancellationToken,
    /// Fires for the code in either case.
    pub cancellation: CancellationToken,
}

impl Limits {
    /// Creates limits with a deadline.
    pub(crate) fn until(deadline: Timestamp) -> Self {
        Self {
            deadline,
            cancel_requested: shutdown::stop_requested(),
            cancellation: CancellationToken::new(),
        }
    }
}

/// Returns the body's deadline: its own timeout, but early enough to write the record before the invocation ends.
pub(crate) fn deadline(definition: &Definition, request: &Request, invocation: Timestamp) -> Timestamp {
    let own = request.now.saturating_add(definition.timeout).unwrap_or(Timestamp::MAX);
    own.min(invocation.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN))
}

/// Returns the time from now until `at`, zero if it has passed.
pub(crate) fn time_left(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}
