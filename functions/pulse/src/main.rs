//! The function that runs once a minute: it starts the due tasks and finds the lost runs.

lamplighter_pulse::main!();
