//! The records of jobs: written when a job is enqueued, and changed by conditional writes when it starts and ends.
//!
//! A job with an item under 1 KB costs 3 write units (enqueue, start, end), and two more for each further attempt.
//! While a job is in the index `due`, DynamoDB also charges for each write of the index. Under a runner every open job
//! is in the index. In AWS only the jobs that the pulse handles are in it.

mod due;
mod end;
mod enqueue;
mod group_commit;
mod limit;
mod orphans;
mod prepare;
mod revoke;
mod start;
mod transport;
mod update;

pub use due::DuePage;
pub use end::{AbortOutcome, JobEnd};
pub use enqueue::{EnqueueOutcome, JobKeys};
pub use group_commit::{GroupCommit, JobStep, MAX_STEPS, StepOutcome};
pub use prepare::JobWrites;
pub use start::JobStart;
pub use transport::{LOOK_AGAIN, MAX_DELAY, Transport};

pub(crate) use update::WORKING;
