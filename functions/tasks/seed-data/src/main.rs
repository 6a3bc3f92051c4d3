//! The function of the task `seed-data`.

lamplighter::main!(seed_data::SeedData);
