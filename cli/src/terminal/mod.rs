//! The terminal: everything that the program prints, and what it asks.
//!
//! - [`output`]: standard output and standard error; nothing else writes to them
//! - [`text`]: texts of others, escaped, measured, cut and folded
//! - [`show`]: aligned rows, with a sign and a colour for each status
//! - [`progress`]: the line that shows how long an operation takes
//! - [`ask`]: questions about what the command line lacks
//! - [`reporter`]: the events of a runner, as text or as JSON

pub(crate) mod ask;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod reporter;
pub(crate) mod show;
pub(crate) mod text;
