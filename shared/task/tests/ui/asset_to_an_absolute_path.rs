use lamplighter::prelude::*;

#[task(copy_assets = [("scripts/setup.sql", "/tmp/setup.sql")])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
