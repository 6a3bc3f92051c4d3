//! Runs for as long as a runner runs: `lamplighter start`, or `dev`.

use lamplighter::prelude::*;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks at something again and again, until the runner stops.
#[task(side)]
pub async fn {{module}}(ctx: Context) -> TaskResult {
    let mut looks = 0;
    while !ctx.cancellation().is_cancelled() {
        looks += 1;
        tracing::info!("{}", line(looks));
        tokio::select! {
            () = ctx.cancellation().cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    Ok(Outcome::success(line(looks)))
}

fn line(looks: u64) -> String {
    format!("looked {looks} times")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_number_of_looks() {
        assert_eq!(line(2), "looked 2 times");
    }
}
