//! Keeping a task whose run has no end of its own: one conditional write now and then.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;
use lamplighter_core::{id::RunId, name::TaskName};

use crate::table::{
    Table, TableError,
    conditional::Conditional,
    item::{n, s},
    keys::Key,
    lock::lease::HELD,
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
        epoch: u64,
        until: Timestamp,
    ) -> Result<Renewed, TableError> {
        let renewed = self
            .update(Key::task(task))
            .update_expression("SET lease_until = :until")
            .condition_expression(HELD)
            .expression_attribute_values(":run_id", s(run_id.to_string()))
            .expression_attribute_values(":epoch", n(epoch))
            .expression_attribute_values(":until", n(until.as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match self.conditional("renew a lease", renewed)? {
            Conditional::Done(output) => {
                let item = output.attributes.unwrap_or_default();
                let is = |name: &str, value: bool| item.get(name) == Some(&AttributeValue::Bool(value));
                let unwanted = is("cancelled", true) || is("enabled", false);
                Ok(if unwanted { Renewed::Unwanted } else { Renewed::Held })
            }
            Conditional::Refused(_) => Ok(Renewed::Lost),
        }
    }
}
