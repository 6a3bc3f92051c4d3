use lamplighter::prelude::*;

#[task(attempts = 2)]
async fn migrate(_ctx: Context<(), u32>) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
