//! The pulse on real parts: its own binary and real task processes under the local Lambda host, and an embedded table.
//!
//! Nobody waits for a minute here. A stage goes back in time instead: it sets the watermark and takes the minute's record
//! away, so that the pulse finds what it would find after such a pause.

mod due;
mod failures;
mod jobs;
mod notices;
mod queues;
mod stage;
