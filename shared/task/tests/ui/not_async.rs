use lamplighter::prelude::*;

#[task()]
fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
