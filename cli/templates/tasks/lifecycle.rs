//! Runs before each deployment.

use lamplighter::prelude::*;

/// Prepares a deployment, for example by migrating a database.
#[task(timeout = "5m")]
pub async fn {{module}}(ctx: Context) -> TaskResult {
    let previous = ctx.previous_version().unwrap_or("nothing");
    tracing::info!("the version before is {previous}");
    Ok(Outcome::success(format!("prepared; the version before is {previous}")))
}

#[cfg(test)]
mod tests {
    use lamplighter::{Status, testing::World};

    use super::*;

    #[tokio::test]
    async fn it_completes() {
        let run = World::new().await.run({{type}}, &()).await;
        assert_eq!(run.status, Status::Completed, "{run:?}");
    }
}
