//! The pulse: the function that finds missed ticks, lost runs and orphaned jobs each minute.

lamplighter_pulse::main!();
