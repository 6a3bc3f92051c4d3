use lamplighter::prelude::*;

#[task(schedule = checks::due)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
