//! Runs the jobs that are enqueued for it.

use lamplighter::prelude::*;

/// Greets somebody. Its jobs have the argument `name`.
#[task(queue, timeout = "1m", result = String)]
pub async fn {{module}}(_ctx: Context, name: String) -> TaskResult {
    if name.is_empty() {
        return Ok(Outcome::failure("`name` is empty"));
    }
    Outcome::success("greeted").with_data(&format!("hello, {name}"))
}

#[cfg(test)]
mod tests {
    use lamplighter::testing::World;

    use super::*;

    #[tokio::test]
    async fn a_job_has_a_result() {
        let world = World::new().await;
        let job = {{type}}::enqueue(&world.jobs(), "Ada".to_owned()).await.unwrap();
        world.drain({{type}}).await;
        assert_eq!(job.result(Duration::ZERO).await.unwrap(), "hello, Ada");
    }
}
