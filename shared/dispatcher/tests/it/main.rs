//! The dispatcher on real parts: its own binary and real task processes under the local Lambda host, an embedded
//! table, and CloudFormation's part played by hand.

mod answers;
mod delivery;
mod deployment;
mod direction;
mod events;
mod failures;
mod faults;
mod fuzz;
mod neighbours;
mod network;
mod once;
mod races;
mod rollback;
mod secrets;
mod support;
