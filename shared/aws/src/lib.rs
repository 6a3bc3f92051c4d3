//! The edges: reading from and writing to AWS, or to services that offer the same APIs.
//! Wire formats stay in this crate. Its functions take and return the types of `lamplighter-core`.
//!
//! - [`authorities`]: the certificates that the environment names
//! - [`clients`]: SDK clients, created at first use
//! - [`table`]: locks, history and the deployments' ledgers, in DynamoDB
//! - [`jobs`]: jobs of queue tasks, woken by SQS or a runner
//! - [`objects`]: the objects of one bucket, in S3
//! - [`random`]: random ids and pauses
//! - [`environment`]: the variables of a process
//! - [`process`]: the end signals of a process
//! - [`functions`]: invoking a task's function (feature `deployments`)
//! - [`stacks`]: the status, events and outputs of stacks (feature `stacks`)
//! - [`logs`]: the logs of functions, in CloudWatch Logs (feature `logs`)
//! - [`notify`]: sending messages about failures (feature `notify`)
//! - [`assets`]: a task's files in S3 (feature `s3`)

#[cfg(feature = "s3")]
pub mod assets;
pub mod authorities;
pub mod clients;
pub mod environment;
#[cfg(feature = "deployments")]
pub mod functions;
pub mod jobs;
#[cfg(feature = "logs")]
pub mod logs;
#[cfg(feature = "notify")]
pub mod notify;
pub mod objects;
pub mod process;
pub mod random;
#[cfg(feature = "stacks")]
pub mod stacks;
pub mod table;
