//! Groups of resources in the template, each under one comment.

use std::fmt::Write as _;

use serde_yaml_ng::Value;

use super::yaml::{self, map, mapping};

/// Resources under one comment.
pub(super) struct Group {
    comment: String,
    pub(super) resources: Vec<(String, Value)>,
}

impl Group {
    pub(super) fn new(comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), resources: Vec::new() }
    }

    pub(super) fn with(mut self, id: &str, resource: Value) -> Self {
        self.resources.push((id.to_owned(), resource));
        self
    }

    pub(super) fn with_all(mut self, resources: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.resources.extend(resources);
        self
    }

    /// Changes each resource.
    pub(super) fn changed(mut self, change: impl Fn(Value) -> Value) -> Self {
        let resources = std::mem::take(&mut self.resources).into_iter();
        self.resources = resources.map(|(id, resource)| (id, change(resource))).collect();
        self
    }

    pub(super) fn write(&self, text: &mut String) {
        let _ = writeln!(text, "  # {}", self.comment);
        for (i, (id, resource)) in self.resources.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            yaml::entry(text, id, resource, 2);
        }
    }
}

/// A check of checkov that does not apply to a resource, and the reason.
pub(super) struct Skip(pub(super) &'static str, pub(super) &'static str);

/// Adds the checks that do not apply to a resource, as its last key.
pub(super) fn skipping(resource: Value, skips: &[Skip]) -> Value {
    let skips: Vec<_> =
        skips.iter().map(|Skip(id, comment)| map! { "id" => *id, "comment" => *comment }).collect();
    let mut resource = mapping(resource);
    resource.insert("Metadata".into(), map! { "checkov" => map! { "skip" => skips } });
    resource.into()
}
