//! The edges: what Lamplighter reads from and writes to AWS, or to anything that speaks the same APIs.
//!
//! Wire formats stay in here; what goes in and comes out are the types of `lamplighter-core`.
//!
//! - [`authorities`]: certificates that the environment names
//! - [`clients`]: SDK clients that are made when they are first used
//! - [`table`]: locks, history and the deployments' ledgers, in DynamoDB
//! - [`jobs`]: runs of queue tasks, with SQS or a runner to tell of them
//! - [`objects`]: single objects of one bucket, in S3
//! - [`random`]: ids, and words that nobody else has
//! - [`process`]: the variables and the end signals of a process
//! - [`functions`]: starting a task's function (feature `deployments`)
//! - [`stacks`]: where a stack stands (feature `deployments`)
//! - [`logs`]: what functions have said, in CloudWatch Logs (feature `logs`)
//! - [`notify`]: telling somebody of a failure (feature `notify`)
//! - [`assets`]: a task's files in S3 (feature `s3`)

#[cfg(feature = "s3")]
pub mod assets;
pub mod authorities;
pub mod clients;
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
#[cfg(feature = "deployments")]
pub mod stacks;
pub mod table;

/// Bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
