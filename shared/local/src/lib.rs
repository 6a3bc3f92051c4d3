//! The AWS parts of a deployment, on one machine.
//!
//! `lamplighter up` and the tests give the real dispatcher and the real task binaries what they find in AWS: the
//! DynamoDB API ([`Engine`]), the S3 API ([`Bucket`]), Lambda ([`LambdaHost`]: functions as child processes behind
//! the Runtime API, called over the Invoke API), and of CloudFormation the two ends a custom resource touches,
//! `DescribeStacks` ([`Stacks`]) and the response URL ([`Answers`]).
//!
//! Every endpoint listens on a free port of 127.0.0.1 and ends with the value that it came from. It asks for its [`Key`], which
//! is new each time and stands in the path of its URL; the credentials of a request may be any. The bucket asks for
//! [`Credentials`] of its own instead. No endpoint answers a web page. Nothing here knows of tasks, and nothing listens on other
//! addresses.

mod alone;
mod answers;
mod bucket;
mod direct;
mod endpoint;
mod guard;
mod key;
mod lambda;
mod loopback;
mod mutex;
mod random;
mod stacks;
mod store;
mod sweep;
mod table;

pub use alone::Alone;
pub use answers::{Answer, Answers, AnswersError, Expectation};
pub use bucket::{Bucket, BucketError, Credentials};
pub use key::{Key, mask_keys};
pub use lambda::{
    Clock, FunctionSpec, HostOptions, InProgress, Invocation, Label, LambdaError, LambdaHost, Lines, LogLine,
};
pub use loopback::{Endpoint, ServeError};
pub use stacks::Stacks;
pub use table::{Engine, Synchronous, TableError};
