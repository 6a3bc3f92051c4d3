//! A project as it lies on disk: its workspace, lamplighter.toml, and its functions, compiled and packaged.
//!
//! - [`workspace`]: the tasks and functions of a cargo workspace
//! - [`folder_pattern`]: patterns of its members' folders
//! - [`config`]: the keys of lamplighter.toml
//! - [`catalog`]: the tasks as they were last built
//! - [`architecture`], [`compile`], [`describe`]: the compiled binaries, and the definition that each task prints
//! - [`tasks`]: the tasks with the overrides of lamplighter.toml applied, checked as a whole
//! - [`environments`]: the environments that one template serves
//! - [`functions`]: the Lambda functions of a project, which the template and the local host render
//! - [`phases`], [`queues`], [`variables`]: the limits of CloudFormation, SQS and Lambda that a project is checked against
//! - [`versions`]: the version of Lamplighter that a package is built with
//! - [`assets`], [`package`]: the files beside a binary, and the packages of the functions
//! - [`fault`]: an error in a project, with its file and key
//! - [`files`]: files that are written whole, and files that only their owner reads

pub mod architecture;
pub mod assets;
pub mod catalog;
pub mod compile;
pub mod config;
pub mod describe;
pub mod environments;
pub mod fault;
pub mod files;
#[cfg(any(test, feature = "testing"))]
pub mod fixtures;
pub mod folder_pattern;
pub mod functions;
pub mod package;
pub mod phases;
pub mod queues;
pub mod tasks;
pub mod variables;
pub mod versions;
pub mod workspace;

pub use tasks::{Project, Task};
