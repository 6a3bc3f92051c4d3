use lamplighter::prelude::*;

#[task(queue, side)]
async fn send(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
