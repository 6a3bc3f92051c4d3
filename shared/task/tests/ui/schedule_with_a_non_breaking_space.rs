use lamplighter::prelude::*;

#[task(schedule = "0 3\u{a0}* * *")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
