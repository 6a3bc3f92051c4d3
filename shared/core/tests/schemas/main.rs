//! Values against the schemas that schemars makes of Rust's types: the check, overrides and secrets.

mod agreement;
mod overrides;
mod sample;
mod secrets;
mod types;
