//! Properties of the decisions: compared with other libraries, and with generated schemas.

mod eventbridge;
mod schedules;
mod schemas;
