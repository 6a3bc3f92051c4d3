//! Attempts: runs the author's code until it succeeds, fails for good, or is stopped.

use std::{any::Any, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::random::jitter;
use lamplighter_core::{
    duration,
    reason::{Moment, Reason},
    retry::{Next, Retry},
    run::{Attempt, ErrorKind, RunError},
    status::{Event, Status},
};
use tokio::{
    task::{JoinError, JoinHandle},
    time::{sleep, timeout},
};

use crate::runtime::{
    Context, Outcome, TaskResult,
    limits::{Limits, time_left},
    log,
};

/// The time a body has to clean up after its cancellation.
const GRACE: Duration = Duration::from_millis(500);

/// The result of all attempts of a run.
pub(crate) struct Conclusion {
    pub event: Event,
    pub attempts: Vec<Attempt>,
    pub outcome: Option<Outcome>,
    pub error: Option<RunError>,
    /// The reason of a stopped run.
    pub why: Option<Reason>,
    /// Another attempt may succeed.
    pub retryable: bool,
    /// The code did not stop in time and still runs: nothing else may run in this process.
    pub stuck: bool,
}

impl Conclusion {
    /// Creates the conclusion of a run that failed before its first attempt.
    pub(crate) fn refused(error: RunError) -> Self {
        Self {
            event: Event::Fail,
            attempts: Vec::new(),
            outcome: None,
            error: Some(error),
            why: None,
            retryable: false,
            stuck: false,
        }
    }

    /// The conclusion of a run that was stopped before its first attempt.
    pub(crate) fn stopped(reason: Reason) -> Self {
        let error = RunError::of(&reason);
        Self { why: Some(reason), ..Self::refused(error) }
    }

    pub(crate) fn status(&self) -> Status {
        // A claimed run is RUNNING, in which all three events are legal.
        Status::Running.next(self.event).unwrap_or(Status::Failed)
    }
}

/// The result of a supervised piece of the author's code.
pub(crate) enum SupervisedResult<T> {
    Returned(T),
    Panicked(RunError),
    Stopped { by: StopCause, stuck: bool },
}

/// The reason why a run is stopped early.
#[derive(Clone, Copy)]
pub(crate) enum StopCause {
    /// The deadline has passed.
    Deadline,
    /// A cancellation was requested.
    Cancelled,
}

impl StopCause {
    /// Returns the event that ends the run.
    pub(crate) fn event(self) -> Event {
        match self {
            Self::Deadline => Event::TimeOut,
            Self::Cancelled => Event::Cancel,
        }
    }

    /// Returns the reason of the stopped run, with the time that passed since `began`, the time of the moment `since`.
    pub(crate) fn reason(self, began: Timestamp, deadline: Timestamp, since: Moment) -> Reason {
        let after_ms = |at: Timestamp| {
            duration::millis(Duration::try_from(at.duration_since(began)).unwrap_or(Duration::ZERO))
        };
        match self {
            Self::Deadline => Reason::TimedOut { after_ms: after_ms(deadline), since },
            Self::Cancelled => Reason::Cancelled { after_ms: after_ms(Timestamp::now()), since },
        }
    }
}

/// Waits for a piece of the author's code until it returns, its deadline passes, or a cancellation is requested.
///
/// Code that is stopped has [`GRACE`] to return. After that it is dropped at its next await, if it reaches one.
pub(crate) async fn supervise<T>(mut code: JoinHandle<T>, limits: &Limits) -> SupervisedResult<T> {
    let by = tokio::select! {
        // A result that is ready takes precedence over the deadline and a cancellation.
        biased;
        returned = &mut code => {
            return match returned {
                Ok(returned) => SupervisedResult::Returned(returned),
                Err(join) => SupervisedResult::Panicked(panicked(join)),
            };
        }
        () = wait_until(limits.deadline, Timestamp::now) => StopCause::Deadline,
        () = limits.cancel_requested.cancelled() => StopCause::Cancelled,
    };
    limits.cancellation.cancel();
    let stopped = timeout(GRACE, &mut code).await.is_ok() || {
        code.abort();
        timeout(GRACE, &mut code).await.is_ok()
    };
    SupervisedResult::Stopped { by, stuck: !stopped }
}

/// The interval between checks of the wall clock.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until the wall clock reaches `at`. The run's lease expires by the same clock, while a timer alone stops when
/// the machine sleeps.
async fn wait_until(at: Timestamp, now: impl Fn() -> Timestamp) {
    loop {
        let left = Duration::try_from(at.duration_since(now())).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return;
        }
        sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
    }
}

/// Converts a panic into an error with its message.
pub(crate) fn panicked(join: JoinError) -> RunError {
    let message = match join.try_into_panic() {
        Ok(panic) => format!("panicked: {}", panic_text(&*panic)),
        Err(_) => "the body was aborted".to_owned(),
    };
    RunError::new(ErrorKind::Execution, message)
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

/// The result of a body, with its error as text. The conversion happens in the author's runtime, since the error's
/// `Display` may panic.
pub(crate) enum BodyResult {
    Succeeded(Outcome),
    Failed { error: RunError, retryable: bool },
}

/// Converts the result of a body, including its error's text.
pub(crate) fn body_result(result: TaskResult) -> BodyResult {
    match result {
        Ok(outcome) if outcome.success => BodyResult::Succeeded(outcome),
        Ok(outcome) => BodyResult::Failed {
            error: RunError::new(ErrorKind::Execution, outcome.message),
            retryable: false,
        },
        Err(error) => BodyResult::Failed {
            error: RunError::new(error.kind(), error.to_string()),
            retryable: !error.is_fatal(),
        },
    }
}

/// The result of one attempt.
enum AttemptResult {
    Succeeded(Outcome),
    Failed { error: RunError, retryable: bool },
    Stopped { by: StopCause, reason: Reason, stuck: bool },
}

/// Attempts a body until it succeeds, fails for good, or is stopped.
pub(crate) async fn attempts(
    retry: Retry,
    ctx: &Context,
    body: impl Fn(Context) -> JoinHandle<BodyResult>,
) -> Conclusion {
    let limits = &ctx.run.limits;
    let mut attempts = Vec::new();
    let mut number = ctx.attempt;
    loop {
        log::attempt(number);
        let started_at = Timestamp::now();
        let ended = attempt(ctx, number, started_at, &body).await;
        let took = Timestamp::now().duration_since(started_at).unsigned_abs();
        let error = match &ended {
            AttemptResult::Succeeded(_) => None,
            AttemptResult::Failed { error, .. } => Some(error.clone()),
            AttemptResult::Stopped { reason, .. } => Some(RunError::of(reason)),
        };
        attempts.push(Attempt { started_at, duration_ms: duration::millis(took), error: error.clone() });
        let conclusion = |event, error| Conclusion {
            event,
            attempts: Vec::new(),
            outcome: None,
            error,
            why: None,
            retryable: false,
            stuck: false,
        };
        let (failed, retryable) = match ended {
            AttemptResult::Succeeded(outcome) => {
                return Conclusion { attempts, outcome: Some(outcome), ..conclusion(Event::Complete, None) };
            }
            AttemptResult::Stopped { by, reason, stuck } => {
                let why = Some(reason);
                return Conclusion { attempts, why, stuck, ..conclusion(by.event(), error) };
            }
            AttemptResult::Failed { error, retryable } => (error, retryable),
        };
        match retry.after_failure(number, retryable, time_left(limits.deadline), jitter()) {
            Next::RetryAfter(pause) => {
                let pause_ms = duration::millis(pause);
                tracing::warn!(pause_ms, "attempt {number} failed and will be retried: {failed}");
                if timeout(pause, limits.cancel_requested.cancelled()).await.is_ok() {
                    let since = Moment::AttemptFailed { attempt: number, failure: failed.message };
                    let reason = StopCause::Cancelled.reason(Timestamp::now(), limits.deadline, since);
                    let (error, why) = (Some(RunError::of(&reason)), Some(reason));
                    return Conclusion { attempts, why, ..conclusion(Event::Cancel, error) };
                }
            }
            Next::Fatal | Next::Exhausted | Next::OutOfTime => {
                return Conclusion { attempts, retryable, ..conclusion(Event::Fail, error) };
            }
        }
        number += 1;
    }
}

async fn attempt(
    ctx: &Context,
    number: u32,
    started_at: Timestamp,
    body: impl Fn(Context) -> JoinHandle<BodyResult>,
) -> AttemptResult {
    let limits = &ctx.run.limits;
    let code = body(Context { attempt: number, ..ctx.clone() });
    match supervise(code, limits).await {
        SupervisedResult::Returned(BodyResult::Succeeded(outcome)) => AttemptResult::Succeeded(outcome),
        SupervisedResult::Returned(BodyResult::Failed { error, retryable }) => {
            AttemptResult::Failed { error, retryable }
        }
        SupervisedResult::Panicked(error) => AttemptResult::Failed { error, retryable: true },
        SupervisedResult::Stopped { by, stuck } => {
            let since = Moment::AttemptBegan { attempt: number };
            AttemptResult::Stopped { by, reason: by.reason(started_at, limits.deadline, since), stuck }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_deadline_that_passed_while_the_machine_slept_takes_effect_at_wake_up() {
        let began = Timestamp::UNIX_EPOCH;
        let checks = Cell::new(0);
        // One hour passes between the first check and the second.
        let now = || {
            checks.set(checks.get() + 1);
            began + Duration::from_secs(if checks.get() == 1 { 0 } else { 3600 })
        };
        timeout(Duration::from_secs(30), wait_until(began + Duration::from_secs(900), now)).await.unwrap();
        assert_eq!(checks.get(), 2);
    }
}
