//! Helpers for the tests of several crates.
//!
//! - [`dice`]: seeded random numbers
//! - [`permissions`]: the permissions that a function uses
//! - [`proxy`]: a proxy that injects network faults
//! - [`variable`]: the scale and the seed of a test

pub mod dice;
pub mod permissions;
pub mod proxy;
pub mod variable;
