//! Helpers for the tests of several crates.
//!
//! - [`dice`]: seeded random numbers
//! - [`proxy`]: a proxy that injects network faults

pub mod dice;
pub mod proxy;
