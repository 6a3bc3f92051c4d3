use lamplighter::prelude::*;

#[task(depends_on = "seed-data")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
