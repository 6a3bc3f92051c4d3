use lamplighter::prelude::*;

#[task(depends_on = ["seed-data", "Seed Data"])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
