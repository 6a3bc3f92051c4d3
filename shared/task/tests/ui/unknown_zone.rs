use lamplighter::prelude::*;

#[task(schedule = "0 3 * * *", timezone = "Europe/Wien")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
