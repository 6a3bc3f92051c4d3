use lamplighter::prelude::*;

#[task(queue)]
async fn send(_to: String) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
