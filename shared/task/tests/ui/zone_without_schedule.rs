use lamplighter::prelude::*;

#[task(timezone = "Europe/Vienna")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
