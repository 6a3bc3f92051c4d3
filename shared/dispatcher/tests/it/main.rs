//! The dispatcher on real parts: its own binary and real task processes on the local Lambda host, with an embedded table.
//! The tests themselves take CloudFormation's part.

mod answers;
mod delivery;
mod deployment;
mod direction;
mod events;
mod failures;
mod faults;
mod fuzz;
mod network;
mod once;
mod permissions;
mod races;
mod rollback;
mod secrets;
mod service_errors;
mod support;
