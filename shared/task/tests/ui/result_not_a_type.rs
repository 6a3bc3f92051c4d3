use lamplighter::prelude::*;

#[task(result = "Found")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
