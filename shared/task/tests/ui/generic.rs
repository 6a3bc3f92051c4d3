use lamplighter::prelude::*;

#[task()]
async fn migrate<T: Send>(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
