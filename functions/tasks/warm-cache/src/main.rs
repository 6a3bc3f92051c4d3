//! The function of the task `warm-cache`.

lamplighter::main!(warm_cache::WarmCache);
