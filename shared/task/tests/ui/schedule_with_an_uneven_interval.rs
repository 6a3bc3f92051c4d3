use lamplighter::prelude::*;

#[task(schedule = "every 7 minutes")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
