use lamplighter::prelude::*;

#[task(copy_assets = ["migrations", "../shared"])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
