use lamplighter::prelude::*;

#[task(timeout = 5)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
