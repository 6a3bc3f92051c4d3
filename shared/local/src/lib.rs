//! The AWS services that a deployment uses, on one machine.
//!
//! `lamplighter up`, the runner and the tests run the real dispatcher and the real task binaries against them:
//!
//! - the DynamoDB API: [`Engine`]
//! - the S3 API: [`Bucket`]
//! - Lambda: [`LambdaHost`], with functions as child processes behind the Runtime API, called over the Invoke API
//! - CloudFormation, as far as a custom resource sees it: `DescribeStacks` ([`Stacks`]) and the response URL ([`Answers`])
//!
//! Every endpoint listens on a free port of 127.0.0.1 and stops when its value is dropped. Clients must send its [`Key`], a part
//! of the URL's path that is new each time; any credentials are accepted. Only the bucket checks [`Credentials`] instead of a
//! key. Endpoints refuse requests from web pages, and nothing listens on other addresses. This crate does not know tasks.

mod answers;
mod bucket;
mod direct;
mod endpoint;
mod guard;
mod key;
mod lambda;
mod local_commit;
mod loopback;
mod mutex;
mod random;
mod stacks;
mod store;
mod sweep;
mod table;

pub use answers::{Answer, Answers, AnswersError, Expectation};
pub use bucket::{Bucket, BucketError, Credentials};
pub use key::{Key, mask_keys};
pub use lambda::{
    Clock, FunctionSpec, HostOptions, InProgress, Invocation, Label, LambdaError, LambdaHost, Lines, LogLine,
};
pub use local_commit::LocalCommit;
pub use loopback::{Endpoint, ServeError};
pub use stacks::Stacks;
pub use store::Synchronous;
pub use table::{Engine, TableError};
