//! What the tests of several crates need.
//!
//! - [`dice`]: the random numbers of a seed
//! - [`proxy`]: a network that fails

pub mod dice;
pub mod proxy;
