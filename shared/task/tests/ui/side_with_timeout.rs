use lamplighter::prelude::*;

#[task(side, timeout = "2m")]
async fn listen(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
