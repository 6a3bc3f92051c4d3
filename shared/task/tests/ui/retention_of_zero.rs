use lamplighter::prelude::*;

#[task(retention = "0s")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
