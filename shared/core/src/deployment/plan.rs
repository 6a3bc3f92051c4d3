//! The plan of a request of CloudFormation, and the steps of a deployment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Answered, Course, Deployment, Entry, EntryKey, Latest, Ledger, OrderError, Ordered, Properties,
    StackPhase, TaskEntry, Undone, Verdict, waves,
};
use crate::{
    claim::SKEW_MARGIN,
    definition::{OncePer, RunOn},
    id::RunId,
    name::TaskName,
    status::Status,
};

/// The change of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The resource is new.
    Create,
    /// The properties change, or change back.
    Update,
}

/// A request to deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The change of the resource.
    pub change: Change,
    /// The request id, the same in every delivery.
    pub request_id: String,
    /// The resource's ledger.
    pub ledger: String,
    /// The version to deploy.
    pub version: String,
    /// The version before, according to the event.
    pub old_version: Option<String>,
    /// The properties to deploy, or to return to.
    pub properties: Properties,
    /// The properties before, according to the event.
    pub old_properties: Option<Properties>,
    /// The time at which CloudFormation sent it, if the event has it.
    pub sent_at: Option<Timestamp>,
    /// The tasks of the resource.
    pub tasks: Vec<PlannedTask>,
}

/// A task in the properties of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTask {
    /// The name.
    pub name: TaskName,
    /// The Lambda function that runs it.
    pub function: String,
    /// The changes that start it.
    pub run_on: BTreeSet<RunOn>,
    /// The tasks that it depends on.
    pub depends_on: Vec<TaskName>,
    /// The change that makes it run again.
    pub once_per: OncePer,
    /// The task has a `rollback` function.
    pub rollback: bool,
    /// The time limit of its run.
    pub timeout: Duration,
}

impl Ordered for PlannedTask {
    fn name(&self) -> &TaskName {
        &self.name
    }

    fn depends_on(&self) -> &[TaskName] {
        &self.depends_on
    }
}

/// The plan for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Plan {
    /// The request was answered before. Send the same answer and run nothing.
    Replay {
        /// The request's entry.
        entry: Entry,
        /// The answer.
        answer: Answered,
    },
    /// The request was begun and not answered. Continue with its entry.
    Resume(Entry),
    /// The request has an entry, and the ledger has a newer one. Start no further task of the request.
    Superseded {
        /// The request's entry.
        entry: Entry,
        /// The newer request.
        by: String,
    },
    /// The request is new. Write this entry, and then execute its steps.
    Open(Entry),
    /// The request is new, and the stack no longer waits for it. Run nothing and leave the ledger as it is.
    Decline(Verdict),
}

/// The situation of a new request, besides its event and its ledger.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The course, from [`resolve`](super::resolve).
    pub course: Course,
    /// The stack's status; none if it is unknown.
    pub phase: Option<StackPhase>,
    /// The content of the tasks that run once per content, if known.
    pub contents: &'a BTreeMap<TaskName, String>,
    /// The time at which the request must be answered.
    pub last_call: Timestamp,
    /// The time at which the stack last began to go forward, if its events were read.
    pub went_forward: Option<Timestamp>,
    /// The events show a rollback since the newest entry was opened.
    pub rolled_back: bool,
}

/// Plans a request.
///
/// - A request that the ledger knows is replayed, resumed or superseded, and never planned again.
/// - A request for which the stack no longer waits is declined: a deployment as a failure, and a rollback as
///   a success, so that the stack can continue.
/// - A rollback runs no forward task. It runs the `rollback` of each task that completed in the newest
///   deployment, last first. If the newest deployment succeeded and the rollback returns to its properties,
///   nothing is undone. If the newest entry is itself a rollback, the new one continues with the tasks that are
///   not undone yet.
/// - Otherwise Create runs the tasks with `run_on` deploy, and Update those with update. A task that runs
///   once per content is left out if its content is that of the last success.
///
/// `random` gives the low bits of each run's id.
pub fn plan(
    request: &Request,
    ledger: &Ledger,
    situation: &Situation<'_>,
    now: Timestamp,
    random: impl FnMut() -> u128,
) -> Result<Plan, OrderError> {
    if let Some(own) = &ledger.own {
        return Ok(match (&own.answer, &ledger.latest) {
            (Some(answer), _) => Plan::Replay { entry: own.clone(), answer: answer.clone() },
            (None, Some(latest)) if latest.entry != own.key => {
                Plan::Superseded { entry: own.clone(), by: latest.entry.request_id().to_owned() }
            }
            (None, _) => Plan::Resume(own.clone()),
        });
    }
    if let Some(why) = unwanted(request, ledger, situation, now) {
        return Ok(Plan::Decline(Verdict {
            success: situation.course == Course::Rollback,
            ..Verdict::failed(format!("nothing was run: {why}"))
        }));
    }
    let successful = ledger.latest.as_ref().and_then(|latest| latest.successful.clone());
    // The key has the time at which the request was sent, and not the time of its opening, since it is compared
    // with the times at which later requests are sent.
    let sent_at = request.sent_at.unwrap_or(now);
    let mut entry = Entry {
        key: EntryKey::following(
            ledger.latest.as_ref().map(|latest| &latest.entry),
            sent_at,
            &request.request_id,
        ),
        course: situation.course,
        started_at: now,
        deployment: Deployment {
            ledger: request.ledger.clone(),
            entry: EntryKey::new(sent_at, &request.request_id),
            version: request.version.clone(),
            previous_version: None,
            is_first_deploy: false,
            rolled_back_version: None,
        },
        previous: successful,
        properties: Some(request.properties.clone()),
        undoes: None,
        tasks: Vec::new(),
        kept: Vec::new(),
        answer: None,
    };
    match situation.course {
        Course::Deploy => entry.forward(request, RunOn::Deploy, ledger, situation)?,
        Course::Update => entry.forward(request, RunOn::Update, ledger, situation)?,
        Course::Rollback => entry.back(request, ledger),
    }
    entry.deployment.entry = entry.key.clone();
    entry.deployment.previous_version = entry.previous.as_ref().map(|previous| previous.version.clone());
    entry.deployment.is_first_deploy = entry.previous.is_none();
    entry.give_run_ids(now, random);
    Ok(Plan::Open(entry))
}

/// Returns whether the newest success may have been undone by a rollback without an entry. The stack's events
/// then decide.
pub fn may_be_undone(request: &Request, ledger: &Ledger) -> bool {
    let newest = ledger.newest.as_ref().filter(|newest| newest.course != Course::Rollback);
    request.change == Change::Update && newest.is_some_and(|newest| newest.may_be_undone(request))
}

/// Returns the reason why the stack does not wait for a new request; none if it waits.
///
/// CloudFormation sends one request for a resource at a time. So a request is no longer awaited if it was sent
/// before the newest entry or before the resource was deleted. A deployment is not awaited either if it was
/// sent before the stack's current update began, or if its last call has passed. A rollback is opened even
/// after its last call, since it changes the properties in effect.
fn unwanted(request: &Request, ledger: &Ledger, situation: &Situation<'_>, now: Timestamp) -> Option<String> {
    let newest =
        ledger.latest.as_ref().map(|latest| latest.entry.time().max(latest.deleted.unwrap_or_default()));
    let sent_before = |time: Timestamp| {
        request.sent_at.is_some_and(|sent| sent.saturating_add(SKEW_MARGIN).is_ok_and(|sent| sent < time))
    };
    let is_rollback = situation.course == Course::Rollback;
    if newest.is_some_and(sent_before) {
        return Some("the request was delivered after a later one of the same resource".to_owned());
    }
    if !is_rollback && situation.went_forward.is_some_and(sent_before) {
        return Some("the request is of an earlier update of the stack".to_owned());
    }
    if !is_rollback && now > situation.last_call {
        return Some("the request was delivered after the resource's ServiceTimeout".to_owned());
    }
    match situation.phase {
        Some(phase) if !phase.waits_for(situation.course) => {
            Some(format!("the stack does not wait for it, since {phase}"))
        }
        None if !is_rollback => Some("CloudFormation does not say whether the stack waits for it".to_owned()),
        _ => None,
    }
}

impl Entry {
    /// Plans a forward deployment: its tasks in order, and the runs of earlier deployments that were not undone.
    fn forward(
        &mut self,
        request: &Request,
        change: RunOn,
        ledger: &Ledger,
        situation: &Situation<'_>,
    ) -> Result<(), OrderError> {
        let deleted = ledger.latest.as_ref().is_some_and(|latest| latest.deleted.is_some());
        let newest = ledger.newest.as_ref().filter(|newest| !deleted && newest.course != Course::Rollback);
        let unseen = newest.filter(|newest| situation.rolled_back && newest.may_be_undone(request));
        if let Some(unseen) = unseen {
            self.previous.clone_from(&unseen.previous);
            self.kept = unseen.left_behind();
        } else if let Some(failed) = newest.filter(|newest| !newest.succeeded()) {
            self.kept = failed.left_behind();
        }
        let before = self.previous.as_ref().map(|previous| &previous.contents);
        self.tasks = forward(request, change, before, situation.contents)?;
        Ok(())
    }

    /// Plans a rollback. Undo runs that an earlier rollback left unfinished keep their run ids.
    fn back(&mut self, request: &Request, ledger: &Ledger) {
        self.deployment.rolled_back_version.clone_from(&request.old_version);
        let Some(newest) = &ledger.newest else { return };
        if newest.course == Course::Rollback {
            let left =
                newest.tasks.iter().filter(|task| !task.status.is_terminal() || task.status.is_failure());
            self.tasks = left.map(TaskEntry::tried_again).collect();
            self.undoes.clone_from(&newest.undoes);
            self.previous.clone_from(&newest.previous);
        } else if is_undone(request, newest) {
            let over = returned_over(request, ledger);
            let earlier = over.iter().flat_map(Entry::left_behind);
            let kept = newest.kept.iter().cloned().chain(earlier).collect();
            self.tasks = backward(&Entry { kept, ..newest.clone() });
            self.undoes = Some(Undone { course: newest.course, deployment: newest.deployment.clone() });
            self.previous.clone_from(&over.last().unwrap_or(newest).previous);
        } else {
            return;
        }
        if let Some(undone) = &self.undoes {
            self.deployment.rolled_back_version = Some(undone.deployment.version.clone());
        }
    }

    fn give_run_ids(&mut self, now: Timestamp, mut random: impl FnMut() -> u128) {
        for task in self.tasks.iter_mut().filter(|task| task.run_id == UNNAMED) {
            task.run_id = RunId::new(now, random());
        }
    }

    /// Returns whether the request's old properties are those from before this success.
    ///
    /// If the stack has rolled back since, that rollback undid the success and has no entry in the ledger: its
    /// event could not be recorded, or a person made CloudFormation skip the resource.
    fn may_be_undone(&self, request: &Request) -> bool {
        let before = self.previous.as_ref().and_then(|previous| previous.properties.as_ref());
        let old = request.old_properties.as_ref();
        self.succeeded() && old.is_some() && old == before && old != self.properties.as_ref()
    }

    /// Returns the runs that a rollback must undo, newest first: those of this deployment, and those that it
    /// has kept from earlier deployments.
    fn left_behind(&self) -> Vec<TaskEntry> {
        self.tasks.iter().filter(|task| task.leaves_work()).chain(&self.kept).cloned().collect()
    }
}

impl TaskEntry {
    /// Returns whether a rollback must consider this forward run: it completed and can be undone, or it is
    /// not over.
    fn leaves_work(&self) -> bool {
        !self.status.is_terminal() || (self.status == Status::Completed && self.rollback)
    }

    /// Returns this undo for a further rollback. An unfinished undo keeps its run id, and a failed one gets a new id.
    fn tried_again(&self) -> Self {
        let run_id = if self.status.is_terminal() { UNNAMED } else { self.run_id };
        Self { run_id, status: Status::Pending, message: None, data: None, ..self.clone() }
    }
}

/// Returns the earlier successful deployments that a rollback undoes together with the newest one; none if the
/// properties before the oldest of them are not those of the request.
fn returned_over<'a>(request: &Request, ledger: &'a Ledger) -> &'a [Entry] {
    let reached = ledger.before.last().and_then(|last| last.previous.as_ref()?.properties.as_ref());
    if reached == Some(&request.properties) { &ledger.before } else { &[] }
}

/// Returns whether a rollback undoes the newest deployment. If the rollback returns to the properties of the
/// newest success, CloudFormation rolls back a deployment that was never opened, and there is nothing to undo.
fn is_undone(request: &Request, newest: &Entry) -> bool {
    if !newest.succeeded() {
        return true;
    }
    if let Some(properties) = &newest.properties {
        return *properties != request.properties;
    }
    // An entry without properties can only be compared by its version.
    let version = &newest.deployment.version;
    *version != request.version && request.old_version.as_ref().is_none_or(|old| old == version)
}

/// A placeholder for a run id that is assigned later.
const UNNAMED: RunId = RunId::NIL;

/// Returns the tasks of a forward deployment in order. Their run ids are assigned later.
fn forward(
    request: &Request,
    change: RunOn,
    before: Option<&BTreeMap<TaskName, String>>,
    contents: &BTreeMap<TaskName, String>,
) -> Result<Vec<TaskEntry>, OrderError> {
    let waves = waves(&request.tasks)?;
    let entry = |(task, wave): (&PlannedTask, usize)| {
        let content = contents.get(&task.name);
        let unchanged = content.is_some() && before.and_then(|before| before.get(&task.name)) == content;
        let skipped = if !task.run_on.contains(&change) {
            Some(format!("does not run on {change}"))
        } else if task.once_per == OncePer::Content && unchanged {
            Some("its code, assets and configuration are unchanged".to_owned())
        } else {
            None
        };
        TaskEntry {
            name: task.name.clone(),
            function: task.function.clone(),
            run_id: UNNAMED,
            wave,
            depends_on: task.depends_on.clone(),
            timeout: task.timeout,
            rollback: task.rollback,
            content: content.cloned(),
            status: if skipped.is_some() { Status::Skipped } else { Status::Pending },
            message: skipped,
            data: None,
            undoes: Vec::new(),
        }
    };
    Ok(request.tasks.iter().zip(waves).map(entry).collect())
}

/// Returns the tasks that undo the runs of `entry`, last first. A run that is not over may still complete, so
/// it is included. Its result is read before anything is undone. A task without a `rollback` is left as it
/// is.
fn backward(entry: &Entry) -> Vec<TaskEntry> {
    let last = entry.tasks.iter().map(|task| task.wave).max().unwrap_or(0);
    let candidate = |task: &&TaskEntry| !task.status.is_terminal() || task.status == Status::Completed;
    let own: Vec<_> = entry.tasks.iter().filter(candidate).collect();
    let earlier_runs = |name: &TaskName| {
        entry.kept.iter().filter(move |kept| kept.name == *name).map(|kept| kept.run_id).collect::<Vec<_>>()
    };
    let undo = |task: &TaskEntry, wave: usize, runs: Vec<RunId>| {
        let nothing = task.status == Status::Completed && !task.rollback;
        TaskEntry {
            run_id: UNNAMED,
            wave,
            depends_on: Vec::new(),
            content: None,
            status: if nothing { Status::Skipped } else { Status::Pending },
            message: nothing.then(|| NO_ROLLBACK.to_owned()),
            data: None,
            undoes: runs,
            ..task.clone()
        }
    };
    let of_own = own.iter().map(|task| {
        let runs = std::iter::once(task.run_id).chain(earlier_runs(&task.name)).collect();
        undo(task, last - task.wave, runs)
    });
    let mut only_earlier: Vec<&TaskEntry> = Vec::new();
    for kept in &entry.kept {
        let is_there = |task: &&TaskEntry| task.name == kept.name;
        if !own.iter().any(is_there) && !only_earlier.iter().any(is_there) {
            only_earlier.push(kept);
        }
    }
    let deepest = only_earlier.iter().map(|kept| kept.wave).max().unwrap_or(0);
    let of_earlier = only_earlier
        .into_iter()
        .map(|kept| undo(kept, last + 1 + deepest - kept.wave, earlier_runs(&kept.name)));
    of_own.chain(of_earlier).collect()
}

/// The reason why a task's work is not undone.
const NO_ROLLBACK: &str = "defines no rollback";

/// Returns the head of a ledger after the request with this id has deleted the resource; none if the deletion
/// was sent before the newest entry, and so belongs to an earlier creation of the resource.
///
/// If the stack rolls back the deployment that created the resource, that deployment no longer counts as a
/// success. In every other case the ledger keeps its last success, so that data is not seeded again when the
/// resource is added again. A deletion is recorded even in an empty ledger. So a Create that was sent before it
/// and arrives late runs nothing.
pub fn after_delete(
    ledger: &Ledger,
    phase: Option<StackPhase>,
    request_id: &str,
    sent_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Latest> {
    let at = sent_at.unwrap_or(now);
    let Some(latest) = &ledger.latest else {
        return Some(Latest { entry: EntryKey::new(at, request_id), successful: None, deleted: Some(at) });
    };
    let later =
        |sent: Timestamp| sent.saturating_add(SKEW_MARGIN).is_ok_and(|sent| sent < latest.entry.time());
    if sent_at.is_some_and(later) {
        return None;
    }
    // If a deletion is already recorded, a later request created the resource, and that request was never opened.
    let created = ledger.newest.as_ref().filter(|newest| {
        newest.course == Course::Deploy && newest.key == latest.entry && latest.deleted.is_none()
    });
    let undone = created.filter(|_| phase.is_some_and(StackPhase::is_rollback));
    let successful = undone.map_or_else(|| latest.successful.clone(), |newest| newest.previous.clone());
    Some(Latest { successful, deleted: latest.deleted.max(Some(at)), ..latest.clone() })
}

#[cfg(test)]
mod tests;
