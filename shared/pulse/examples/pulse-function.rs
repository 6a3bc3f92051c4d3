//! The function that runs once a minute, for the tests of this crate.

lamplighter_pulse::main!();
