use lamplighter::prelude::*;

#[derive(Serialize, Deserialize)]
struct Letter;

#[task(queue)]
async fn send(_ctx: Context, _letter: Letter) -> TaskResult {
    Ok(Outcome::success("done"))
}

fn main() {}
