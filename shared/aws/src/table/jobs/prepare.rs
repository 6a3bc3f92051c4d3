//! Preparing a job that an application's own transaction enqueues.

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::Timestamp;
use lamplighter_core::{
    id::RunId,
    job::{Job, OnConflict},
};

use crate::table::{
    Table, TableError,
    jobs::{
        enqueue::{JobKeys, KeyState},
        transport::Transport,
    },
};

/// The writes of a job that is to be enqueued.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum JobWrites {
    /// The writes of its record and of its keys.
    New(Vec<TransactWriteItem>),
    /// An existing job with its key is joined.
    Joined(RunId),
    /// An existing job with its key refuses it.
    Refused(RunId),
}

impl Table {
    /// The writes that enqueue a job, as [`Table::enqueue`] makes them: its record and a claim of each key.
    ///
    /// One or two reads of each key. If another job takes a key afterwards, the transaction is cancelled. Stores
    /// nothing except large arguments, which become an object in the bucket.
    pub async fn prepare_job(
        &self,
        job: &Job,
        keys: &JobKeys,
        transport: Transport,
        now: Timestamp,
    ) -> Result<JobWrites, TableError> {
        let mut claims = Vec::new();
        for taking in self.key_claims(job, keys, now) {
            let twin = match self.key_state(job, &taking, now).await? {
                KeyState::Free | KeyState::Own => None,
                KeyState::Ended(twin) => Some(twin),
                KeyState::Held(twin) => {
                    return Ok(match taking.on_twin {
                        OnConflict::Refuse => JobWrites::Refused(twin),
                        OnConflict::Join => JobWrites::Joined(twin),
                    });
                }
            };
            claims.push(self.taking_of(job, &taking, twin.as_ref(), now)?);
        }
        let kept = self.put_away_job(job).await?;
        let item = match self.item_of_job(&kept, transport.place(job, now)) {
            Ok(item) => item,
            Err(error) => {
                self.discard(&kept).await;
                return Err(error);
            }
        };
        let puts = [self.put_of(item)?].into_iter().chain(claims);
        let writes = puts.map(|put| TransactWriteItem::builder().put(put).build());
        Ok(JobWrites::New(writes.collect()))
    }
}
