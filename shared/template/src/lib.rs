//! The template of a project's stack: rendered from the project to `infra/template.yaml`, without I/O. The same project always
//! gives the same bytes.
//!
//! - [`render`]: the whole template, put together from its groups and sections
//! - `functions`: a function with its role and its log group, from its plan
//! - `tasks`, `queues`, `schedules`, `pulse`, `deployment`, `storage`: the groups of resources
//! - `application`, `globals`, `paths`, `read`, `scalars`: the user's own template, which becomes part of the generated one
//! - `destination`: the file of a template, and the environments that it serves
//! - `properties`: properties of functions and roles from lamplighter.toml
//! - `limits`, `sam`: the limits of CloudFormation, and the resources that SAM adds
//! - `ids`, `intrinsics`, `roles`, `yaml`: the vocabulary of a template

mod application;
mod deployment;
mod destination;
mod functions;
mod globals;
mod group;
mod ids;
mod intrinsics;
mod limits;
mod paths;
mod properties;
mod pulse;
mod queues;
mod read;
mod render;
mod roles;
mod sam;
mod scalars;
mod schedules;
mod storage;
mod tasks;
mod yaml;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use application::Application;
pub use deployment::properties;
pub use destination::Destination;
pub use ids::{AFTER, BEFORE, logical_id};
pub use render::{render, render_to};

/// The generated template's path, from the workspace's folder.
pub const TEMPLATE: &str = "infra/template.yaml";
