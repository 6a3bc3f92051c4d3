use lamplighter::prelude::*;

async fn due(_ctx: Context) -> bool {
    true
}

#[task(schedule = due)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
