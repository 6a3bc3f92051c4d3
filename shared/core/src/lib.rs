//! The decisions of Lamplighter, as pure functions: no async, AWS, clock, randomness, environment or logging.
//!
//! Input arrives as a value: the time, an item of the table, an event of a custom resource. The result is a
//! value too. So each rule is a function that a table of cases or a property can test. The crates above this
//! one execute the decisions.
//!
//! - [`name`], [`id`]: names of tasks and ids of runs
//! - [`project`]: the name of a project and its stack
//! - [`definition`]: a task's definition
//! - [`status`], [`run`]: one execution of a task, and its record
//! - [`envelope`]: the request to a task's function, and its report
//! - [`reason`]: the reasons why a run did not start or did not complete
//! - [`claim`]: the lease of a task
//! - [`holder`]: the unique id of one claim
//! - [`retry`]: attempts, and the backoff between them; [`backoff`]: the backoff of polling loops
//! - [`constraint`]: limits by key, and unique jobs
//! - [`job`]: a run of a queue task, from its enqueue to its record
//! - [`deployed`]: the tasks of a stack as they were last deployed
//! - [`deployment`]: the tasks that a deployment runs, their order and context, and its answer
//! - [`schedule`], [`catch_up`], [`zone`]: the ticks of a cron task, and the EventBridge form of its schedule
//! - [`suggest`]: suggestions for a misspelled word
//! - [`pulse`]: once a minute, the ticks that are due and the action for each
//! - [`runner`]: the record of a runner
//! - [`notification`]: notifications about failures, and their redelivery
//! - [`assets`]: files that go with a task
//! - [`side`]: the lease of a side task, and its restarts
//! - [`value`]: JSON values as they are sent and stored; [`digest`]: digests of content
//! - [`schema`]: checks of a value against a JSON Schema, and overrides
//! - [`settings`]: overrides of a project or an environment
//! - [`secret`], [`hidden`]: masking of secrets
//! - [`resolve`]: references that CloudFormation resolves, and how their values reach a task
//! - [`statistics`]: counts and durations of runs, and their rollups; [`cost`]: the estimated cost of a month
//! - [`coming`], [`why`]: when a task will run, and why it did or did not

pub mod assets;
pub mod backoff;
pub mod catch_up;
pub mod claim;
pub mod coming;
pub mod constraint;
pub mod cost;
pub mod definition;
pub mod deployed;
pub mod deployment;
pub mod digest;
pub mod duration;
pub mod envelope;
pub mod hidden;
pub mod holder;
pub mod id;
pub mod job;
pub mod name;
pub mod notification;
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
pub mod suggest;
pub mod value;
pub mod why;
pub mod zone;
