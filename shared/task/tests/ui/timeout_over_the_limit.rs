use lamplighter::prelude::*;

#[task(timeout = "20m")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
