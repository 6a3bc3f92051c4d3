use lamplighter::prelude::*;

#[task(overlap = Allow)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
