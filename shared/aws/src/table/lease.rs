//! The lease of a task: claim, finish, release. Each is one conditional write.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        put_item::PutItemError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Decision, Grant, Hold, LastRun, Lease, Lost, Occasion, Request, TaskState, claim},
    definition::Overlap,
    deployment::{Deployment, EntryKey},
    id::RunId,
    name::TaskName,
    run::Run,
    status::Status,
};
use serde_json::Value;

use super::{
    Table, TableError,
    item::{Item, n, s, to_json},
    schema::{TASK, task_pk},
};

/// Before a ledger's name: the attribute that holds its newest deployment which started a run of the task.
const DEPLOYED: &str = "deployed#";

/// Before a run's id: the attribute that holds its lease, if others may begin beside it.
const SHARED: &str = "lease#";

/// Takes a run's hold off its task.
const RELEASE: &str = "REMOVE run_id, holder, lease_until, started_at, #trigger, scheduled_for, cancelled";
/// Whether a run that shares its task still has its hold.
pub(super) const SHARED_HELD: &str = "attribute_exists(#lease)";
/// Whether a run still has its hold.
pub(super) const HELD: &str = "epoch = :epoch AND run_id = :run_id";

/// What happens to a task when its run is over, beside its being free again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    #[default]
    Nothing,
    /// It is switched off: it was to run once.
    Disable,
}

/// What became of a run's record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// It was written, now or by an earlier write of the same whose response was lost.
    Written,
    /// The run had a terminal record already, and that stands.
    Before(Box<Run>),
}

impl Table {
    /// Claims a task for a run. One write, no read; nothing has changed if it is refused.
    ///
    /// A run that was lost and still holds the task is ended first, and the claim is then written again: its lease is
    /// all that is known of it, so that it must not be replaced before the record is there. The runs that were lost
    /// beside it are ended as well when this returns.
    pub async fn claim(&self, task: &TaskName, request: &Request) -> Result<Decision, TableError> {
        let mut ended = Vec::new();
        loop {
            match self.claim_update(task, request).send().await {
                Ok(output) => {
                    let before = self.task_state(task, output.attributes.unwrap_or_default())?;
                    // What the condition allowed is what the rule allows; only the grant's particulars are taken from it.
                    let hold = before.next_hold(request.overlap);
                    let lost = before.lost(request.now);
                    self.end_all(task, &lost, request.now).await?;
                    ended.extend(lost);
                    return Ok(Decision::Granted(Grant { hold, lost: ended, settings: before.settings }));
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        let state = self.task_state(task, refused.item.clone().unwrap_or_default())?;
                        match claim(&state, request) {
                            Decision::Granted(Grant { lost, .. }) if !lost.is_empty() => {
                                self.end_all(task, &lost, request.now).await?;
                                ended.extend(lost);
                            }
                            decision => return Ok(decision),
                        }
                    }
                    _ => return Err(self.failed("claim", &error)),
                },
            }
        }
    }

    async fn end_all(&self, task: &TaskName, lost: &[Lost], now: Timestamp) -> Result<(), TableError> {
        for lost in lost {
            self.end_lost(task, lost, now).await?;
        }
        Ok(())
    }

    /// The rule of [`claim`] as the condition of one write.
    fn claim_update(&self, task: &TaskName, request: &Request) -> UpdateItemFluentBuilder {
        let lease = request.lease();
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut set = "SET failure_streak = if_not_exists(failure_streak, :zero)".to_owned();
        let mut condition = "(attribute_not_exists(enabled) OR enabled = :true)".to_owned();
        let update = match &request.occasion {
            Occasion::Tick(tick) => Some(("last_tick".to_owned(), n(tick.as_millisecond()))),
            Occasion::Deployment { ledger, entry } => {
                Some((format!("{DEPLOYED}{ledger}"), s(entry.as_str())))
            }
            Occasion::Wish => None,
        }
        .into_iter()
        .fold(update, |update, (newest, value)| {
            set.push_str(", #newest = :newest");
            condition.push_str(" AND (attribute_not_exists(#newest) OR #newest < :newest)");
            update.expression_attribute_names("#newest", newest).expression_attribute_values(":newest", value)
        });
        let update = if request.overlap == Overlap::Allow {
            set.push_str(", #lease = :lease");
            condition.push_str(" AND attribute_not_exists(#lease)");
            update
                .expression_attribute_names("#lease", shared(lease.run_id))
                .expression_attribute_values(":lease", AttributeValue::M(shared_item(&lease)))
        } else {
            set.push_str(
                ", epoch = if_not_exists(epoch, :zero) + :one, run_id = :run_id, holder = :holder, \
                 lease_until = :until, started_at = :now, #trigger = :trigger",
            );
            condition.push_str(" AND attribute_not_exists(run_id)");
            let update = update
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":one", n(1))
                .expression_attribute_values(":run_id", s(lease.run_id.to_string()))
                .expression_attribute_values(":holder", s(&lease.holder))
                .expression_attribute_values(":until", n(lease.until.as_millisecond()))
                .expression_attribute_values(":now", n(lease.started_at.as_millisecond()))
                .expression_attribute_values(":trigger", s(lease.trigger.as_str()));
            if let Some(tick) = lease.scheduled_for {
                set.push_str(", scheduled_for = :tick REMOVE cancelled");
                update.expression_attribute_values(":tick", n(tick.as_millisecond()))
            } else {
                set.push_str(" REMOVE cancelled, scheduled_for");
                update
            }
        };
        update.update_expression(set).condition_expression(condition)
    }

    /// Writes the record of a run that is over, then lets go of the task. Two writes.
    ///
    /// A run that was taken for lost can do neither: its record and its hold's end were written by who found it.
    pub async fn finish(&self, run: &Run, hold: Hold, then: Then) -> Result<Recorded, TableError> {
        let recorded = self.record(run).await?;
        match &recorded {
            Recorded::Written => self.release(run, hold, then).await?,
            // Who found the run lost may have died before the release.
            Recorded::Before(stands) => self.release(stands, hold, then).await?,
        }
        Ok(recorded)
    }

    /// Writes the terminal record of a run. One write.
    pub async fn record(&self, run: &Run) -> Result<Recorded, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(super::history::to_item(run, self.retention)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Recorded::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let stands = self.run_of(refused.item.clone().unwrap_or_default())?;
                    Ok(if stands == *run { Recorded::Written } else { Recorded::Before(Box::new(stands)) })
                }
                _ => Err(self.failed("record", &error)),
            },
        }
    }

    /// Lets go of the task, if the run still has its hold. One write.
    async fn release(&self, run: &Run, hold: Hold, then: Then) -> Result<(), TableError> {
        // A value that no expression uses is refused, so each way has its own.
        let (streak, by) = match run.status {
            Status::Completed => (":streak", 0),
            _ => ("failure_streak + :streak", 1),
        };
        let mut set = format!("SET last_run = :last_run, last_status = :status, failure_streak = {streak}");
        if then == Then::Disable {
            set.push_str(", enabled = :enabled");
        }
        let update = self
            .letting_go(&run.task, run.id, hold, &set)
            .expression_attribute_values(":last_run", s(run.id.to_string()))
            .expression_attribute_values(":status", s(run.status.as_str()))
            .expression_attribute_values(":streak", n(by));
        let update = match then {
            Then::Disable => update.expression_attribute_values(":enabled", AttributeValue::Bool(false)),
            Then::Nothing => update,
        };
        self.released(update.send().await)
    }

    /// The update that takes a run's hold off its task, if it is still there.
    fn letting_go(&self, task: &TaskName, run: RunId, hold: Hold, set: &str) -> UpdateItemFluentBuilder {
        let update =
            self.client.update_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        match hold {
            Hold::Exclusive { epoch } => update
                .update_expression(format!("{RELEASE} {set}"))
                .condition_expression(HELD)
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":run_id", s(run.to_string()))
                .expression_attribute_values(":epoch", n(epoch)),
            Hold::Shared => update
                .update_expression(format!("REMOVE #lease {set}"))
                .condition_expression(SHARED_HELD)
                .expression_attribute_names("#lease", shared(run)),
        }
    }

    fn released<T>(&self, released: Result<T, SdkError<UpdateItemError>>) -> Result<(), TableError> {
        match released {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // Taken over, or let go by an earlier write whose response was lost: nothing is held any more.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed("release", &error)),
            },
        }
    }

    /// Lets go of a task that was claimed for a run which is over already, if it still has that hold. What the table says
    /// of the task's last run stays. One write.
    pub async fn give_back(&self, task: &TaskName, run_id: RunId, hold: Hold) -> Result<(), TableError> {
        self.released(self.letting_go(task, run_id, hold, "").send().await)
    }

    /// Ends a run that was lost: writes its record and lets go of its task. Its own record stands if it has one.
    pub async fn end_lost(&self, task: &TaskName, lost: &Lost, now: Timestamp) -> Result<Run, TableError> {
        let run = lost.run(task, now);
        let stands = match self.record(&run).await? {
            Recorded::Written => run,
            Recorded::Before(stands) => *stands,
        };
        self.release(&stands, lost.hold, Then::Nothing).await?;
        Ok(stands)
    }

    /// What the table holds of a task now. One consistent read.
    pub async fn state(&self, task: &TaskName) -> Result<TaskState, TableError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed("read a task", &error))?;
        self.task_state(task, output.item.unwrap_or_default())
    }

    /// Sees to it that a deployment's run of a task does not begin any more. False if it has begun, or a later one has:
    /// then nothing has changed. One write.
    pub async fn forestall(&self, task: &TaskName, deployment: &Deployment) -> Result<bool, TableError> {
        let forestalled = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET #newest = :newest")
            .condition_expression("attribute_not_exists(#newest) OR #newest < :newest")
            .expression_attribute_names("#newest", format!("{DEPLOYED}{}", deployment.ledger))
            .expression_attribute_values(":newest", s(deployment.entry.as_str()))
            .send()
            .await;
        match forestalled {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(self.failed("forestall a run", &error)),
            },
        }
    }

    /// Asks a run in progress to end. False if it is not in progress: then nothing has changed. One write.
    pub async fn cancel(&self, task: &TaskName, run_id: RunId) -> Result<bool, TableError> {
        let asked = |update: &str, condition: &str| {
            self.client
                .update_item()
                .table_name(&self.name)
                .key("pk", s(task_pk(task)))
                .key("sk", s(TASK))
                .update_expression(update)
                .condition_expression(condition)
                .expression_attribute_values(":true", AttributeValue::Bool(true))
        };
        let ways = [
            asked("SET cancelled = :true", "run_id = :run_id")
                .expression_attribute_values(":run_id", s(run_id.to_string())),
            asked("SET #lease.cancelled = :true", "attribute_exists(#lease)")
                .expression_attribute_names("#lease", shared(run_id)),
        ];
        for way in ways {
            match way.send().await {
                Ok(_) => return Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                    _ => return Err(self.failed("cancel a run", &error)),
                },
            }
        }
        Ok(false)
    }

    /// Whether somebody asked a run in progress to end. One read, which may be some moments old: half a read unit.
    pub async fn is_cancelled(&self, task: &TaskName, run_id: RunId, hold: Hold) -> Result<bool, TableError> {
        let read =
            self.client.get_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        let read = match hold {
            Hold::Exclusive { .. } => read.projection_expression("run_id, cancelled"),
            Hold::Shared => read
                .projection_expression("#lease.cancelled")
                .expression_attribute_names("#lease", shared(run_id)),
        };
        let output = read.send().await.map_err(|error| self.failed("look at a run", &error))?;
        let found = to_json(output.item.unwrap_or_default());
        Ok(match hold {
            Hold::Exclusive { .. } => {
                found["cancelled"] == Value::Bool(true) && found["run_id"] == run_id.to_string()
            }
            Hold::Shared => found[shared(run_id)]["cancelled"] == Value::Bool(true),
        })
    }

    /// Sets what a task shall have at run time instead of what it and the project say; nothing takes it back. The text is
    /// that of [`lamplighter_core::settings::Settings`]. One write.
    pub async fn set(&self, task: &TaskName, settings: Option<&str>) -> Result<(), TableError> {
        let update =
            self.client.update_item().table_name(&self.name).key("pk", s(task_pk(task))).key("sk", s(TASK));
        let update = match settings {
            Some(text) => update
                .update_expression("SET settings = :settings")
                .expression_attribute_values(":settings", s(text)),
            None => update.update_expression("REMOVE settings"),
        };
        update.send().await.map(|_| ()).map_err(|error| self.failed("set a task's settings", &error))
    }

    /// Switches a task on or off. One write.
    pub async fn enable(&self, task: &TaskName, enabled: bool) -> Result<(), TableError> {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET enabled = :enabled")
            .expression_attribute_values(":enabled", AttributeValue::Bool(enabled))
            .send()
            .await
            .map_err(|error| self.failed("switch a task", &error))?;
        Ok(())
    }

    pub(super) fn task_state(&self, task: &TaskName, item: Item) -> Result<TaskState, TableError> {
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: task_pk(task), cause };
        let value = to_json(item);
        let time = |key: &str| value[key].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let lease =
            if value["run_id"].is_null() { None } else { Some(lease_of(value.clone()).map_err(malformed)?) };
        let entries = || value.as_object().into_iter().flatten();
        let shared =
            entries().filter(|(key, _)| key.starts_with(SHARED)).map(|(_, lease)| lease_of(lease.clone()));
        let mut shared = shared.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        shared.sort_by_key(|lease| lease.run_id);
        let last_deployments = entries().filter_map(|(key, entry)| {
            let entry: EntryKey = entry.as_str()?.parse().ok()?;
            Some((key.strip_prefix(DEPLOYED)?.to_owned(), entry))
        });
        let last_run = || {
            let run_id = value["last_run"].as_str()?.parse().ok()?;
            Some(LastRun { run_id, status: value["last_status"].as_str()?.parse().ok()? })
        };
        Ok(TaskState {
            disabled: value["enabled"] == Value::Bool(false),
            lease,
            shared,
            epoch: value["epoch"].as_u64().unwrap_or(0),
            last_tick: time("last_tick"),
            last_deployments: last_deployments.collect::<BTreeMap<_, _>>(),
            settings: value["settings"].as_str().map(str::to_owned),
            last_run: last_run(),
            failure_streak: value["failure_streak"].as_u64().unwrap_or(0),
        })
    }
}

/// The attribute that holds the lease of a run beside which others may begin.
pub(super) fn shared(run: RunId) -> String {
    format!("{SHARED}{run}")
}

/// The lease as the map of that attribute, with the names that an exclusive one has in the task's item.
fn shared_item(lease: &Lease) -> Item {
    let mut item = Item::from([
        ("run_id".to_owned(), s(lease.run_id.to_string())),
        ("holder".to_owned(), s(&lease.holder)),
        ("lease_until".to_owned(), n(lease.until.as_millisecond())),
        ("started_at".to_owned(), n(lease.started_at.as_millisecond())),
        ("trigger".to_owned(), s(lease.trigger.as_str())),
    ]);
    if let Some(tick) = lease.scheduled_for {
        item.insert("scheduled_for".to_owned(), n(tick.as_millisecond()));
    }
    item
}

/// The lease that stands among these attributes.
fn lease_of(mut attributes: Value) -> Result<Lease, String> {
    for (name, attribute) in
        [("until", "lease_until"), ("started_at", "started_at"), ("scheduled_for", "scheduled_for")]
    {
        let at = attributes[attribute].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if at.is_none() && !attributes[attribute].is_null() {
            return Err(format!("`{attribute}` is not a time"));
        }
        attributes[name] = at.map_or(Value::Null, |at| Value::String(at.to_string()));
    }
    serde_json::from_value(attributes).map_err(|error| error.to_string())
}
