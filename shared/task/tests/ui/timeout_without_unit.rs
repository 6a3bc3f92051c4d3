use lamplighter::prelude::*;

#[task(timeout = "20")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
