//! Helpers for the tests of several crates.
//!
//! - [`dice`]: seeded random numbers
//! - [`permissions`]: the permissions that a function uses
//! - [`proxy`]: a proxy that injects network faults

pub mod dice;
pub mod permissions;
pub mod proxy;
