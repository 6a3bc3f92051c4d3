use lamplighter::prelude::*;

#[task(queue = true)]
async fn send(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
