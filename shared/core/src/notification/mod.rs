//! Notifications about failures: their targets, their contents and their redelivery.

mod message;
mod redelivery;
mod target;

pub use message::{COUNT_LETTERS, Message, occasion};
pub use redelivery::{DELIVERY_LIMIT, Redelivery, after_failure};
pub use target::{InvalidTarget, Target};
