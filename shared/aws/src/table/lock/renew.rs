//! Extending the lease of a run without a fixed end: one conditional write at intervals.

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

/// The result of extending a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Renewed {
    /// The lease is extended.
    Held,
    /// The lease is extended, but the end of the run was requested or the task is switched off.
    Unwanted,
    /// The run no longer has its lease: another process has ended it as lost.
    Lost,
}

impl Table {
    /// Extends the lease of a run that has its task to itself. One write.
    pub async fn renew(
        &self,
        task: &TaskName,
        run_id: RunId,
        fencing_token: u64,
        until: Timestamp,
    ) -> Result<Renewed, TableError> {
        let renewed = self
            .update(Key::task(task))
            .update_expression("SET lease_until = :until")
            .condition_expression(HELD)
            .expression_attribute_values(":run_id", s(run_id.to_string()))
            .expression_attribute_values(":epoch", n(fencing_token))
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
