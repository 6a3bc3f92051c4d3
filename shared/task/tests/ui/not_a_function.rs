use lamplighter::prelude::*;

#[task]
pub struct Migrate;

fn main() {}
