use lamplighter::prelude::*;

async fn report(_ctx: Context) {}

#[task(side, on_error = report)]
async fn listen(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
