use lamplighter::prelude::*;

#[task(attempts = 0)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
