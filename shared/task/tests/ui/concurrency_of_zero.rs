use lamplighter::prelude::*;

#[task(queue, concurrency = 0)]
async fn send(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
