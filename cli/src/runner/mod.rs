//! A deployment on this machine: the AWS parts in this process, and CloudFormation's part in the deployment.
//!
//! - [`machine`]: the table, the bucket, the functions' host and the endpoints that they are told of
//! - [`stack`]: a stack as CloudFormation sees it: its resources, its status, its memory between deployments
//! - [`deploy`]: create, update and roll back, with real events to the real dispatcher

pub mod deploy;
pub mod machine;
pub mod stack;
