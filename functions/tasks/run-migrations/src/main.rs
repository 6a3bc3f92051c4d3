//! The function of the task `run-migrations`.

lamplighter::main!(run_migrations::RunMigrations);
