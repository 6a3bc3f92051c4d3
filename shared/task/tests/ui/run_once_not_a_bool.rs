use lamplighter::prelude::*;

#[task(schedule = "@daily", run_once = "yes")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
