//! Models of the lock and of a stack's life. Each check visits every order of their steps, failures and deliveries.

mod deployment;
mod lock;
