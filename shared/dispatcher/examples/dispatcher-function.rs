//! The function behind the stack's custom resources, for the tests of this crate.

lamplighter_dispatcher::main!();
