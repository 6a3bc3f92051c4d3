//! End-to-end tests, in one program: most of them wait for the emulator, and others run meanwhile.
//!
//! - [`cron`], [`deploy`], [`queue`]: the example stack in an emulated AWS
//! - [`control`], [`terminal`]: the commands on one machine
//! - [`site`]: the example application beside a runner
//! - [`template`]: the generated template, as other tools see it
//! - [`inputs`]: the committed inputs of the fuzz targets
//! - [`harness`]: the tools that these tests stand on

mod control;
mod cron;
mod deploy;
mod harness;
mod inputs;
mod queue;
mod site;
mod template;
mod terminal;
