//! The example stack, deployed by `sam deploy` to an emulated AWS that enforces IAM.
//!
//! - [`life`]: one stack from its creation to its deletion; [`disturbed`] has the later part
//! - [`imports`]: jobs that the site enqueues
//! - [`first`]: a stack whose first deployment fails
//! - [`hand`]: the commands of `lamplighter` on a stack, and its notifications

mod disturbed;
mod first;
mod hand;
mod imports;
mod life;
mod pages;
mod processes;
mod version;
mod world;
