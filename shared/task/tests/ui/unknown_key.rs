use lamplighter::prelude::*;

#[task(timeout = "2m", retries = 3)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
