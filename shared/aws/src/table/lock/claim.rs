//! Claiming a task for a run: one conditional write.

use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use lamplighter_core::{
    claim::{Decision, Grant, Occasion, Request, claim},
    definition::Overlap,
    name::TaskName,
};

use crate::table::{
    Table, TableError,
    conditional::Conditional,
    item::{n, s},
    keys::Key,
    lock::lease::{DEPLOYED, shared, shared_item},
};

impl Table {
    /// Claims a task for a run. One write and no read. Nothing changes if the claim is refused.
    ///
    /// If a lost run holds the task, that run is ended and the claim is written again. Its record must exist before its
    /// lease is replaced, since the table has no other trace of the run. Other lost runs of the task are ended before
    /// this returns.
    pub async fn claim(&self, task: &TaskName, request: &Request) -> Result<Decision, TableError> {
        let mut ended = Vec::new();
        loop {
            match self.conditional("claim", self.claim_update(task, request).send().await)? {
                Conditional::Done(output) => {
                    let before = self.task_state(task, output.attributes.unwrap_or_default())?;
                    // The condition implements the rule, so the decision is known. Only the details of the grant are computed.
                    let fence = before.next_fence(request.overlap);
                    let lost = before.lost(request.now);
                    self.end_all(task, &lost, request.now).await?;
                    ended.extend(lost);
                    return Ok(Decision::Granted(Grant { fence, lost: ended, settings: before.settings }));
                }
                Conditional::Refused(item) => match claim(&self.task_state(task, item)?, request) {
                    Decision::Granted(Grant { lost, .. }) if !lost.is_empty() => {
                        self.end_all(task, &lost, request.now).await?;
                        ended.extend(lost);
                    }
                    decision => return Ok(decision),
                },
            }
        }
    }

    /// The rule of [`claim`] as the condition of one write.
    fn claim_update(&self, task: &TaskName, request: &Request) -> UpdateItemFluentBuilder {
        let lease = request.lease();
        let update = self
            .update(Key::task(task))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut set = "SET failure_streak = if_not_exists(failure_streak, :zero)".to_owned();
        let mut condition = "(attribute_not_exists(enabled) OR enabled = :true)".to_owned();
        let update = if request.runs_once {
            set.push_str(", enabled = :false");
            update.expression_attribute_values(":false", AttributeValue::Bool(false))
        } else {
            update
        };
        let update = match &request.occasion {
            Occasion::Tick(tick) => Some(("last_tick".to_owned(), n(tick.as_millisecond()))),
            Occasion::Deployment { ledger, entry } => {
                Some((format!("{DEPLOYED}{ledger}"), s(entry.as_str())))
            }
            Occasion::Manual => None,
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
            update.expression_attribute_names("#lease", shared(lease.run_id)).expression_attribute_values(
                ":lease",
                AttributeValue::M(shared_item(&lease, &self.environment)),
            )
        } else {
            set.push_str(
                ", epoch = if_not_exists(epoch, :zero) + :one, run_id = :run_id, holder = :holder, \
                 lease_until = :until, started_at = :now, #trigger = :trigger",
            );
            condition.push_str(" AND attribute_not_exists(run_id)");
            // The process that ends a lost run may not know the run's environment.
            let update = if self.environment.is_empty() {
                update
            } else {
                set.push_str(", environment = :environment");
                update.expression_attribute_values(":environment", s(&self.environment))
            };
            let update = update
                .expression_attribute_names("#trigger", "trigger")
                .expression_attribute_values(":one", n(1))
                .expression_attribute_values(":run_id", s(lease.run_id.to_string()))
                .expression_attribute_values(":holder", s(lease.holder.as_str()))
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
}
