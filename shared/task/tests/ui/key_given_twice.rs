use lamplighter::prelude::*;

#[task(timeout = "1m", attempts = 2, timeout = "2m")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
