//! Files for a new project or a new task, and edits of the files that an existing workspace has.
//!
//! - [`source`]: where the crates of Lamplighter come from
//! - [`task`]: the package of a new task
//! - [`project`]: the files of a project
//! - [`manifest`]: edits of manifests that keep comments and order
//! - [`changes`]: what will be written, and writing it as a whole

pub(crate) mod changes;
pub(crate) mod manifest;
pub(crate) mod project;
pub(crate) mod source;
pub(crate) mod task;

/// Replaces `{{key}}` in a template by the key's value.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}
