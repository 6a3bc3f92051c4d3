use lamplighter::prelude::*;

#[task()]
async fn migrate(_ctx: Context) {
    drop(_ctx);
}

fn main() {}
