use lamplighter::prelude::*;

#[task(queue)]
async fn send(_ctx: Context, _to: &str) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
