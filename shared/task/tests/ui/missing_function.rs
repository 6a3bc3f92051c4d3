use lamplighter::prelude::*;

#[task(validate = check)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
