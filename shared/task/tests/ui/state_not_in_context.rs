use lamplighter::prelude::*;

async fn open(_ctx: Context) -> Result<u32, TaskError> {
    Ok(7)
}

#[task(state = open)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
