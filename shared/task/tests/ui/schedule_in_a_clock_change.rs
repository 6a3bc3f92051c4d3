use lamplighter::prelude::*;

#[task(schedule = "30 2 * 3 SUN#L", timezone = "Europe/Vienna")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
