//! Answers why a task ran at a time, or why it did not: from its definition, its state, and the records around that time.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    claim::TaskState,
    definition::{Cron, Definition, Kind},
    id::RunId,
    pulse::schedule_word,
    reason::{self, Reason},
    run::Run,
    status::Status,
};

/// The delay up to which a tick's run counts as on time. The precision of EventBridge and the pulse is a minute, and a cold
/// start takes seconds.
pub const IN_TIME: Duration = Duration::from_secs(150);

/// A question about a time, and the facts for its answer.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The task.
    pub definition: &'a Definition,
    /// The task's state in the table.
    pub state: &'a TaskState,
    /// The time asked about.
    pub at: Timestamp,
    /// The task's ticks around that time.
    pub ticks: Around,
    /// The records of the runs that were triggered at that time or later.
    pub runs: &'a [Run],
    /// The time at which a pulse recorded the tick as missed; none if no pulse did.
    pub noted_at: Option<Timestamp>,
    /// The task has a record from before that time, so it existed then.
    pub existed: bool,
    /// The time of the question.
    pub now: Timestamp,
}

/// The ticks around a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Around {
    /// True if the time itself is a tick.
    pub exact: bool,
    /// The last one before it.
    pub before: Option<Timestamp>,
    /// The first one after it.
    pub after: Option<Timestamp>,
}

/// The answer: why the task ran, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It ran.
    Ran {
        /// The run.
        run_id: RunId,
        /// The status in which it ended.
        status: Status,
        /// The reason, if it did not complete.
        #[serde(flatten, serialize_with = "reason::beside")]
        reason: Option<Reason>,
    },
    /// It ran, but later than [`IN_TIME`]: it was caught up.
    CaughtUp {
        /// The run.
        run_id: RunId,
        /// The status in which it ended.
        status: Status,
        /// The delay, in milliseconds.
        late_ms: u64,
    },
    /// It is running.
    Running {
        /// The run.
        run_id: RunId,
        /// The time of its start.
        since: Timestamp,
    },
    /// It started but never reported its end.
    Lost {
        /// The run.
        run_id: RunId,
        /// The reason in its record.
        #[serde(flatten, serialize_with = "reason::beside")]
        reason: Reason,
    },
    /// It was disabled, or is now.
    Disabled {
        /// The record of the trigger, if it arrived.
        run_id: Option<RunId>,
    },
    /// A task that it depends on had not completed.
    Blocked {
        /// The record of it.
        run_id: RunId,
        /// Its reason.
        #[serde(flatten, serialize_with = "reason::beside")]
        reason: Reason,
    },
    /// Another run was in progress.
    Skipped {
        /// The record of it.
        run_id: RunId,
        /// The run that was in progress, where the record names it.
        by: Option<RunId>,
        /// The reason in the record.
        #[serde(flatten, serialize_with = "reason::beside")]
        reason: Reason,
    },
    /// No trigger arrived.
    Missed {
        /// The time at which a pulse run recorded the miss.
        noted_at: Option<Timestamp>,
        /// The run of the first later tick that had one. Under the catch-up policy `last` it replaces the missed run.
        instead: Option<RunId>,
    },
    /// The task, its table or its schedule did not exist yet.
    NotThereYet {
        /// The time at which its schedule was first seen; nothing if no pulse and no runner has seen it.
        since: Option<Timestamp>,
        /// The task had another schedule at that time.
        is_changed: bool,
    },
    /// Its schedule function returned false, or was not called.
    NotAsked,
    /// The time has just come, and its trigger may still arrive.
    Waiting,
    /// The time is in the future.
    Future {
        /// The task is disabled at present.
        disabled: bool,
    },
    /// It is not due at that time.
    NotDue {
        /// The last tick before it.
        before: Option<Timestamp>,
        /// The first tick after it.
        after: Option<Timestamp>,
    },
    /// It has no schedule: deployments, jobs or the runner start it.
    Unscheduled,
    /// The time is older than the retention of records.
    Forgotten,
}

/// Answers why the task ran at the time asked about, or why it did not.
pub fn why(question: &Question<'_>) -> Answer {
    let Question { definition, state, at, ticks, runs, now, .. } = *question;
    let Kind::Cron(cron) = &definition.kind else { return Answer::Unscheduled };
    // Records of that time override the schedule, which may have been another one then.
    let recorded: Vec<_> = runs.iter().filter(|run| run.scheduled_for == Some(at)).collect();
    let began = |run: &&&Run| !matches!(run.status, Status::Skipped | Status::Blocked);
    if let Some(lease) = state.leases().find(|lease| lease.scheduled_for == Some(at)) {
        return Answer::Running { run_id: lease.run_id, since: lease.started_at };
    }
    if let Some(run) = recorded.iter().find(began) {
        return of_run(run, at);
    }
    if let Some(run) = recorded.iter().find(|run| run.status == Status::Blocked).or(recorded.first()) {
        return kept_out(run);
    }
    if !ticks.exact {
        return Answer::NotDue { before: ticks.before, after: ticks.after };
    }
    if at > now {
        return Answer::Future { disabled: state.disabled };
    }
    if let Some(answer) = not_there_yet(question, cron) {
        return answer;
    }
    if state.disabled {
        return Answer::Disabled { run_id: None };
    }
    let put_off = crate::schedule::put_off(cron, &definition.name);
    let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    if age < IN_TIME + put_off && question.noted_at.is_none() {
        return Answer::Waiting;
    }
    if state.known.is_none() && !question.existed && question.noted_at.is_none() {
        return Answer::NotThereYet { since: None, is_changed: false };
    }
    if age > definition.retention {
        return Answer::Forgotten;
    }
    if cron.schedule.is_none() {
        return Answer::NotAsked;
    }
    let later = runs.iter().filter(|run| began(&run) && run.scheduled_for > Some(at));
    let instead = later.min_by_key(|run| run.scheduled_for).map(|run| run.id);
    Answer::Missed { noted_at: question.noted_at, instead }
}

/// Returns the answer for a tick from before the task's schedule was first seen. A task with earlier records existed before its
/// schedule was first seen, unless the schedule is known to have changed.
fn not_there_yet(question: &Question<'_>, cron: &Cron) -> Option<Answer> {
    let Question { state, at, existed, .. } = *question;
    let known = state.known.as_ref().filter(|_| question.noted_at.is_none())?;
    if known.schedule != schedule_word(cron) {
        // Neither a pulse nor a runner has seen the schedule that it has now.
        return Some(Answer::NotThereYet { since: None, is_changed: true });
    }
    let is_changed = known.is_changed;
    let is_before = at < known.since && (is_changed || !existed);
    is_before.then_some(Answer::NotThereYet { since: Some(known.since), is_changed })
}

fn of_run(run: &Run, at: Timestamp) -> Answer {
    let (run_id, status) = (run.id, run.status);
    if let Some(reason) = run.why.as_ref().filter(|reason| reason.is_loss()) {
        return Answer::Lost { run_id, reason: reason.clone() };
    }
    let late = Duration::try_from(run.started_at.duration_since(at)).unwrap_or_default();
    if late > IN_TIME {
        return Answer::CaughtUp { run_id, status, late_ms: crate::duration::millis(late) };
    }
    Answer::Ran { run_id, status, reason: run.typed_reason().filter(|_| status != Status::Completed) }
}

/// Returns the answer for a record whose body did not run.
fn kept_out(run: &Run) -> Answer {
    let run_id = run.id;
    let reason = run.typed_reason().unwrap_or_else(|| Reason::Other { text: String::new() });
    match (run.status, &reason) {
        (Status::Blocked, _) => Answer::Blocked { run_id, reason },
        (_, Reason::Disabled) => Answer::Disabled { run_id: Some(run_id) },
        _ => Answer::Skipped { run_id, by: reason.kept_out_by(), reason },
    }
}

impl Answer {
    /// Returns the status that is closest to the answer, for its sign and colour.
    pub fn status(&self) -> Status {
        match self {
            Self::Ran { status, .. } | Self::CaughtUp { status, .. } => *status,
            Self::Running { .. } => Status::Running,
            Self::Lost { .. } | Self::Missed { .. } => Status::Failed,
            Self::Blocked { .. } => Status::Blocked,
            Self::Waiting | Self::Future { .. } => Status::Pending,
            Self::Disabled { .. }
            | Self::Skipped { .. }
            | Self::NotThereYet { .. }
            | Self::NotAsked
            | Self::NotDue { .. }
            | Self::Unscheduled
            | Self::Forgotten => Status::Skipped,
        }
    }

    /// The run or the record that the answer is of.
    pub fn run_id(&self) -> Option<RunId> {
        match self {
            Self::Ran { run_id, .. }
            | Self::CaughtUp { run_id, .. }
            | Self::Running { run_id, .. }
            | Self::Lost { run_id, .. }
            | Self::Blocked { run_id, .. }
            | Self::Skipped { run_id, .. } => Some(*run_id),
            Self::Disabled { run_id } => *run_id,
            Self::Missed { instead, .. } => *instead,
            Self::NotThereYet { .. }
            | Self::NotAsked
            | Self::Waiting
            | Self::Future { .. }
            | Self::NotDue { .. }
            | Self::Unscheduled
            | Self::Forgotten => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claim::{KnownSchedule, Lease, Refusal, TaskState},
        definition::{Cron, Lifecycle},
        holder::Holder,
        run::{Attempt, ErrorKind, RunError, Trigger},
    };

    const TICK: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(TICK + second).unwrap()
    }

    fn id(number: u128) -> RunId {
        RunId::new(at(0), number)
    }

    fn definition() -> Definition {
        let schedule = "0 6 * * *".parse().unwrap();
        Definition::new("purge-expired".parse().unwrap(), Kind::Cron(Cron::new(Some(schedule))))
    }

    /// A run for the tick, which began so many seconds after it.
    fn run(number: u128, after: i64, status: Status) -> Run {
        let ran = !matches!(status, Status::Skipped | Status::Blocked);
        let attempt = Attempt { started_at: at(after), duration_ms: 10, error: None };
        Run {
            status,
            scheduled_for: Some(at(0)),
            attempts: if ran { vec![attempt] } else { Vec::new() },
            ..Run::begun(id(number), "purge-expired".parse().unwrap(), Trigger::Schedule, at(after))
        }
    }

    fn skipped(number: u128, refusal: &Refusal) -> Run {
        run(number, 1, Status::Skipped).because(refusal.reason())
    }

    fn other(text: &str) -> Reason {
        Reason::Other { text: text.to_owned() }
    }

    fn ask(runs: &[Run], change: impl FnOnce(&mut Question<'_>)) -> Answer {
        let (definition, state) = (definition(), TaskState::default());
        let mut question = Question {
            definition: &definition,
            state: &state,
            at: at(0),
            ticks: Around { exact: true, before: Some(at(-86_400)), after: Some(at(86_400)) },
            runs,
            noted_at: None,
            existed: true,
            now: at(3600),
        };
        change(&mut question);
        why(&question)
    }

    #[test]
    fn k05_why_a_tick_had_its_run() {
        let completed = [run(1, 2, Status::Completed)];
        let ran = Answer::Ran { run_id: id(1), status: Status::Completed, reason: None };
        assert_eq!(ask(&completed, |_| ()), ran);
        // Another delivery of the same tick was refused.
        let crowd = [skipped(2, &Refusal::AlreadyRunning { run_id: id(1) }), run(1, 2, Status::Completed)];
        assert_eq!(ask(&crowd, |_| ()), ran);
        assert_eq!(ask(&completed, |q| q.ticks.exact = false), ran, "the schedule has changed since");
        let late = [run(1, 600, Status::Completed)];
        let caught_up = Answer::CaughtUp { run_id: id(1), status: Status::Completed, late_ms: 600_000 };
        assert_eq!(ask(&late, |_| ()), caught_up);
        let error = |message: &str| Some(RunError::new(ErrorKind::System, message));
        let failed = [Run { error: error("no table"), ..run(1, 2, Status::Failed) }];
        let reason = Some(other("no table"));
        assert_eq!(ask(&failed, |_| ()), Answer::Ran { run_id: id(1), status: Status::Failed, reason });
        for reason in [Reason::Lost { until: at(900) }, Reason::HostEnded] {
            let run = Run { attempts: Vec::new(), ..run(1, 2, Status::Failed) };
            let lost = Answer::Lost { run_id: id(1), reason: reason.clone() };
            assert_eq!(ask(&[run.because(reason)], |_| ()), lost);
        }
    }

    #[test]
    fn k05_why_a_tick_is_running() {
        let lease = Lease {
            run_id: id(3),
            holder: Holder::default(),
            until: at(900),
            started_at: at(2),
            trigger: Trigger::Schedule,
            scheduled_for: Some(at(0)),
            cancelled: false,
        };
        let alone = TaskState { lease: Some(lease.clone()), ..TaskState::default() };
        let beside = TaskState { shared: vec![lease], ..TaskState::default() };
        for state in [alone, beside] {
            let definition = definition();
            let question = Question {
                definition: &definition,
                state: &state,
                at: at(0),
                ticks: Around { exact: true, ..Around::default() },
                runs: &[],
                noted_at: None,
                existed: true,
                now: at(60),
            };
            assert_eq!(why(&question), Answer::Running { run_id: id(3), since: at(2) });
        }
    }

    #[test]
    fn k05_why_a_tick_was_refused() {
        let refusal = Refusal::PreviousInstanceRunning { run_id: id(9), until: at(60) };
        let runs = [skipped(1, &refusal)];
        assert!(matches!(
            ask(&runs, |_| ()),
            Answer::Skipped { run_id, by: Some(by), .. } if (run_id, by) == (id(1), id(9))
        ));
        let runs = [skipped(1, &Refusal::Disabled)];
        assert_eq!(ask(&runs, |_| ()), Answer::Disabled { run_id: Some(id(1)) });
        let reason = Reason::NeverRan { task: "run-migrations".parse().unwrap() };
        let runs = [run(1, 1, Status::Blocked).because(reason.clone())];
        assert_eq!(ask(&runs, |_| ()), Answer::Blocked { run_id: id(1), reason });
    }

    #[test]
    fn k05_the_sentence_of_an_older_record_is_shown_and_not_parsed() {
        let old = |reason: Reason, status| Run { why: None, ..run(1, 1, status).because(reason) };
        for reason in [Reason::Disabled, Reason::Held { run_id: id(9), until: at(60) }] {
            let expected = Answer::Skipped { run_id: id(1), by: None, reason: other(&reason.to_string()) };
            assert_eq!(ask(&[old(reason, Status::Skipped)], |_| ()), expected);
        }
        let reason = Reason::NeverRan { task: "run-migrations".parse().unwrap() };
        let expected = Answer::Blocked { run_id: id(1), reason: other(&reason.to_string()) };
        assert_eq!(ask(&[old(reason, Status::Blocked)], |_| ()), expected);
        let reason = Reason::Lost { until: at(900) };
        let sentence = Some(other(&reason.to_string()));
        let expected = Answer::Ran { run_id: id(1), status: Status::Failed, reason: sentence };
        assert_eq!(ask(&[old(reason, Status::Failed)], |_| ()), expected);
    }

    #[test]
    fn k05_an_answer_has_the_sentence_and_the_fields() {
        let runs = [skipped(1, &Refusal::PreviousInstanceRunning { run_id: id(9), until: at(60) })];
        let json = serde_json::to_value(ask(&runs, |_| ())).unwrap();
        let (holder, until) = (id(9).to_string(), at(60).to_string());
        let expected = serde_json::json!({
            "answer": "skipped",
            "run_id": id(1),
            "by": holder,
            "reason": format!("previous_instance_running: {holder} holds the task until {until}"),
            "why": { "kind": "held", "run_id": holder, "until": until },
        });
        assert_eq!(json, expected);
        let json = serde_json::to_value(ask(&[run(1, 2, Status::Completed)], |_| ())).unwrap();
        let expected = serde_json::json!({
            "answer": "ran", "run_id": id(1), "status": "COMPLETED", "reason": null, "why": null
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn k05_why_a_tick_has_no_run() {
        assert_eq!(ask(&[], |_| ()), Answer::Missed { noted_at: None, instead: None });
        let noted_at = Some(at(180));
        assert_eq!(ask(&[], |q| q.noted_at = noted_at), Answer::Missed { noted_at, instead: None });
        let next = [Run { scheduled_for: Some(at(86_400)), ..run(4, 86_401, Status::Completed) }];
        assert_eq!(ask(&next, |_| ()), Answer::Missed { noted_at: None, instead: Some(id(4)) });
        let disabled = TaskState { disabled: true, ..TaskState::default() };
        let definition = definition();
        let question = Question {
            definition: &definition,
            state: &disabled,
            at: at(0),
            ticks: Around { exact: true, ..Around::default() },
            runs: &[],
            noted_at: None,
            existed: true,
            now: at(3600),
        };
        assert_eq!(why(&question), Answer::Disabled { run_id: None });
        assert_eq!(why(&Question { now: at(-60), ..question }), Answer::Future { disabled: true });
        assert_eq!(ask(&[], |q| q.now = at(100)), Answer::Waiting);
        assert_eq!(ask(&[], |q| q.now = at(-1)), Answer::Future { disabled: false });
        assert_eq!(ask(&[], |q| q.now = at(31 * 86_400)), Answer::Forgotten);
        let (before, after) = (Some(at(-60)), Some(at(60)));
        assert_eq!(
            ask(&[], |q| q.ticks = Around { exact: false, before, after }),
            Answer::NotDue { before, after }
        );
    }

    #[test]
    fn o08_a_tick_from_before_the_schedule_was_known_is_not_missed() {
        let known = |schedule: &str, since, is_changed| {
            let known = KnownSchedule { schedule: format!("{schedule} UTC"), since: at(since), is_changed };
            TaskState { known: Some(known), ..TaskState::default() }
        };
        let now = "0 6 * * *";
        let missed = Answer::Missed { noted_at: None, instead: None };
        let not_yet =
            |since: Option<i64>, is_changed| Answer::NotThereYet { since: since.map(at), is_changed };
        for (what, state, existed, answer) in [
            ("never seen", TaskState::default(), false, not_yet(None, false)),
            ("never seen, with earlier records", TaskState::default(), true, missed.clone()),
            ("first seen after the tick", known(now, 1, false), false, not_yet(Some(1), false)),
            ("first seen after the tick, with earlier records", known(now, 1, false), true, missed.clone()),
            ("first seen at the tick", known(now, 0, false), false, missed.clone()),
            ("changed after the tick", known(now, 1, true), true, not_yet(Some(1), true)),
            ("changed before the tick", known(now, -1, true), true, missed.clone()),
            (
                "changed, and the new schedule was never seen",
                known("0 5 * * *", -99, false),
                true,
                not_yet(None, true),
            ),
        ] {
            let found = ask(&[], |question| {
                (question.state, question.existed) = (Box::leak(Box::new(state)), existed);
            });
            assert_eq!(found, answer, "{what}");
        }
        // A miss that a pulse recorded, or the record of a run, overrides the time at which the schedule was
        // first seen.
        let state = known(now, 1, false);
        let noted = ask(&[], |q| {
            (q.state, q.existed, q.noted_at) = (Box::leak(Box::new(state.clone())), false, Some(at(180)));
        });
        assert_eq!(noted, Answer::Missed { noted_at: Some(at(180)), instead: None });
        let ran = [run(1, 2, Status::Completed)];
        let ran = ask(&ran, |q| (q.state, q.existed) = (Box::leak(Box::new(state.clone())), false));
        assert_eq!(ran, Answer::Ran { run_id: id(1), status: Status::Completed, reason: None });
    }

    #[test]
    fn k05_why_without_a_schedule() {
        let state = TaskState::default();
        let name = || "x".parse().unwrap();
        let ask = |definition: &Definition| {
            why(&Question {
                definition,
                state: &state,
                at: at(0),
                ticks: Around { exact: true, ..Around::default() },
                runs: &[],
                noted_at: None,
                existed: true,
                now: at(3600),
            })
        };
        let by_function = Definition::new(name(), Kind::Cron(Cron::new(None)));
        assert_eq!(ask(&by_function), Answer::NotAsked);
        let lifecycle = Definition::new(name(), Kind::Lifecycle(Lifecycle::default()));
        assert_eq!(ask(&lifecycle), Answer::Unscheduled);
    }
}
