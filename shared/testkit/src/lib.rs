//! Helpers for the tests of several crates.
//!
//! - [`dice`]: seeded random numbers
//! - [`log`]: the lines that functions print
//! - [`machine`]: a table and a host of functions
//! - [`permissions`]: the permissions that a function uses
//! - [`probe`]: tasks that note what they do
//! - [`proxy`]: a proxy that injects network faults
//! - [`variable`]: the scale and the seed of a test

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

pub mod dice;
pub mod log;
pub mod machine;
pub mod permissions;
pub mod probe;
pub mod proxy;
pub mod variable;

/// The longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until a condition holds. `what` describes it in the failure.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the path of an example that cargo has built beside the test that calls this.
pub fn example(name: &str) -> PathBuf {
    program(&format!("examples/{name}"))
}

/// Returns the path of a program that cargo has built beside the test that calls this.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing: run `cargo test --workspace`", path.display());
    path
}
