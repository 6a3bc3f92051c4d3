//! Runs on a schedule.

use lamplighter::prelude::*;

/// Tidies up.
#[task(schedule = "{{schedule}}", timeout = "5m")]
pub async fn {{module}}(ctx: Context) -> TaskResult {
    let due = ctx.scheduled_for().map_or("by hand".to_owned(), |tick| tick.to_string());
    tracing::info!("due: {due}");
    Ok(Outcome::success("tidied up"))
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
