use lamplighter::prelude::*;

#[task(teardown = close)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
