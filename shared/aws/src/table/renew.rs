//! Keeping a task whose run has no end of its own: one conditional write now and then.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue},
};
use jiff::Timestamp;
use lamplighter_core::{id::RunId, name::TaskName};

use super::{
    Table, TableError,
    item::{n, s},
    lease::HELD,
    schema::{TASK, task_pk},
};

/// What became of a wish to keep a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Renewed {
    /// The run has its task until the new time.
    Held,
    /// It has, and somebody asked for its end or switched the task off.
    Unwanted,
    /// It has not: somebody took it for lost.
    Lost,
}

impl Table {
    /// Keeps the task for a run that has it to itself, until another time. One write.
    pub async fn renew(
        &self,
        task: &TaskName,
        run_id: RunId,
        fencing_token: u64,
        until: Timestamp,
    ) -> Result<Renewed, TableError> {
        let renewed = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", s(task_pk(task)))
            .key("sk", s(TASK))
            .update_expression("SET lease_until = :until")
            .condition_expression(HELD)
            .expression_attribute_values(":run_id", s(run_id.to_string()))
            .expression_attribute_values(":epoch", n(fencing_token))
            .expression_attribute_values(":until", n(until.as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match renewed {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                let is = |name: &str, value: bool| item.get(name) == Some(&AttributeValue::Bool(value));
                let unwanted = is("cancelled", true) || is("enabled", false);
                Ok(if unwanted { Renewed::Unwanted } else { Renewed::Held })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Renewed::Lost),
                _ => Err(self.failed("renew a lease", &error)),
            },
        }
    }
}
