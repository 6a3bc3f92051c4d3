use lamplighter::prelude::*;

async fn due(_ctx: Context) -> Due {
    Ok(true)
}

#[task(schedule = due, jitter = "5m")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
