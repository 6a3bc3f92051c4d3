use lamplighter::prelude::*;

#[task(copy_assets = [7])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
