//! The table, the queues and the bucket on the embedded engine.

mod deployed;
mod history;
mod jobs;
mod keys;
mod prepared;
mod pulse;
mod support;
mod table;
mod values;
