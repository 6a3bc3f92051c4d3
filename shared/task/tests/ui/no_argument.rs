use lamplighter::prelude::*;

#[task()]
async fn migrate() -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
