//! The example stack, deployed by `sam deploy` to an emulated AWS that enforces IAM.
//!
//! - [`life`]: one stack from its creation to its deletion; the later part of it is in [`disturbed`]
//! - [`first`]: a stack whose first deployment fails
//! - [`hand`]: a stack on which the commands of `lamplighter` work, and who is told of a failure there

mod disturbed;
mod first;
mod hand;
mod life;
mod pages;
mod processes;
mod version;
mod world;
