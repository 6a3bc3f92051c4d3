//! Who may run a task now: the rule of the lease.
//!
//! The table states the same rule as the condition of one write, so that no read comes before it. When the
//! condition fails the old item comes back, and [`claim`] turns it into the reason. A property test holds the
//! two together.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    deployment::EntryKey,
    id::RunId,
    name::TaskName,
    run::{ErrorKind, Run, RunError, Trigger},
    status::Status,
};

/// By how much the clocks of two machines may differ before only the epoch keeps a second run's effects out.
pub const SKEW_MARGIN: Duration = Duration::from_secs(2);

/// What the table holds of a task between and during its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// Whether somebody switched it off.
    pub disabled: bool,
    /// The current run's hold on the task.
    pub lease: Option<Lease>,
    /// How many claims there have been: the fencing number of the last one.
    pub epoch: u64,
    /// The newest scheduled time that started a run.
    pub last_tick: Option<Timestamp>,
    /// The newest deployment of each resource that started a run, by the resource's ledger.
    pub last_deployments: BTreeMap<String, EntryKey>,
}

/// A run's hold on its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The run that holds it.
    pub run_id: RunId,
    /// The invocation that claimed it: tells a repeated write of one's own from another's claim.
    pub holder: String,
    /// When it ends by itself.
    pub until: Timestamp,
    /// When the run began.
    pub started_at: Timestamp,
    /// What started the run.
    pub trigger: Trigger,
}

/// What may start at most one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A scheduled time.
    Tick(Timestamp),
    /// One deployment request of one resource.
    Deployment {
        /// The resource's ledger.
        ledger: String,
        /// The request, in the ledger's order.
        entry: EntryKey,
    },
    /// Somebody's wish; each is its own.
    Wish,
}

/// A wish to run a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The run that would begin.
    pub run_id: RunId,
    /// A word that no other invocation has.
    pub holder: String,
    /// What starts it.
    pub trigger: Trigger,
    /// What it may be the only run of.
    pub occasion: Occasion,
    /// The time of the request.
    pub now: Timestamp,
    /// When the lease shall end: the invocation's deadline and [`SKEW_MARGIN`].
    pub until: Timestamp,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// The run begins.
    Granted(Grant),
    /// It does not, and nothing has changed.
    Refused(Refusal),
}

/// A claim that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The fencing number: only who has the task's current one may write for it.
    pub epoch: u64,
    /// The hold of an earlier run that ended by itself. Its record must be written before the body starts.
    pub lost: Option<Lost>,
}

/// A run that started and whose end nobody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its hold on the task.
    pub lease: Lease,
    /// The fencing number it had.
    pub epoch: u64,
}

/// Why a run does not begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// Somebody switched the task off.
    #[error("disabled")]
    Disabled,
    /// Another run holds the task.
    #[error("previous_instance_running: {run_id} holds the task until {until}")]
    PreviousInstanceRunning {
        /// The run that holds it.
        run_id: RunId,
        /// When its hold ends by itself.
        until: Timestamp,
    },
    /// This very run has begun already, by another delivery of the same request.
    #[error("already_running: run {run_id} has begun already")]
    AlreadyRunning {
        /// The run.
        run_id: RunId,
    },
    /// The scheduled time or the deployment, or a later one, has had its run.
    #[error("already_ran: {occasion} has had its run")]
    AlreadyRan {
        /// The scheduled time or the deployment, for people.
        occasion: String,
    },
}

/// Decides on a request in the state that the table had when it arrived.
///
/// A run is refused while the task is disabled; while another run's lease is live; and if its occasion, or a
/// newer one of the same kind, has had a run. A lease that already names the request's own holder is the
/// request's own earlier write whose response was lost, and is granted.
pub fn claim(state: &TaskState, request: &Request) -> Decision {
    if let Some(lease) = &state.lease {
        if lease.holder == request.holder {
            return Decision::Granted(Grant { epoch: state.epoch, lost: None });
        }
        if lease.until >= request.now {
            return Decision::Refused(if lease.run_id == request.run_id {
                Refusal::AlreadyRunning { run_id: lease.run_id }
            } else {
                Refusal::PreviousInstanceRunning { run_id: lease.run_id, until: lease.until }
            });
        }
    }
    if state.disabled {
        return Decision::Refused(Refusal::Disabled);
    }
    let had_its_run = match &request.occasion {
        Occasion::Tick(tick) => {
            state.last_tick.filter(|last| last >= tick).map(|_| format!("the scheduled time {tick}"))
        }
        Occasion::Deployment { ledger, entry } => state
            .last_deployments
            .get(ledger)
            .filter(|last| *last >= entry)
            .map(|_| format!("the deployment {entry}")),
        Occasion::Wish => None,
    };
    match had_its_run {
        Some(occasion) => Decision::Refused(Refusal::AlreadyRan { occasion }),
        None => Decision::Granted(Grant {
            epoch: state.epoch + 1,
            lost: state.lease.clone().map(|lease| Lost { lease, epoch: state.epoch }),
        }),
    }
}

impl TaskState {
    /// The state after `request` was granted with `epoch`.
    #[must_use]
    pub fn claimed(mut self, request: &Request, epoch: u64) -> Self {
        self.epoch = epoch;
        self.lease = Some(Lease {
            run_id: request.run_id,
            holder: request.holder.clone(),
            until: request.until,
            started_at: request.now,
            trigger: request.trigger,
        });
        match &request.occasion {
            Occasion::Tick(tick) => self.last_tick = Some(*tick),
            Occasion::Deployment { ledger, entry } => {
                self.last_deployments.insert(ledger.clone(), entry.clone());
            }
            Occasion::Wish => {}
        }
        self
    }

    /// The run whose hold on the task has ended by itself, and whose end nobody wrote.
    pub fn lost(&self, now: Timestamp) -> Option<Lost> {
        let lease = self.lease.clone().filter(|lease| lease.until < now)?;
        Some(Lost { lease, epoch: self.epoch })
    }
}

impl Lost {
    /// The run's record, by whoever finds it at `now`.
    pub fn run(&self, task: &TaskName, now: Timestamp) -> Run {
        let message =
            format!("lost: nothing was heard of the run before its lease ended at {}", self.lease.until);
        Run {
            status: Status::Failed,
            completed_at: now,
            error: Some(RunError::new(ErrorKind::System, message)),
            epoch: self.epoch,
            ..Run::begun(self.lease.run_id, task.clone(), self.lease.trigger, self.lease.started_at)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(run: u128, now: i64, occasion: Occasion) -> Request {
        Request {
            run_id: RunId::new(at(0), run),
            holder: format!("holder-{run}-{now}"),
            trigger: Trigger::Manual,
            occasion,
            now: at(now),
            until: at(now + 10),
        }
    }

    fn granted(state: TaskState, request: &Request) -> TaskState {
        match claim(&state, request) {
            Decision::Granted(grant) => state.claimed(request, grant.epoch),
            Decision::Refused(refusal) => panic!("refused: {refusal}"),
        }
    }

    fn refusal(state: &TaskState, request: &Request) -> Refusal {
        match claim(state, request) {
            Decision::Refused(refusal) => refusal,
            Decision::Granted(grant) => panic!("granted: {grant:?}"),
        }
    }

    #[test]
    fn a_live_lease_keeps_others_out_and_names_its_run() {
        let first = request(1, 100, Occasion::Wish);
        let state = granted(TaskState::default(), &first);
        assert_eq!(
            refusal(&state, &request(2, 110, Occasion::Wish)),
            Refusal::PreviousInstanceRunning { run_id: first.run_id, until: first.until }
        );
    }

    #[test]
    fn an_expired_lease_is_taken_over_and_its_run_is_lost() {
        let first = request(1, 100, Occasion::Wish);
        let state = granted(TaskState::default(), &first);
        let Decision::Granted(grant) = claim(&state, &request(2, 111, Occasion::Wish)) else {
            panic!("refused")
        };
        assert_eq!((grant.epoch, grant.lost.unwrap().lease.run_id), (2, first.run_id));
    }

    #[test]
    fn a_lost_response_is_told_from_another_delivery() {
        let first = request(1, 100, Occasion::Wish);
        let state = granted(TaskState::default(), &first);
        assert_eq!(claim(&state, &first), Decision::Granted(Grant { epoch: 1, lost: None }));
        let again = Request { holder: "another".into(), ..first.clone() };
        assert_eq!(refusal(&state, &again), Refusal::AlreadyRunning { run_id: first.run_id });
    }

    #[test]
    fn c20_a_tick_has_one_run() {
        let mut state = granted(TaskState::default(), &request(1, 100, Occasion::Tick(at(90))));
        state.lease = None;
        for tick in [90, 30] {
            let refused = refusal(&state, &request(2, 200, Occasion::Tick(at(tick))));
            assert!(matches!(refused, Refusal::AlreadyRan { .. }));
        }
        granted(state, &request(2, 200, Occasion::Tick(at(150))));
    }

    #[test]
    fn l14_a_deployment_has_one_run_and_l26_resources_do_not_see_each_other() {
        let deployment = |ledger: &str, second| Occasion::Deployment {
            ledger: ledger.into(),
            entry: EntryKey::new(at(second), "request"),
        };
        let mut state = granted(TaskState::default(), &request(1, 100, deployment("a", 90)));
        state.lease = None;
        let refused = refusal(&state, &request(2, 200, deployment("a", 90)));
        assert!(matches!(refused, Refusal::AlreadyRan { .. }));
        granted(state, &request(2, 200, deployment("b", 80)));
    }

    #[test]
    fn c05_disabled_keeps_everyone_out() {
        let state = TaskState { disabled: true, ..TaskState::default() };
        assert_eq!(refusal(&state, &request(1, 1, Occasion::Wish)), Refusal::Disabled);
    }

    proptest! {
        /// Invariants 1 and 2: whatever requests come in whatever order, live leases never overlap, and no
        /// tick is granted twice.
        #[test]
        fn leases_never_overlap_and_ticks_run_once(steps in prop::collection::vec((0_u128..4, 0_i64..8, 0_i64..6, any::<bool>()), 1..60)) {
            let mut state = TaskState::default();
            let mut now = 1_000;
            let mut ticks = Vec::new();
            let mut held_until = 0;
            for (run, wait, tick, finish) in steps {
                now += wait;
                let request = request(run, now, Occasion::Tick(at(tick)));
                if let Decision::Granted(grant) = claim(&state, &request) {
                    // One's own earlier write: nothing is written again.
                    if state.lease.as_ref().is_some_and(|lease| lease.holder == request.holder) {
                        continue;
                    }
                    prop_assert!(grant.epoch == state.epoch + 1);
                    prop_assert!(!ticks.contains(&tick));
                    ticks.push(tick);
                    prop_assert!(held_until < now);
                    state = state.claimed(&request, grant.epoch);
                    held_until = now + 10;
                    if finish {
                        state.lease = None;
                        held_until = now - 1;
                    }
                }
            }
        }
    }
}
