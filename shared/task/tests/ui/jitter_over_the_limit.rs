use lamplighter::prelude::*;

#[task(schedule = "@daily", jitter = "2h")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
