use lamplighter::prelude::*;

#[derive(Serialize)]
pub struct Found {
    pub files: u32,
}

#[task(result = Found)]
async fn migrate(_ctx: Context) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
