//! Who may run a task now: the rule of the lease.
//!
//! The table states the same rule as the condition of one write, so that no read comes before it. When the
//! condition fails the old item comes back, and [`claim`] turns it into the reason. A property test holds the
//! two together.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    definition::Overlap,
    deployment::EntryKey,
    holder::Holder,
    id::RunId,
    name::TaskName,
    reason::Reason,
    run::{Run, Trigger},
    status::Status,
};

/// By how much the clocks of two machines may differ before only the epoch keeps a second run's effects out.
pub const SKEW_MARGIN: Duration = Duration::from_secs(2);

/// How long a run that replaces another one waits for that to end: the other looks every few seconds whether it was
/// asked to, at the latest 10 s after its own beginning, and has some more to put things in order and be recorded.
pub const REPLACE_WAIT: Duration = Duration::from_secs(20);

/// What the table holds of a task between and during its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskState {
    /// Whether somebody switched it off.
    pub disabled: bool,
    /// The current run's hold on the task, if it has the task to itself.
    pub lease: Option<Lease>,
    /// The holds of runs beside which others may begin, in the order of their ids.
    pub shared: Vec<Lease>,
    /// How many claims there have been: the fencing number of the last one.
    pub epoch: u64,
    /// The newest scheduled time that started a run.
    pub last_tick: Option<Timestamp>,
    /// The newest deployment of each resource that started a run, by the resource's ledger.
    pub last_deployments: BTreeMap<String, EntryKey>,
    /// What somebody set at run time, as JSON text: [`crate::settings::Settings`].
    pub settings: Option<String>,
    /// The last run that is over, of those that began.
    pub last_run: Option<LastRun>,
    /// How many runs have failed since one completed.
    pub failure_streak: u64,
    /// Since when its schedule is known to the pulse or a runner; nothing if neither has seen it.
    pub known: Option<Known>,
}

/// Since when a task's schedule is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Known {
    /// The word that tells the schedule from another one.
    pub schedule: String,
    /// From when on its ticks have their runs.
    pub since: Timestamp,
    /// The task had another schedule before.
    #[serde(default)]
    pub is_changed: bool,
}

/// How a task's last run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastRun {
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub status: Status,
}

/// A run's hold on its task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The run that holds it.
    pub run_id: RunId,
    /// The invocation that claimed it: tells a repeated write of one's own from another's claim.
    pub holder: Holder,
    /// When it ends by itself.
    pub until: Timestamp,
    /// When the run began.
    pub started_at: Timestamp,
    /// What started the run.
    pub trigger: Trigger,
    /// The time the run was meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Timestamp>,
    /// Whether somebody asked the run to end.
    #[serde(default)]
    pub cancelled: bool,
}

/// What may start at most one run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The run that would begin.
    pub run_id: RunId,
    /// A word that no other invocation has.
    pub holder: Holder,
    /// What starts it.
    pub trigger: Trigger,
    /// What it may be the only run of.
    pub occasion: Occasion,
    /// The task's policy. Only [`Overlap::Allow`] lets it begin beside another run; what the others do once it is
    /// refused is the pipeline's.
    pub overlap: Overlap,
    /// Whether its claim switches the task off, which is to run once: so it is off whatever becomes of the run.
    pub runs_once: bool,
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
    /// By what the run may write for its task.
    pub hold: Hold,
    /// The holds of earlier runs that ended by themselves. Each run's record must be written before its hold is taken
    /// away, since the hold is all that is known of it, and both before the body starts.
    pub lost: Vec<Lost>,
    /// What somebody set at run time, as JSON text.
    pub settings: Option<String>,
}

/// By what a run may write for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The task is its own: only who has the task's current epoch may write for it.
    GroupCommit {
        /// The fencing number.
        epoch: u64,
    },
    /// Other runs may be beside it; its own hold is there as long as nobody took the run for lost.
    Shared,
}

impl Hold {
    /// The fencing number, as it is recorded; 0 where there is none.
    pub fn epoch(self) -> u64 {
        match self {
            Self::GroupCommit { epoch } => epoch,
            Self::Shared => 0,
        }
    }
}

/// A run that started and whose end nobody wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lost {
    /// Its lease of the task.
    pub lease: Lease,
    /// By what it could write.
    pub hold: Hold,
}

/// Why a run does not begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// Somebody switched the task off.
    Disabled,
    /// Another run holds the task.
    PreviousInstanceRunning {
        /// The run that holds it.
        run_id: RunId,
        /// When its hold ends by itself.
        until: Timestamp,
    },
    /// This very run has begun already, by another delivery of the same request.
    AlreadyRunning {
        /// The run.
        run_id: RunId,
    },
    /// The scheduled time or the deployment, or a later one, has had its run.
    AlreadyRan {
        /// The scheduled time or the deployment.
        #[serde(flatten)]
        occasion: PastOccasion,
    },
    /// The task's own schedule function was asked and said no.
    NotDue,
}

impl Refusal {
    /// The reason that the record of the refused run has.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Disabled => Reason::Disabled,
            Self::PreviousInstanceRunning { run_id, until } => {
                Reason::Held { run_id: *run_id, until: *until }
            }
            Self::AlreadyRunning { run_id } => Reason::AlreadyRunning { run_id: *run_id },
            Self::AlreadyRan { occasion } => occasion.reason(),
            Self::NotDue => Reason::NotDue,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl std::error::Error for Refusal {}

/// Occasion that has had its run. Its JSON form has the words for people in `occasion`, and a field for each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OccasionFields", into = "OccasionFields")]
pub enum PastOccasion {
    /// A scheduled time.
    Tick(Timestamp),
    /// A deployment request.
    Deployment(EntryKey),
    /// A run whose id was fixed by the sender.
    Run(RunId),
    /// An occasion of which only the words are known.
    Other(String),
}

impl PastOccasion {
    fn reason(&self) -> Reason {
        match self {
            Self::Tick(tick) => Reason::TickRan { scheduled_for: *tick },
            Self::Deployment(entry) => Reason::DeploymentRan { entry: entry.to_string() },
            Self::Run(run_id) => Reason::AlreadyOver { run_id: *run_id },
            Self::Other(words) => Reason::Other { text: format!("already_ran: {words} has had its run") },
        }
    }
}

/// JSON form of a [`PastOccasion`].
#[derive(Default, Serialize, Deserialize)]
struct OccasionFields {
    occasion: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled_for: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<EntryKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
}

impl From<PastOccasion> for OccasionFields {
    fn from(past: PastOccasion) -> Self {
        match past {
            PastOccasion::Tick(tick) => {
                let occasion = format!("the scheduled time {tick}");
                Self { occasion, scheduled_for: Some(tick), ..Self::default() }
            }
            PastOccasion::Deployment(entry) => {
                Self { occasion: format!("the deployment {entry}"), entry: Some(entry), ..Self::default() }
            }
            PastOccasion::Run(run_id) => {
                Self { occasion: format!("the run {run_id}"), run_id: Some(run_id), ..Self::default() }
            }
            PastOccasion::Other(occasion) => Self { occasion, ..Self::default() },
        }
    }
}

impl From<OccasionFields> for PastOccasion {
    fn from(fields: OccasionFields) -> Self {
        match fields {
            OccasionFields { scheduled_for: Some(tick), .. } => Self::Tick(tick),
            OccasionFields { entry: Some(entry), .. } => Self::Deployment(entry),
            OccasionFields { run_id: Some(run_id), .. } => Self::Run(run_id),
            OccasionFields { occasion, .. } => Self::Other(occasion),
        }
    }
}

/// Decides on a request in the state that the table had when it arrived.
///
/// A run is refused while the task is disabled; while another run's lease is live, unless overlaps are allowed; and if
/// its occasion, or a newer one of the same kind, has had a run. A lease that already names the request's own holder is
/// the request's own earlier write whose response was lost, and is granted. A lease that has ended by itself keeps
/// nobody out, but it must be ended before the claim is written: see [`Grant::lost`].
///
/// A policy that changes while runs are in progress holds for the runs that begin after it: a run that has the task to
/// itself and runs that share it do not see each other.
pub fn claim(state: &TaskState, request: &Request) -> Decision {
    match request.overlap {
        Overlap::Allow => {
            if let Some(lease) = state.shared.iter().find(|lease| lease.run_id == request.run_id) {
                return if lease.holder == request.holder {
                    state.granted(Hold::Shared, Vec::new())
                } else {
                    Decision::Refused(Refusal::AlreadyRunning { run_id: lease.run_id })
                };
            }
        }
        Overlap::Skip | Overlap::Buffer | Overlap::Replace => {
            if let Some(lease) = &state.lease {
                if lease.holder == request.holder {
                    return state.granted(Hold::GroupCommit { epoch: state.epoch }, Vec::new());
                }
                if lease.until >= request.now {
                    // Another delivery of the same tick is no other run, whatever id it came with.
                    let is_the_same = lease.run_id == request.run_id
                        || matches!(request.occasion, Occasion::Tick(tick) if lease.scheduled_for == Some(tick));
                    return Decision::Refused(if is_the_same {
                        Refusal::AlreadyRunning { run_id: lease.run_id }
                    } else if state.disabled {
                        // It would not begin either if the other run made room for it.
                        Refusal::Disabled
                    } else {
                        Refusal::PreviousInstanceRunning { run_id: lease.run_id, until: lease.until }
                    });
                }
            }
        }
    }
    if state.disabled {
        return Decision::Refused(Refusal::Disabled);
    }
    let had_its_run = match &request.occasion {
        Occasion::Tick(tick) => {
            state.last_tick.filter(|last| last >= tick).map(|_| PastOccasion::Tick(*tick))
        }
        Occasion::Deployment { ledger, entry } => state
            .last_deployments
            .get(ledger)
            .filter(|last| *last >= entry)
            .map(|_| PastOccasion::Deployment(entry.clone())),
        Occasion::Wish => None,
    };
    match had_its_run {
        Some(occasion) => Decision::Refused(Refusal::AlreadyRan { occasion }),
        None => state.granted(state.next_hold(request.overlap), state.lost(request.now)),
    }
}

impl TaskState {
    fn granted(&self, hold: Hold, lost: Vec<Lost>) -> Decision {
        Decision::Granted(Grant { hold, lost, settings: self.settings.clone() })
    }

    /// The hold that the next claim gets.
    pub fn next_hold(&self, overlap: Overlap) -> Hold {
        match overlap {
            Overlap::Allow => Hold::Shared,
            Overlap::Skip | Overlap::Buffer | Overlap::Replace => Hold::GroupCommit { epoch: self.epoch + 1 },
        }
    }

    /// The state after `request` was granted with `hold`.
    #[must_use]
    pub fn claimed(mut self, request: &Request, hold: Hold) -> Self {
        let lease = request.lease();
        match hold {
            Hold::GroupCommit { epoch } => {
                self.epoch = epoch;
                self.lease = Some(lease);
            }
            Hold::Shared => {
                self.shared.push(lease);
                self.shared.sort_by_key(|lease| lease.run_id);
            }
        }
        match &request.occasion {
            Occasion::Tick(tick) => self.last_tick = Some(*tick),
            Occasion::Deployment { ledger, entry } => {
                self.last_deployments.insert(ledger.clone(), entry.clone());
            }
            Occasion::Wish => {}
        }
        self.disabled |= request.runs_once;
        self
    }

    /// The state after `run` is over, if it still has its hold; otherwise it changes nothing.
    #[must_use]
    pub fn released(mut self, run_id: RunId, hold: Hold, status: Status) -> Self {
        match hold {
            Hold::GroupCommit { epoch } => {
                if epoch != self.epoch || self.lease.as_ref().is_none_or(|lease| lease.run_id != run_id) {
                    return self;
                }
                self.lease = None;
            }
            Hold::Shared => {
                let before = self.shared.len();
                self.shared.retain(|lease| lease.run_id != run_id);
                if self.shared.len() == before {
                    return self;
                }
            }
        }
        self.last_run = Some(LastRun { run_id, status });
        self.failure_streak = if status == Status::Completed { 0 } else { self.failure_streak + 1 };
        self
    }

    /// The runs whose hold on the task has ended by itself, and whose end nobody wrote.
    pub fn lost(&self, now: Timestamp) -> Vec<Lost> {
        self.held().filter(|lost| lost.lease.until < now).collect()
    }

    /// Every run that has a hold on the task, as who knows that it is lost would end it.
    pub fn held(&self) -> impl Iterator<Item = Lost> {
        let exclusive = self.lease.iter().map(|lease| (lease, Hold::GroupCommit { epoch: self.epoch }));
        let shared = self.shared.iter().map(|lease| (lease, Hold::Shared));
        exclusive.chain(shared).map(|(lease, hold)| Lost { lease: lease.clone(), hold })
    }

    /// Every run that has a hold on the task, whether or not it has ended by itself.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.lease.iter().chain(&self.shared)
    }
}

impl Request {
    /// The lease that the request would get.
    pub fn lease(&self) -> Lease {
        Lease {
            run_id: self.run_id,
            holder: self.holder.clone(),
            until: self.until,
            started_at: self.now,
            trigger: self.trigger,
            scheduled_for: match self.occasion {
                Occasion::Tick(tick) => Some(tick),
                Occasion::Deployment { .. } | Occasion::Wish => None,
            },
            cancelled: false,
        }
    }
}

impl Lost {
    /// The run's record, by whoever finds it at `now`.
    pub fn run(&self, task: &TaskName, now: Timestamp) -> Run {
        let run = Run {
            status: Status::Failed,
            completed_at: now,
            scheduled_for: self.lease.scheduled_for,
            epoch: self.hold.epoch(),
            ..Run::begun(self.lease.run_id, task.clone(), self.lease.trigger, self.lease.started_at)
        };
        run.because(Reason::Lost { until: self.lease.until })
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
            holder: format!("holder-{run}-{now}").into(),
            trigger: Trigger::Manual,
            occasion,
            overlap: Overlap::Skip,
            runs_once: false,
            now: at(now),
            until: at(now + 10),
        }
    }

    fn granted(state: TaskState, request: &Request) -> TaskState {
        match claim(&state, request) {
            Decision::Granted(grant) => state.claimed(request, grant.hold),
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
    fn a_refusal_survives_its_json_and_one_without_fields_is_read() {
        let (run_id, until) = (RunId::new(at(0), 1), at(60));
        let entry = EntryKey::new(at(90), "request");
        let ran = |occasion| Refusal::AlreadyRan { occasion };
        for refusal in [
            Refusal::Disabled,
            Refusal::PreviousInstanceRunning { run_id, until },
            Refusal::AlreadyRunning { run_id },
            ran(PastOccasion::Tick(at(90))),
            ran(PastOccasion::Deployment(entry)),
            ran(PastOccasion::Run(run_id)),
            ran(PastOccasion::Other("the week".to_owned())),
            Refusal::NotDue,
        ] {
            let json = serde_json::to_value(&refusal).unwrap();
            assert_eq!(serde_json::from_value::<Refusal>(json.clone()).unwrap(), refusal, "{json}");
        }
        let json = serde_json::to_value(ran(PastOccasion::Tick(at(90)))).unwrap();
        let words = "the scheduled time 1970-01-01T00:01:30Z";
        let expected = serde_json::json!({
            "reason": "already_ran", "occasion": words, "scheduled_for": "1970-01-01T00:01:30Z"
        });
        assert_eq!(json, expected);
        let old = serde_json::json!({ "reason": "already_ran", "occasion": words });
        let old: Refusal = serde_json::from_value(old).unwrap();
        assert_eq!(old.to_string(), format!("already_ran: {words} has had its run"));
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
        assert_eq!((grant.hold, grant.lost[0].lease.run_id), (Hold::GroupCommit { epoch: 2 }, first.run_id));
    }

    #[test]
    fn a_lost_response_is_told_from_another_delivery() {
        let first = request(1, 100, Occasion::Wish);
        let state = granted(TaskState::default(), &first);
        assert_eq!(
            claim(&state, &first),
            Decision::Granted(Grant {
                hold: Hold::GroupCommit { epoch: 1 },
                lost: Vec::new(),
                settings: None
            })
        );
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
    fn c20_a_tick_that_is_delivered_again_during_its_run_is_not_another_run() {
        let first = request(1, 100, Occasion::Tick(at(90)));
        let state = granted(TaskState::default(), &first);
        assert_eq!(
            refusal(&state, &request(2, 101, Occasion::Tick(at(90)))),
            Refusal::AlreadyRunning { run_id: first.run_id }
        );
        let next = refusal(&state, &request(2, 101, Occasion::Tick(at(150))));
        assert!(matches!(next, Refusal::PreviousInstanceRunning { .. }), "{next}");
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

    #[test]
    fn c23_a_task_that_runs_once_is_disabled_from_its_claim_on() {
        for overlap in [Overlap::Skip, Overlap::Allow, Overlap::Replace] {
            let once = |run, now, tick| Request {
                runs_once: true,
                overlap,
                ..request(run, now, Occasion::Tick(at(tick)))
            };
            let first = once(1, 100, 90);
            let state = granted(TaskState::default(), &first);
            // Whether or not the first run is still there, and whoever ends it.
            assert_eq!(refusal(&state, &once(2, 101, 150)), Refusal::Disabled, "{overlap:?}");
            assert_eq!(refusal(&state, &once(2, 200, 150)), Refusal::Disabled, "{overlap:?}");
            // Another delivery of its tick is told of the run, and its own write again is its own.
            assert!(matches!(claim(&state, &first), Decision::Granted(_)), "{overlap:?}");
            if overlap == Overlap::Skip {
                assert_eq!(
                    refusal(&state, &once(2, 101, 90)),
                    Refusal::AlreadyRunning { run_id: first.run_id }
                );
            }
        }
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
                    prop_assert_eq!(grant.hold, Hold::GroupCommit { epoch: state.epoch + 1 });
                    prop_assert!(!ticks.contains(&tick));
                    ticks.push(tick);
                    prop_assert!(held_until < now);
                    state = state.claimed(&request, grant.hold);
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
