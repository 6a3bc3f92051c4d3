use lamplighter::prelude::*;

#[task(concurrency = 2)]
async fn send(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
