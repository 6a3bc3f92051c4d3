use lamplighter::prelude::*;

#[task(schedule = "0 0 31 2 *")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
