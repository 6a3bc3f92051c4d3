use lamplighter::prelude::*;

#[task(run_on = [Deploy, Delete])]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
