use lamplighter::prelude::*;

#[task(schedule = "@daily", catch_up = "all")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
