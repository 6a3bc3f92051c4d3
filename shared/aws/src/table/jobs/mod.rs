//! The records of jobs: written when a job is enqueued, and changed by conditional writes when it starts and ends.
//!
//! What a job costs, in write units, with an item under 1 KB: 3 (enqueue, start, end), two more for each further attempt.
//! While a job stands in the index `due`, each of these writes the index too, which DynamoDB charges besides: under the
//! runner every job does, in AWS only one that waits for longer than SQS can.

mod due;
mod end;
mod enqueue;
mod group_commit;
mod limit;
mod orphans;
mod revoke;
mod start;
mod transport;
mod update;

pub use due::DuePage;
pub use end::{Aborted, Ended};
pub use enqueue::{Enqueued, JobKeys};
pub use group_commit::{GroupCommit, MOST, Step, Taken};
pub use start::Started;
pub use transport::{LOOK_AGAIN, MAX_DELAY, Transport};

pub(crate) use update::WORKING;
