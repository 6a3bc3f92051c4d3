use lamplighter::prelude::*;

#[task(schedule = "61 * * * *")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
