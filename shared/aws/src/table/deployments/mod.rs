//! The deployments' ledgers, and the answers to CloudFormation's requests.

mod answers;
mod ledger;

pub use ledger::{LEDGER_RETENTION, Opened, Received, RequestKey};
