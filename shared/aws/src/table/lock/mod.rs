//! The task's own item: its lock, its switch and its settings.

mod claim;
mod commit;
mod lease;
mod release;
mod renew;
mod state;

pub use release::Recorded;
pub use renew::Renewed;
