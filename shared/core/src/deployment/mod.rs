//! Deployments: the tasks that a request runs, their order and context, and the answer to CloudFormation.
//!
//! A *deployment* is one request of CloudFormation for one custom resource. Its *entry* in the resource's
//! *ledger* is written before anything runs, with the run id of each task. So every delivery of the same
//! request works on the same runs.

mod answer;
mod deadline;
mod ledger;
mod plan;
mod properties;
mod rollback_detection;
mod stack;
mod steps;
mod waves;

pub use answer::{Addressee, MAX_ANSWER_BYTES, Verdict, render, shortened};
pub use deadline::{Deadline, MAX_SERVICE_TIMEOUT};
pub use ledger::{Answered, Course, Entry, EntryKey, Latest, Ledger, Success, TaskEntry, Undone};
pub use plan::{Change, Plan, PlannedTask, Request, Situation, after_delete, may_be_undone, plan};
pub use properties::Properties;
pub use rollback_detection::{Kind, kind, missing_before, resolve};
pub use stack::{Direction, SentUpdate, StackEvent, StackPhase, direction, rolled_back, shows, went_forward};
pub use steps::{DeploymentStep, abandoned, at_last_call, next_step, verdict};
pub use waves::{OrderError, Ordered, waves};

use serde::{Deserialize, Serialize};

/// The context that a task gets from its deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deployment {
    /// The ledger of the resource: the stack's ARN and the resource's logical id.
    pub ledger: String,
    /// The entry of the request in the ledger.
    pub entry: EntryKey,
    /// The deployed version; in a rollback, the version to which the stack returns.
    pub version: String,
    /// The version of the last successful deployment before this one.
    pub previous_version: Option<String>,
    /// No deployment has succeeded before.
    pub is_first_deploy: bool,
    /// The version that is undone, in a rollback.
    pub rolled_back_version: Option<String>,
}
