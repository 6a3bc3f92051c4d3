//! Values against the schemas that schemars derives from Rust's types: the check, overrides and secrets.

mod agreement;
mod overrides;
mod sample;
mod secrets;
mod types;
