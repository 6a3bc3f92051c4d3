//! The pulse on real parts: its own binary and real task processes on the local Lambda host, with an embedded table.
//!
//! No test waits for a minute. A stage moves the watermark back and deletes the minute's record instead, so that the next
//! pulse finds the table as it is after such a pause.

mod due;
mod failures;
mod jobs;
mod notices;
mod permissions;
mod queues;
mod server;
mod stage;
