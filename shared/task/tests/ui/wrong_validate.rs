use lamplighter::prelude::*;

fn check(_ctx: &Context) -> bool {
    true
}

#[task(validate = check)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
