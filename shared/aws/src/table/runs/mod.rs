//! The records of runs: pages of them, their statistics and their large values.

mod history;
mod look;
mod rollup;
mod values;

pub use history::{Cursor, History, InvalidCursor, LOOKED_AT, Page};
pub use look::Seen;
pub use rollup::{Counted, RETENTION};
pub use values::{JOBS_FOLDER, LARGE, RUNS_FOLDER, is_large};
