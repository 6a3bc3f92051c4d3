use lamplighter::prelude::*;

#[task(schedule = "@daily", overlap = Queue)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
