use lamplighter::prelude::*;

#[task()]
async fn migrate(_ctx: Context) -> u32 {
    7
}

fn main() {}
