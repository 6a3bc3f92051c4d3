use lamplighter::prelude::*;

#[task(rollback = "undo")]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
