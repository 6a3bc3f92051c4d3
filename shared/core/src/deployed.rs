//! The tasks of a stack as they were last deployed, so that a command that looks at a stack needs no sources.

use jiff::Timestamp;

use crate::definition::Definition;

/// The name of the file with the tasks' definitions, next to the dispatcher's binary.
pub const DEFINITIONS: &str = "definitions.json";

/// The tasks of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct DeployedTasks {
    /// The version of the stack; after a rollback, the version to which the stack returned.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// The time of the deployment.
    pub deployed_at: Timestamp,
    /// The definitions with the project's overrides, in the order of the names.
    pub tasks: Vec<Definition>,
}
