//! The function of the task `refresh-statistics`.

lamplighter::main!(refresh_statistics::RefreshStatistics);
