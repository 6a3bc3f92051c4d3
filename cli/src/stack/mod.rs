//! The stack that a command works on, on this machine or in AWS.
//!
//! - [`target`]: the options that choose the stack, and the open stack
//! - [`each_task`]: one query to many tasks at once, and their pages merged
//! - [`follow`]: one run, from its start to its record
//! - [`cloud_logs`]: the log groups of a stack in AWS, read as one log

pub(crate) mod cloud_logs;
pub(crate) mod each_task;
pub(crate) mod follow;
pub mod target;
