//! An author's own transaction, which is committed only while the run holds its task.

use aws_sdk_dynamodb::types::{ConditionCheck, builders::ConditionCheckBuilder};
use lamplighter_core::{claim::Fence, id::RunId, job::JobKey, name::TaskName, status::Status};

use crate::table::{
    Table,
    item::{n, s},
    jobs::WORKING,
    keys::Key,
    lock::lease::{HELD, SHARED_HELD, shared},
    transaction::{CommitError, TransactWriteItem, transact},
};

impl Table {
    /// Writes all of `writes` if the run still holds its task, otherwise nothing. At most 99 writes: DynamoDB accepts
    /// 100, of which one is the check of the lease. The check costs two write units.
    pub async fn commit(
        &self,
        task: &TaskName,
        run_id: RunId,
        fence: Fence,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = self.check(Key::task(task));
        let check = match fence {
            Fence::Exclusive { token: fencing_token } => check
                .condition_expression(HELD)
                .expression_attribute_values(":epoch", n(fencing_token))
                .expression_attribute_values(":run_id", s(run_id.to_string())),
            Fence::Shared => {
                check.condition_expression(SHARED_HELD).expression_attribute_names("#lease", shared(run_id))
            }
        };
        self.commit_if(check, writes).await
    }

    /// Like [`Table::commit`], if the worker with this fencing token still has the job.
    pub async fn commit_job(
        &self,
        key: &JobKey,
        fencing_token: u64,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = self
            .check(Key::job(key))
            .condition_expression(WORKING)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", s(Status::Running.as_str()))
            .expression_attribute_values(":epoch", n(fencing_token));
        self.commit_if(check, writes).await
    }

    fn check(&self, key: Key) -> ConditionCheckBuilder {
        ConditionCheck::builder().table_name(&self.name).set_key(Some(key.attributes()))
    }

    async fn commit_if(
        &self,
        check: ConditionCheckBuilder,
        mut writes: Vec<TransactWriteItem>,
    ) -> Result<(), CommitError> {
        let check = check.build().map_err(|error| CommitError::Service(error.to_string()))?;
        writes.insert(0, TransactWriteItem::builder().condition_check(check).build());
        transact(&self.client, writes).await.map_err(|error| match error {
            CommitError::Refused { index } => {
                index.checked_sub(1).map_or(CommitError::LostHold, |index| CommitError::Refused { index })
            }
            other => other,
        })
    }
}
