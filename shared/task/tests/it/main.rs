//! Integration tests of the task library: the probe's binary under a Lambda host, with the table on an embedded engine.

mod authorities;
mod cancel;
mod context;
mod costs;
mod cron;
mod declared;
mod exact;
mod faults;
mod jobs;
mod marked;
mod once;
mod outcomes;
mod permissions;
mod refusals;
mod resolved;
mod secrecy;
mod shell;
mod state;
mod typed;
mod values;
mod world;
