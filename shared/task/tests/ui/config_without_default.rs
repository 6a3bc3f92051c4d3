use lamplighter::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Config {
    pub dry_run: bool,
}

#[task]
pub async fn migrate(_ctx: Context<Config>) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
