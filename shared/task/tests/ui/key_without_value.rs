use lamplighter::prelude::*;

#[task(run_on = [Deploy], timeout)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
