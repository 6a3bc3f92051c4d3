use lamplighter::prelude::*;

#[task(schedule = "0 0 0 1 1 * 2020")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
