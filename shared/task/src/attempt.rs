//! Authors' code: run in a runtime of its own, tried until it succeeds, is fatal, or its time is up.

use std::time::Duration;

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
use tokio_util::sync::CancellationToken;

use crate::{Context, Outcome, TaskResult, context::until, ending, log};

/// How long a body may put things in order after its cancellation.
const GRACE: Duration = Duration::from_millis(500);

/// How the attempts of a run ended.
pub(crate) struct Conclusion {
    pub event: Event,
    pub attempts: Vec<Attempt>,
    pub outcome: Option<Outcome>,
    pub error: Option<RunError>,
    /// Why it was stopped, if it was.
    pub why: Option<Reason>,
    /// It failed in a way that another attempt may mend.
    pub retryable: bool,
    /// The code did not stop when it was told to, and still runs: nothing else may run in this process.
    pub stuck: bool,
}

impl Conclusion {
    /// An end without any attempt.
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

    /// An end without any attempt, of a run that was stopped.
    pub(crate) fn stopped(reason: Reason) -> Self {
        let error = RunError::of(&reason);
        Self { why: Some(reason), ..Self::refused(error) }
    }

    pub(crate) fn status(&self) -> Status {
        // A run that was claimed is running, and each of the three events is legal then.
        Status::Running.next(self.event).unwrap_or(Status::Failed)
    }
}

/// What became of a piece of an author's code.
pub(crate) enum Ran<T> {
    Returned(T),
    Panicked(RunError),
    Stopped { by: Stop, stuck: bool },
}

/// What stops a run before it is over by itself.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// Its time is up.
    Deadline,
    /// Somebody asked for it.
    Asked,
}

impl Stop {
    /// What it makes of the run.
    pub(crate) fn event(self) -> Event {
        match self {
            Self::Deadline => Event::TimeOut,
            Self::Asked => Event::Cancel,
        }
    }

    /// The reason of a run that was stopped, with the time since a moment of it.
    pub(crate) fn reason(self, began: Timestamp, deadline: Timestamp, since: Moment) -> Reason {
        let after_ms = |at: Timestamp| {
            duration::millis(Duration::try_from(at.duration_since(began)).unwrap_or(Duration::ZERO))
        };
        match self {
            Self::Deadline => Reason::TimedOut { after_ms: after_ms(deadline), since },
            Self::Asked => Reason::Cancelled { after_ms: after_ms(Timestamp::now()), since },
        }
    }
}

/// When a piece of an author's code must end.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// When its time is up.
    pub deadline: Timestamp,
    /// Fires when somebody asked for the end of the run.
    pub asked: CancellationToken,
    /// What the code is told either by.
    pub cancellation: CancellationToken,
}

impl Limits {
    /// Limits of which nothing but the deadline is known yet.
    pub(crate) fn until(deadline: Timestamp) -> Self {
        Self { deadline, asked: ending::asked(), cancellation: CancellationToken::new() }
    }
}

/// Waits for a piece of an author's code until its time is up or somebody asked for its end. Then it is cancelled, has
/// [`GRACE`], and is dropped at its next await, if it comes to one.
pub(crate) async fn supervise<T>(mut code: JoinHandle<T>, limits: &Limits) -> Ran<T> {
    let by = tokio::select! {
        // What has returned has returned, whatever else is the case by then.
        biased;
        returned = &mut code => {
            return match returned {
                Ok(returned) => Ran::Returned(returned),
                Err(join) => Ran::Panicked(panicked(join)),
            };
        }
        () = comes(limits.deadline, Timestamp::now) => Stop::Deadline,
        () = limits.asked.cancelled() => Stop::Asked,
    };
    limits.cancellation.cancel();
    let stopped = timeout(GRACE, &mut code).await.is_ok() || {
        code.abort();
        timeout(GRACE, &mut code).await.is_ok()
    };
    Ran::Stopped { by, stuck: !stopped }
}

/// How often the wall clock is looked at while code runs.
const LOOKS: Duration = Duration::from_secs(1);

/// Returns when that time has come by the wall clock, by which the run's lease ends: a timer alone stands still while the machine
/// sleeps.
async fn comes(at: Timestamp, now: impl Fn() -> Timestamp) {
    loop {
        let left = Duration::try_from(at.duration_since(now())).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOKS)).await;
    }
}

/// What a panic said, if it said anything in words.
pub(crate) fn panicked(join: JoinError) -> RunError {
    let message = match join.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("panicked: {}", text.as_deref().unwrap_or("without a message"))
        }
        Err(_) => "the body was aborted".to_owned(),
    };
    RunError::new(ErrorKind::Execution, message)
}

/// What a body came to, in words: its error has been asked for them where a panic of it does no harm.
pub(crate) enum Settled {
    Succeeded(Outcome),
    Failed { error: RunError, retryable: bool },
}

/// Puts a body's result into words.
pub(crate) fn settle(result: TaskResult) -> Settled {
    match result {
        Ok(outcome) if outcome.success => Settled::Succeeded(outcome),
        Ok(outcome) => {
            Settled::Failed { error: RunError::new(ErrorKind::Execution, outcome.message), retryable: false }
        }
        Err(error) => Settled::Failed {
            error: RunError::new(error.kind(), error.to_string()),
            retryable: !error.is_fatal(),
        },
    }
}

/// How one attempt ended.
enum Ended {
    Succeeded(Outcome),
    Failed { error: RunError, retryable: bool },
    Stopped { by: Stop, reason: Reason, stuck: bool },
}

/// Tries a body until it succeeds, fails for good, or is stopped.
pub(crate) async fn attempts<C, F>(retry: Retry, ctx: &Context<C>, body: F) -> Conclusion
where
    F: Fn(Context<C>) -> JoinHandle<Settled>,
{
    let limits = &ctx.surroundings.limits;
    let mut attempts = Vec::new();
    let mut number = ctx.attempt;
    loop {
        log::attempt(number);
        let started_at = Timestamp::now();
        let ended = attempt(ctx, number, started_at, &body).await;
        let took = Timestamp::now().duration_since(started_at).unsigned_abs();
        let error = match &ended {
            Ended::Succeeded(_) => None,
            Ended::Failed { error, .. } => Some(error.clone()),
            Ended::Stopped { reason, .. } => Some(RunError::of(reason)),
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
            Ended::Succeeded(outcome) => {
                return Conclusion { attempts, outcome: Some(outcome), ..conclusion(Event::Complete, None) };
            }
            Ended::Stopped { by, reason, stuck } => {
                let why = Some(reason);
                return Conclusion { attempts, stuck, why, ..conclusion(by.event(), error) };
            }
            Ended::Failed { error, retryable } => (error, retryable),
        };
        match retry.after_failure(number, retryable, until(limits.deadline), jitter()) {
            Next::RetryAfter(pause) => {
                let pause_ms = duration::millis(pause);
                tracing::warn!(pause_ms, "attempt {number} failed, another follows: {failed}");
                if timeout(pause, limits.asked.cancelled()).await.is_ok() {
                    let since = Moment::AttemptFailed { attempt: number, failure: failed.message };
                    let reason = Stop::Asked.reason(Timestamp::now(), limits.deadline, since);
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

async fn attempt<C, F>(ctx: &Context<C>, number: u32, started_at: Timestamp, body: &F) -> Ended
where
    F: Fn(Context<C>) -> JoinHandle<Settled>,
{
    let limits = &ctx.surroundings.limits;
    let code = body(Context { attempt: number, ..ctx.clone() });
    match supervise(code, limits).await {
        Ran::Returned(Settled::Succeeded(outcome)) => Ended::Succeeded(outcome),
        Ran::Returned(Settled::Failed { error, retryable }) => Ended::Failed { error, retryable },
        Ran::Panicked(error) => Ended::Failed { error, retryable: true },
        Ran::Stopped { by, stuck } => {
            let since = Moment::AttemptBegan { attempt: number };
            Ended::Stopped { by, reason: by.reason(started_at, limits.deadline, since), stuck }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_deadline_that_passed_while_the_machine_slept_comes_when_it_is_awake() {
        let began = Timestamp::UNIX_EPOCH;
        let looks = Cell::new(0);
        // An hour passes between the first look and the second.
        let now = || {
            looks.set(looks.get() + 1);
            began + Duration::from_secs(if looks.get() == 1 { 0 } else { 3600 })
        };
        timeout(Duration::from_secs(30), comes(began + Duration::from_secs(900), now)).await.unwrap();
        assert_eq!(looks.get(), 2);
    }
}
