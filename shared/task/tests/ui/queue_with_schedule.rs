use lamplighter::prelude::*;

#[task(queue, schedule = "@hourly")]
async fn send(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
