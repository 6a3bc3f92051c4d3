//! Lambda on one machine: functions are child processes that speak the Runtime API, and are called over the
//! Invoke API or in process.

mod api;
mod clock;
mod code;
mod event;
mod function;
mod host;
mod invocation;
mod living;
mod log;
mod runtime_api;
mod sandbox;
mod spec;

pub use clock::Clock;
pub use host::{HostOptions, InProgress, Label, LambdaError, LambdaHost};
pub use invocation::Invocation;
pub use log::{Lines, LogLine};
pub use spec::FunctionSpec;
