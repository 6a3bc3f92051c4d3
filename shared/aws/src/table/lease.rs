//! The lease of a task: claim, finish, release. Each is one conditional write.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::{
    claim::{Decision, Grant, Lease, Lost, Occasion, Request, TaskState, claim},
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

/// Takes a run's hold off its task.
const RELEASE: &str = "REMOVE run_id, holder, lease_until, started_at, #trigger";
/// Whether a run still has its hold.
const HELD: &str = "epoch = :epoch AND run_id = :run_id";

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
    /// If the claim took over from a run that was lost, that run's record has been written when this returns.
    pub async fn claim(&self, task: &TaskName, request: &Request) -> Result<Decision, TableError> {
        let (newest, value) = match &request.occasion {
            Occasion::Tick(tick) => ("last_tick".to_owned(), Some(n(tick.as_millisecond()))),
            Occasion::Deployment { ledger, entry } => {
                (format!("{DEPLOYED}{ledger}"), Some(s(entry.as_str())))
            }
            Occasion::Wish => (String::new(), None),
        };
        let mut set = "SET epoch = if_not_exists(epoch, :zero) + :one, run_id = :run_id, holder = :holder, \
                       lease_until = :until, started_at = :now, #trigger = :trigger, \
                       failure_streak = if_not_exists(failure_streak, :zero)"
            .to_owned();
        let mut condition = "(attribute_not_exists(enabled) OR enabled = :true) \
                             AND (attribute_not_exists(lease_until) OR lease_until < :now)"
            .to_owned();
        if value.is_some() {
            set.push_str(", #newest = :newest");
            condition.push_str(" AND (attribute_not_exists(#newest) OR #newest < :newest)");
        }
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression(set)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(
                [("#trigger".to_owned(), "trigger".to_owned())]
                    .into_iter()
                    .chain(value.is_some().then(|| ("#newest".to_owned(), newest)))
                    .collect(),
            ))
            .set_expression_attribute_values(Some(
                [
                    (":zero", n(0)),
                    (":one", n(1)),
                    (":true", AttributeValue::Bool(true)),
                    (":run_id", s(request.run_id.to_string())),
                    (":holder", s(&request.holder)),
                    (":until", n(request.until.as_millisecond())),
                    (":now", n(request.now.as_millisecond())),
                    (":trigger", s(request.trigger.as_str())),
                ]
                .into_iter()
                .chain(value.map(|value| (":newest", value)))
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            ))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(output) => {
                let before = self.task_state(task, output.attributes.unwrap_or_default())?;
                // What the condition allowed is what the rule allows; only the grant's numbers are taken from it.
                let grant = Grant { epoch: before.epoch + 1, lost: before.lost(request.now) };
                if let Some(lost) = &grant.lost {
                    self.record_lost(task, lost, request.now).await?;
                }
                Ok(Decision::Granted(grant))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let state = self.task_state(task, refused.item.clone().unwrap_or_default())?;
                    Ok(claim(&state, request))
                }
                _ => Err(self.failed("claim", &error)),
            },
        }
    }

    /// Writes the record of a run that is over, then lets go of the task. Two writes.
    ///
    /// A run whose lease was taken over can do neither: its record as lost was written by who took over.
    pub async fn finish(&self, run: &Run) -> Result<Recorded, TableError> {
        let recorded = self.record(run).await?;
        if recorded == Recorded::Written {
            self.release(run).await?;
        }
        Ok(recorded)
    }

    /// Writes the terminal record of a run. One write.
    pub async fn record(&self, run: &Run) -> Result<Recorded, TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(super::history::to_item(run)?))
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

    /// Lets go of the task, if it is still held with the run's epoch. One write.
    async fn release(&self, run: &Run) -> Result<(), TableError> {
        // A value that no expression uses is refused, so each way has its own.
        let (streak, by) = match run.status {
            Status::Completed => (":streak", 0),
            _ => ("failure_streak + :streak", 1),
        };
        let released = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(&run.task)))
            .key("sk", s(TASK))
            .update_expression(format!(
                "{RELEASE} SET last_run = :run_id, last_status = :status, failure_streak = {streak}"
            ))
            .condition_expression(HELD)
            .expression_attribute_names("#trigger", "trigger")
            .expression_attribute_values(":run_id", s(run.id.to_string()))
            .expression_attribute_values(":status", s(run.status.as_str()))
            .expression_attribute_values(":epoch", n(run.epoch))
            .expression_attribute_values(":streak", n(by))
            .send()
            .await;
        self.released(released)
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

    /// Lets go of a task that was claimed for a run which is over already, if it is still held with this epoch. What
    /// the table says of the task's last run stays. One write.
    pub async fn give_back(&self, task: &TaskName, run_id: RunId, epoch: u64) -> Result<(), TableError> {
        let given_back = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression(RELEASE)
            .condition_expression(HELD)
            .expression_attribute_names("#trigger", "trigger")
            .expression_attribute_values(":run_id", s(run_id.to_string()))
            .expression_attribute_values(":epoch", n(epoch))
            .send()
            .await;
        self.released(given_back)
    }

    /// Ends a run that was lost: writes its record and lets go of its task. Its own record stands if it has one.
    pub async fn end_lost(&self, task: &TaskName, lost: &Lost, now: Timestamp) -> Result<Run, TableError> {
        let stands = self.record_lost(task, lost, now).await?;
        self.release(&Run { epoch: lost.epoch, ..stands.clone() }).await?;
        Ok(stands)
    }

    async fn record_lost(&self, task: &TaskName, lost: &Lost, now: Timestamp) -> Result<Run, TableError> {
        let run = lost.run(task, now);
        Ok(match self.record(&run).await? {
            Recorded::Written => run,
            Recorded::Before(stands) => *stands,
        })
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

    fn task_state(&self, task: &TaskName, item: Item) -> Result<TaskState, TableError> {
        let malformed =
            |cause: String| TableError::Malformed { table: self.name.clone(), key: task_pk(task), cause };
        let value = to_json(item);
        let time = |key: &str| value[key].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let lease = if value["run_id"].is_null() {
            None
        } else {
            let mut lease = value.clone();
            for (name, attribute) in [("until", "lease_until"), ("started_at", "started_at")] {
                let at = time(attribute).ok_or_else(|| malformed(format!("`{attribute}` is not a time")))?;
                lease[name] = Value::String(at.to_string());
            }
            Some(serde_json::from_value::<Lease>(lease).map_err(|error| malformed(error.to_string()))?)
        };
        let last_deployments = value.as_object().into_iter().flatten().filter_map(|(key, entry)| {
            let entry: EntryKey = entry.as_str()?.parse().ok()?;
            Some((key.strip_prefix(DEPLOYED)?.to_owned(), entry))
        });
        Ok(TaskState {
            disabled: value["enabled"] == Value::Bool(false),
            lease,
            epoch: value["epoch"].as_u64().unwrap_or(0),
            last_tick: time("last_tick"),
            last_deployments: last_deployments.collect::<BTreeMap<_, _>>(),
        })
    }
}
