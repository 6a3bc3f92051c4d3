use lamplighter::prelude::*;

#[task(schedule = "@daily", catch_up = "all within 60")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
