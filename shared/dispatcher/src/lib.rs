//! The custom resource's function: a deployment's tasks, from CloudFormation's event to its answer.
//!
//! - [`event`]: what CloudFormation sent, read so that whatever is wrong with it can still be answered
//! - [`dispatch`]: parse, plan, run, answer, as one path; and the fallback for when that fails
//! - [`classify`]: what a request is, and what it leads to
//! - [`drive`]: the steps of a deployment
//! - [`follow`]: one task's run, from its start to its record
//! - [`answer`]: the answer, delivered once
//! - [`services`]: what it works with
//!
//! Every delivery of a request works on the entry that the first one wrote in the ledger, with the same run ids. So
//! nothing depends on which of them lives: a later delivery finds what has run, waits for what is running, and starts
//! what has not been started.

pub mod answer;
pub mod classify;
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
