//! The pulse's function: once a minute what is due is started, what was lost is ended, and what failed is told.
//!
//! - [`event`]: what it was sent
//! - [`beat`]: one pulse, from what is due to its record
//! - [`carry`]: the ticks that are due, from round to round, until there is nothing more to do
//! - [`tell`]: who is told of a failure, once
//!
//! Tasks are invoked asynchronously, so that Lambda keeps the invocation where a function is throttled, and sends what
//! failed to this function ([`event::Event::Failed`]). How a run went is read from the table, for as long as somebody
//! waits for it: a tick that depends on it or follows it, and otherwise a few seconds. A run that takes longer is counted
//! as running, and its history says how it ended.
//!
//! Nothing depends on which pulse lives. What a pulse remembers is written last; one that is killed leaves the next one
//! the same ticks, with the same run ids, and a tick that has had its run is not started again.

pub mod event;
#[doc(hidden)]
pub mod function;
pub mod notify;
pub mod rounds;
pub mod run;

/// The whole `main.rs` of the function: `lamplighter_pulse::main!();`
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> impl std::process::Termination {
            $crate::function::main()
        }
    };
}
