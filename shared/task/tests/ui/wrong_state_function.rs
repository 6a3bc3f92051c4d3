use lamplighter::prelude::*;

async fn open(_ctx: Context) -> Result<String, TaskError> {
    Ok(String::new())
}

#[task(state = open)]
async fn migrate(_ctx: Context<(), u32>) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
