//! What tasks have said: in files on this machine, in CloudWatch Logs in AWS.

pub mod cloud;
pub mod file;
pub mod kept;
