//! Tasks that are programs of a test, and note what they do.

use std::{env, fs::OpenOptions, io, io::Write as _, path::Path};

use lamplighter_core::definition::{Definition, Kind};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;

/// Returns the definition of a task with the name in the variable `PROBE_NAME` and the configuration `C`.
pub fn definition<C: Default + JsonSchema + Serialize>(kind: Kind) -> Definition {
    let name = env::var("PROBE_NAME").unwrap_or_else(|_| "probe".to_owned());
    let mut definition = Definition::new(name.parse().expect("the test gives a task name"), kind);
    definition.config = serde_json::to_value(C::default()).expect("plain fields");
    definition.config_schema = schema_for!(C).to_value();
    definition
}

/// Appends a line to a file. It is one write, so that lines of several processes do not mix.
pub fn note(file: impl AsRef<Path>, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(format!("{line}\n").as_bytes())
}
