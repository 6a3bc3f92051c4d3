//! Lambda on one machine. Functions are child processes that speak the Runtime API. They are called in process or over the
//! Invoke API.

mod api;
mod clock;
mod code;
mod event;
mod function;
mod host;
mod invocation;
mod invoker;
mod log;
mod processes;
mod runtime_api;
mod sandbox;
mod spec;

pub use clock::Clock;
pub use host::LambdaHost;
pub use invocation::Invocation;
pub use invoker::{HostOptions, InProgress, Label, LambdaError};
pub use log::{Lines, LogLine};
pub use spec::FunctionSpec;
