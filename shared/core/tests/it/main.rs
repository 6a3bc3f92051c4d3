//! Properties of the decisions: against other libraries, against models, and with generated schemas.

mod deployment;
mod eventbridge;
mod lock;
mod schedules;
mod schemas;
