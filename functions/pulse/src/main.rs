//! The pulse: a function that runs once a minute, starts due tasks, and ends lost runs.

lamplighter_pulse::main!();
