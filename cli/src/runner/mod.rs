//! A deployment on this machine: the AWS parts in this process, and CloudFormation's part in the deployment.
//!
//! - [`storage`]: the table, in a file that commands share, and the bucket; [`door`]: how they find each other
//! - [`machine`]: the functions' host and the endpoints that they are told of
//! - [`side`]: a side task, kept by one runner of all
//! - [`stack`]: a stack as CloudFormation sees it: its resources, its status, its memory between deployments
//! - [`deploy`]: create, update and roll back, with real events to the real dispatcher

pub mod deploy;
pub mod door;
pub mod machine;
pub mod side;
pub mod stack;
pub mod storage;
