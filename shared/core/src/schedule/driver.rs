//! The driver of a cron task in AWS: EventBridge Scheduler, which costs nothing between two ticks, or the
//! pulse.

use super::eventbridge::Inexpressible;
use crate::{
    catch_up::CatchUp,
    definition::{Cron, Overlap},
};

/// The driver of a cron task in AWS. On one machine it is always the pulse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A schedule of the task's own in EventBridge Scheduler.
    EventBridge {
        /// The expression, in the task's time zone.
        expression: String,
    },
    /// The pulse.
    Pulse {
        /// The features that EventBridge lacks; at least one.
        reasons: Vec<Reason>,
    },
}

/// A feature of a task that EventBridge Scheduler lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// EventBridge calls no function to find out whether a tick is due.
    #[error("its schedule function decides when it runs")]
    Dynamic,
    /// EventBridge has no expression for the schedule.
    #[error(transparent)]
    Inexpressible(#[from] Inexpressible),
    /// EventBridge does not wait for other tasks.
    #[error("it depends on other tasks")]
    Dependencies,
    /// EventBridge does not delay a tick until a run is over.
    #[error("its overlap is `buffer`: a tick waits until the run is over")]
    Buffer,
    /// EventBridge retries an undelivered tick only until the next tick.
    #[error("its catch-up is `{0}`, which may run several late ticks")]
    CatchUpAll(CatchUp),
    /// EventBridge has only a flexible time window, which delays each tick by another time.
    #[error("it has jitter, which delays its ticks")]
    Jitter,
}

/// Chooses the driver of a cron task in AWS.
pub fn driver(cron: &Cron) -> Driver {
    let mut reasons = Vec::new();
    let expression = match cron.schedule.as_ref().map(super::Schedule::to_eventbridge) {
        Some(Ok(expression)) => Some(expression),
        Some(Err(inexpressible)) => {
            reasons.push(inexpressible.into());
            None
        }
        None => {
            reasons.push(Reason::Dynamic);
            None
        }
    };
    if !cron.depends_on.is_empty() {
        reasons.push(Reason::Dependencies);
    }
    match cron.overlap {
        Overlap::Buffer => reasons.push(Reason::Buffer),
        // The claim and the task's own function implement these.
        Overlap::Skip | Overlap::Allow | Overlap::Replace => {}
    }
    match cron.catch_up {
        CatchUp::All { .. } => reasons.push(Reason::CatchUpAll(cron.catch_up)),
        // The schedule's retry policy has the time for which a tick is retried.
        CatchUp::None | CatchUp::Last => {}
    }
    if !cron.jitter.is_zero() {
        reasons.push(Reason::Jitter);
    }
    match expression {
        Some(expression) if reasons.is_empty() => Driver::EventBridge { expression },
        _ => Driver::Pulse { reasons },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn g04_schedules_beyond_eventbridge_go_to_the_pulse_with_every_reason() {
        let plain = Cron::new(Some("*/5 * * * *".parse().unwrap()));
        assert_eq!(driver(&plain), Driver::EventBridge { expression: "cron(0/5 * * * ? *)".to_owned() });
        for catch_up in [CatchUp::None, CatchUp::Last] {
            for overlap in [Overlap::Skip, Overlap::Allow, Overlap::Replace] {
                let cron = Cron { catch_up, overlap, run_once: true, ..plain.clone() };
                assert!(matches!(driver(&cron), Driver::EventBridge { .. }), "{cron:?}");
            }
        }
        let reasons = |cron: &Cron| match driver(cron) {
            Driver::EventBridge { expression } => vec![expression],
            Driver::Pulse { reasons } => reasons.iter().map(ToString::to_string).collect(),
        };
        let everything = Cron {
            schedule: None,
            depends_on: vec!["other".parse().unwrap()],
            overlap: Overlap::Buffer,
            catch_up: CatchUp::All { within: Duration::from_secs(3600) },
            jitter: Duration::from_secs(30),
            ..plain.clone()
        };
        assert_eq!(
            reasons(&everything),
            [
                "its schedule function decides when it runs",
                "it depends on other tasks",
                "its overlap is `buffer`: a tick waits until the run is over",
                "its catch-up is `all within 1h`, which may run several late ticks",
                "it has jitter, which delays its ticks",
            ]
        );
        let seconds = Cron::new(Some("every 30 seconds".parse().unwrap()));
        assert_eq!(
            reasons(&seconds),
            [
                "EventBridge Scheduler cannot express `every 30 seconds`: its precision is a minute, and this has seconds"
            ]
        );
    }
}
