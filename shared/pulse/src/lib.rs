//! The pulse function: once a minute it starts due ticks, ends lost runs and sends notifications about failures.
//!
//! - [`event`]: the events that the function accepts
//! - [`run`]: one pulse, from its due ticks to its record
//! - [`rounds`]: starts and follows the due ticks, round by round, until nothing more can be done
//! - [`wake`]: sends wake-ups for due and orphaned jobs
//! - [`notify`]: stores and delivers notifications, one for each failure
//! - [`services`]: the clients and settings that all of these share
//!
//! Tasks are invoked asynchronously. Lambda keeps the invocation while a function is throttled, and sends failed
//! invocations to this function ([`event::Event::Failed`]). The pulse reads a run's outcome from the table. It follows a
//! run as long as another tick depends on it or has to come after it, otherwise for a few seconds. A run that takes longer
//! counts as running; its own record shows how it ended.
//!
//! A pulse can be killed at any time. It writes its state last, so the next pulse finds the same ticks with the same run
//! ids. A tick that already has a run is not started again.

pub mod event;
#[doc(hidden)]
pub mod function;
pub mod notify;
pub mod rounds;
pub mod run;
pub mod services;
pub mod wake;

/// The whole `main.rs` of the function: `lamplighter_pulse::main!();`
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> impl std::process::Termination {
            $crate::function::main()
        }
    };
}
