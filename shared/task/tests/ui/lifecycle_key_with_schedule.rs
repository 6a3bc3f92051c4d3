use lamplighter::prelude::*;

#[task(schedule = "@daily", run_on = [Deploy])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
