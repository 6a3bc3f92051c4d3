use lamplighter::prelude::*;

#[task(retention = "30")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
