//! The claim: the rule by which a run gets the lease of its task.
//!
//! The table states the same rule as the condition of one write, so that no read comes before it. If the
//! condition fails, the write returns the old item, and [`claim`] derives the refusal from it. A property
//! test checks that the two agree.

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

/// The maximum difference between the clocks of two machines. Beyond it, only the fencing token prevents a
/// second run's effects.
pub const SKEW_MARGIN: Duration = Duration::from_secs(2);

/// The maximum time for which a replacing run waits for the replaced run to end. The replaced run checks for
/// cancellation every few seconds, first 10 s after its start. It then needs time to stop and to be recorded.
pub const REPLACE_WAIT: Duration = Duration::from_secs(20);

/// The state of a task in the table, between and during its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskState {
    /// The task is switched off.
    pub disabled: bool,
    /// The lease of the current run, if it has the task to itself.
    pub lease: Option<Lease>,
    /// The leases of runs that share the task, sorted by run id.
    pub shared: Vec<Lease>,
    /// The fencing token of the last claim. Each claim of the whole task raises it by one.
    pub fencing_token: u64,
    /// The newest tick that started a run.
    pub last_tick: Option<Timestamp>,
    /// The newest deployment of each resource that started a run, by the resource's ledger.
    pub last_deployments: BTreeMap<String, EntryKey>,
    /// The run-time settings as JSON text: [`crate::settings::Settings`].
    pub settings: Option<String>,
    /// The last run that started and is over.
    pub last_run: Option<LastRun>,
    /// The number of failed runs since the last completed one.
    pub failure_streak: u64,
    /// The schedule that the pulse or a runner knows; none if neither has seen one.
    pub known: Option<KnownSchedule>,
}

/// A task's schedule, and the time from which it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KnownSchedule {
    /// The schedule's text and time zone: see [`schedule_word`](crate::pulse::schedule_word).
    pub schedule: String,
    /// The time from which its ticks have runs.
    pub since: Timestamp,
    /// The task had another schedule before.
    #[serde(default)]
    pub is_changed: bool,
}

/// The result of a task's last run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastRun {
    /// The run.
    pub run_id: RunId,
    /// The status in which it ended.
    pub status: Status,
}

/// The lease of a task, held by a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The run that holds the lease.
    pub run_id: RunId,
    /// The invocation that claimed it. It distinguishes a repeated write from the claim of another invocation.
    pub holder: Holder,
    /// The time at which the lease expires.
    pub until: Timestamp,
    /// The start of the run.
    pub started_at: Timestamp,
    /// The trigger of the run.
    pub trigger: Trigger,
    /// The scheduled time of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Timestamp>,
    /// Cancellation of the run is requested.
    #[serde(default)]
    pub cancelled: bool,
}

/// An occasion for a run. Each has at most one run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// A tick of a schedule.
    Tick(Timestamp),
    /// One deployment request for one resource.
    Deployment {
        /// The resource's ledger.
        ledger: String,
        /// The entry of the request in the ledger.
        entry: EntryKey,
    },
    /// A person's request. Each is an occasion of its own.
    Manual,
}

/// A request to run a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The id of the new run.
    pub run_id: RunId,
    /// A word that is unique to the invocation.
    pub holder: Holder,
    /// The trigger of the new run.
    pub trigger: Trigger,
    /// The occasion of the new run.
    pub occasion: Occasion,
    /// The task's overlap policy. Only [`Overlap::Allow`] lets a run start beside another one. The pipeline
    /// carries out the other policies after a refusal.
    pub overlap: Overlap,
    /// The claim disables the task, since it runs once. So it is disabled whatever the result of the run.
    pub runs_once: bool,
    /// The time of the request.
    pub now: Timestamp,
    /// The end of the lease: the invocation's deadline and [`SKEW_MARGIN`].
    pub until: Timestamp,
}

/// The decision on a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// The run starts.
    Granted(Grant),
    /// The run does not start, and nothing has changed.
    Refused(Refusal),
}

/// A granted claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The fence with which the run writes.
    pub fence: Fence,
    /// The lost runs: those whose leases have expired. Before the body starts, each lost run's record must be
    /// written, and then its lease revoked. Until the record exists, the lease is the only trace of the run.
    pub lost: Vec<LostRun>,
    /// The run-time settings as JSON text.
    pub settings: Option<String>,
}

/// The right of a run to write for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// The run has the task to itself. It may write while its token is the task's newest.
    Exclusive {
        /// The fencing token: one more than that of the claim before it.
        token: u64,
    },
    /// The run shares the task. It may write while its own lease is there.
    Shared,
}

impl Fence {
    /// Returns the fencing token as it is recorded; 0 for a shared task.
    pub fn token(self) -> u64 {
        match self {
            Self::Exclusive { token } => token,
            Self::Shared => 0,
        }
    }
}

/// A run that started and whose end is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LostRun {
    /// Its lease.
    pub lease: Lease,
    /// The fence with which it could write.
    pub fence: Fence,
}

/// The reason why a run does not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// The task is disabled.
    Disabled,
    /// Another run holds the lease.
    PreviousInstanceRunning {
        /// The run that holds the lease.
        run_id: RunId,
        /// The time at which the lease expires.
        until: Timestamp,
    },
    /// This run has already started, by another delivery of the same request.
    AlreadyRunning {
        /// The run.
        run_id: RunId,
    },
    /// The tick or deployment, or a later one, has had its run.
    AlreadyRan {
        /// The tick or deployment.
        #[serde(flatten)]
        occasion: PastOccasion,
    },
    /// The task's schedule function declined.
    NotDue,
}

impl Refusal {
    /// Returns the reason for the record of the refused run.
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

/// An occasion that already had a run. In JSON, `occasion` describes it in words. A further field has its
/// value, if it is known: `scheduled_for`, `entry` or `run_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OccasionFields", into = "OccasionFields")]
pub enum PastOccasion {
    /// A tick.
    Tick(Timestamp),
    /// A deployment request.
    Deployment(EntryKey),
    /// A run whose id was fixed by the sender.
    Run(RunId),
    /// An occasion of which only the description is known.
    Other(String),
}

impl PastOccasion {
    fn reason(&self) -> Reason {
        match self {
            Self::Tick(tick) => Reason::TickRan { scheduled_for: *tick },
            Self::Deployment(entry) => Reason::DeploymentRan { entry: entry.to_string() },
            Self::Run(run_id) => Reason::AlreadyOver { run_id: *run_id },
            Self::Other(words) => {
                Reason::Other { text: format!("already_ran: {words} has already had its run") }
            }
        }
    }
}

/// The JSON form of a [`PastOccasion`].
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

/// Decides on a request in the state that the table had when the request arrived.
///
/// A run is refused in three cases:
/// - The task is disabled.
/// - Another run's lease is live, unless overlaps are allowed.
/// - The occasion, or a newer one of the same kind, has had a run.
///
/// If a lease already names the request's holder, the claim is granted again: an earlier attempt of the same
/// write succeeded, and its response was lost. An expired lease does not refuse a run, but the lost run must be
/// ended before the claim is written: see [`Grant::lost`].
///
/// A changed overlap policy applies to runs that start after the change. An exclusive run and runs that share
/// the task do not exclude each other.
pub fn claim(state: &TaskState, request: &Request) -> Decision {
    match request.overlap {
        Overlap::Allow => {
            if let Some(lease) = state.shared.iter().find(|lease| lease.run_id == request.run_id) {
                return if lease.holder == request.holder {
                    state.granted(Fence::Shared, Vec::new())
                } else {
                    Decision::Refused(Refusal::AlreadyRunning { run_id: lease.run_id })
                };
            }
        }
        Overlap::Skip | Overlap::Buffer | Overlap::Replace => {
            if let Some(lease) = &state.lease {
                if lease.holder == request.holder {
                    return state.granted(Fence::Exclusive { token: state.fencing_token }, Vec::new());
                }
                if lease.until >= request.now {
                    // Another delivery of the same tick is the same run, even if its run id differs.
                    let is_the_same = lease.run_id == request.run_id
                        || matches!(request.occasion, Occasion::Tick(tick) if lease.scheduled_for == Some(tick));
                    return Decision::Refused(if is_the_same {
                        Refusal::AlreadyRunning { run_id: lease.run_id }
                    } else if state.disabled {
                        // The task refuses every run, even after the run in progress has ended.
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
        Occasion::Manual => None,
    };
    match had_its_run {
        Some(occasion) => Decision::Refused(Refusal::AlreadyRan { occasion }),
        None => state.granted(state.next_fence(request.overlap), state.lost(request.now)),
    }
}

impl TaskState {
    fn granted(&self, fence: Fence, lost: Vec<LostRun>) -> Decision {
        Decision::Granted(Grant { fence, lost, settings: self.settings.clone() })
    }

    /// Returns the fence that the next claim gets.
    pub fn next_fence(&self, overlap: Overlap) -> Fence {
        match overlap {
            Overlap::Allow => Fence::Shared,
            Overlap::Skip | Overlap::Buffer | Overlap::Replace => {
                Fence::Exclusive { token: self.fencing_token + 1 }
            }
        }
    }

    /// Returns the state after `request` was granted with `fence`.
    #[must_use]
    pub fn claimed(mut self, request: &Request, fence: Fence) -> Self {
        let lease = request.lease();
        match fence {
            Fence::Exclusive { token } => {
                self.fencing_token = token;
                self.lease = Some(lease);
            }
            Fence::Shared => {
                self.shared.push(lease);
                self.shared.sort_by_key(|lease| lease.run_id);
            }
        }
        match &request.occasion {
            Occasion::Tick(tick) => self.last_tick = Some(*tick),
            Occasion::Deployment { ledger, entry } => {
                self.last_deployments.insert(ledger.clone(), entry.clone());
            }
            Occasion::Manual => {}
        }
        self.disabled |= request.runs_once;
        self
    }

    /// Returns the state after `run` is over. If the run no longer holds its lease, nothing changes.
    #[must_use]
    pub fn released(mut self, run_id: RunId, fence: Fence, status: Status) -> Self {
        match fence {
            Fence::Exclusive { token } => {
                if token != self.fencing_token
                    || self.lease.as_ref().is_none_or(|lease| lease.run_id != run_id)
                {
                    return self;
                }
                self.lease = None;
            }
            Fence::Shared => {
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

    /// Returns the runs whose leases have expired and whose end is not recorded.
    pub fn lost(&self, now: Timestamp) -> Vec<LostRun> {
        self.held().filter(|lost| lost.lease.until < now).collect()
    }

    /// Returns every run that holds a lease, expired or not, with the fence that is needed to end it as lost.
    pub fn held(&self) -> impl Iterator<Item = LostRun> {
        let exclusive =
            self.lease.iter().map(|lease| (lease, Fence::Exclusive { token: self.fencing_token }));
        let shared = self.shared.iter().map(|lease| (lease, Fence::Shared));
        exclusive.chain(shared).map(|(lease, fence)| LostRun { lease: lease.clone(), fence })
    }

    /// Returns every lease of the task, expired or not.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.lease.iter().chain(&self.shared)
    }
}

impl Request {
    /// Returns the lease that the request would get.
    pub fn lease(&self) -> Lease {
        Lease {
            run_id: self.run_id,
            holder: self.holder.clone(),
            until: self.until,
            started_at: self.now,
            trigger: self.trigger,
            scheduled_for: match self.occasion {
                Occasion::Tick(tick) => Some(tick),
                Occasion::Deployment { .. } | Occasion::Manual => None,
            },
            cancelled: false,
        }
    }
}

impl LostRun {
    /// Returns the record of the lost run, as it is written at `now`.
    pub fn run(&self, task: &TaskName, now: Timestamp) -> Run {
        let run = Run {
            status: Status::Failed,
            completed_at: now,
            scheduled_for: self.lease.scheduled_for,
            fencing_token: self.fence.token(),
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
            Decision::Granted(grant) => state.claimed(request, grant.fence),
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
    fn a_refusal_survives_its_json_and_an_older_one_without_fields_is_read() {
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
        assert_eq!(old.to_string(), format!("already_ran: {words} has already had its run"));
    }

    #[test]
    fn a_live_lease_refuses_other_claims_and_names_its_run() {
        let first = request(1, 100, Occasion::Manual);
        let state = granted(TaskState::default(), &first);
        assert_eq!(
            refusal(&state, &request(2, 110, Occasion::Manual)),
            Refusal::PreviousInstanceRunning { run_id: first.run_id, until: first.until }
        );
    }

    #[test]
    fn an_expired_lease_is_taken_over_and_its_run_is_lost() {
        let first = request(1, 100, Occasion::Manual);
        let state = granted(TaskState::default(), &first);
        let Decision::Granted(grant) = claim(&state, &request(2, 111, Occasion::Manual)) else {
            panic!("refused")
        };
        assert_eq!((grant.fence, grant.lost[0].lease.run_id), (Fence::Exclusive { token: 2 }, first.run_id));
    }

    #[test]
    fn a_lost_response_is_distinguished_from_another_delivery() {
        let first = request(1, 100, Occasion::Manual);
        let state = granted(TaskState::default(), &first);
        assert_eq!(
            claim(&state, &first),
            Decision::Granted(Grant {
                fence: Fence::Exclusive { token: 1 },
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
    fn c05_a_disabled_task_refuses_every_claim() {
        let state = TaskState { disabled: true, ..TaskState::default() };
        assert_eq!(refusal(&state, &request(1, 1, Occasion::Manual)), Refusal::Disabled);
    }

    #[test]
    fn c23_a_run_once_task_is_disabled_by_its_claim() {
        for overlap in [Overlap::Skip, Overlap::Allow, Overlap::Replace] {
            let once = |run, now, tick| Request {
                runs_once: true,
                overlap,
                ..request(run, now, Occasion::Tick(at(tick)))
            };
            let first = once(1, 100, 90);
            let state = granted(TaskState::default(), &first);
            // A later tick is refused, both while the first run's lease is live and after it has expired.
            assert_eq!(refusal(&state, &once(2, 101, 150)), Refusal::Disabled, "{overlap:?}");
            assert_eq!(refusal(&state, &once(2, 200, 150)), Refusal::Disabled, "{overlap:?}");
            // Another delivery of its tick is refused as the same run, and its own repeated write is granted.
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
        /// Invariants 1 and 2: for any requests in any order, live leases never overlap, and no tick is
        /// granted twice.
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
                    // The request's own earlier write: nothing is written again.
                    if state.lease.as_ref().is_some_and(|lease| lease.holder == request.holder) {
                        continue;
                    }
                    prop_assert_eq!(grant.fence, Fence::Exclusive { token: state.fencing_token + 1 });
                    prop_assert!(!ticks.contains(&tick));
                    ticks.push(tick);
                    prop_assert!(held_until < now);
                    state = state.claimed(&request, grant.fence);
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
