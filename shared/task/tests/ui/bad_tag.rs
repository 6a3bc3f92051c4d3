use lamplighter::prelude::*;

#[task(tags = ["nightly", "two "])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
