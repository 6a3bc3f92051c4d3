use lamplighter::prelude::*;

#[task(schedule = "")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
