//! Every decision Lamplighter takes, pure: no async, AWS, clock, randomness, environment or logging.
//!
//! What is read from the world (the time, an item of the table, a custom-resource event) comes in as a value,
//! and what shall happen goes out as one. So each rule is a function that a table of cases or a property can
//! test, and the crates around it carry the decisions out.
//!
//! - [`name`], [`id`]: the words by which tasks and runs are known
//! - [`project`]: the name of a project and its stack
//! - [`definition`]: what a task says of itself
//! - [`status`], [`run`]: one execution and its record
//! - [`envelope`]: what a task's function is sent, and what it reports
//! - [`reason`]: reasons why a run did not begin or did not complete
//! - [`claim`]: who may run a task now
//! - [`holder`]: the word that distinguishes one claim from every other
//! - [`retry`]: what follows a failed attempt
//! - [`job`]: a run of a queue task, from its enqueue to its record
//! - [`deployment`]: which tasks a deployment runs, in which order, with which context, and its answer
//! - [`schedule`], [`catch_up`], [`zone`]: when a cron task is due, and the EventBridge form of its schedule
//! - [`near`]: what somebody may have meant
//! - [`pulse`]: once a minute, which ticks are due and what to do with them
//! - [`runner`]: what a runner says of itself
//! - [`notify`]: who is told when a task fails, and what
//! - [`assets`]: which files go with a task
//! - [`side`]: for how long a runner has a side task, and when it is started again
//! - [`value`]: JSON values as they are sent and stored
//! - [`schema`]: whether a value is what a JSON Schema says, and what follows from that for overrides
//! - [`settings`]: what a project or an environment says differently
//! - [`secret`], [`hidden`]: what must not be shown
//! - [`resolve`]: references to values that CloudFormation resolves, and the way of those values to a task
//! - [`statistics`]: what many runs come to, and which of it is kept
//! - [`coming`], [`why`]: when a task will run, and why it did or did not

pub mod assets;
pub mod catch_up;
pub mod claim;
pub mod coming;
pub mod definition;
pub mod deployment;
pub mod duration;
pub mod envelope;
pub mod hidden;
pub mod holder;
pub mod id;
pub mod job;
pub mod name;
pub mod near;
pub mod notify;
pub mod project;
pub mod pulse;
pub mod reason;
pub mod resolve;
pub mod retry;
pub mod run;
pub mod runner;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod side;
pub mod statistics;
pub mod status;
pub mod value;
pub mod why;
pub mod zone;
