//! The custom resource's function: runs a deployment's tasks for an event of CloudFormation, and answers it.
//!
//! - [`event`]: parses events so that a malformed one can still be answered
//! - [`dispatch`]: the path of an event: parse, plan, run, answer; and the fallback responder
//! - [`begin`]: begins a request: reads its ledger and its stack, and opens its ledger entry
//! - [`drive`]: runs a deployment wave by wave
//! - [`follow`]: starts one task's run and follows it to its record
//! - [`answer`]: sends an answer once
//! - [`services`]: clients, settings and errors
//!
//! Every delivery of a request works on the ledger entry that the first one wrote, with the same run ids. Any delivery can
//! be killed: a later one reads which tasks have run, waits for those that are running, and starts the others.

pub mod answer;
pub mod begin;
pub mod dispatch;
pub mod drive;
pub mod event;
pub mod follow;
#[doc(hidden)]
pub mod function;
pub mod services;

/// The whole `main.rs` of the function: `lamplighter_dispatcher::main!();`
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> impl std::process::Termination {
            $crate::function::main()
        }
    };
}
