//! The function of the task `purge-expired`.

lamplighter::main!(purge_expired::PurgeExpired);
