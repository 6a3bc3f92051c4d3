use lamplighter::prelude::*;

#[task()]
async fn _migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
