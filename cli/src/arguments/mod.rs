//! Values of the command line that several commands take.
//!
//! - [`names`]: tasks, runs and jobs by name, with a suggestion for a name that does not exist
//! - [`json`]: JSON objects from the command line, a file or stdin
//! - [`time`]: times as people write them

pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod time;
