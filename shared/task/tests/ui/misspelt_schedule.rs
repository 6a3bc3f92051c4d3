use lamplighter::prelude::*;

#[task(schedule = "0 6 * * MOM")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
