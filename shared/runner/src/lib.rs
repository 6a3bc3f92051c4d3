//! Runs the tasks of a project on this machine: a deployment to it (`lamplighter up`), and the runner (`start` and `dev`).
//!
//! The local stack, in this process:
//!
//! - [`home`]: the private folder of this machine's stacks
//! - [`location`]: where a stack is, on this machine or in AWS
//! - [`storage`]: the table, in a file that several processes share, and the bucket
//! - [`table_server`]: how the process that has the table's file serves it to the others
//! - [`objects`]: deletes objects of the bucket whose records have expired
//! - [`machine`]: the Lambda host, and the endpoints of the other services
//! - [`process_environment`]: the current folder and the variables of every task's process
//! - [`logs`], [`lines`]: the log files of the functions, written and read
//!
//! Deployments to this machine, in place of CloudFormation:
//!
//! - [`stack`]: the stored state of a stack: its version and its custom resources
//! - [`deploy`]: create, update and roll back, with real events to the real dispatcher
//!
//! The runner:
//!
//! - [`variables`]: its environment variables
//! - [`build`]: compiles and packages the workspace
//! - [`start`]: creates a runner from what was built
//! - [`service`]: the parts of a runner, started and stopped together; read this first
//! - [`stop_signals`]: the first and the second Ctrl-C
//! - [`scheduler`]: runs cron tasks at their ticks
//! - [`queue`]: runs jobs by priority, with `attempts`, which invokes their functions; [`wake`]: the socket for wake-ups
//! - [`side`]: supervises one side task, and `sides` all of them
//! - [`watching`]: rebuilds after changes in the sources, for `dev`; [`sources`]: which files these are
//! - [`presence`]: the runner's own record in the table, with its heartbeat
//! - [`liveness`]: the locks that show which runners have died
//! - [`events`]: the events of a runner, for its reporter

mod attempts;
pub mod build;
pub mod deploy;
pub mod events;
pub mod home;
pub mod lines;
pub mod liveness;
pub mod location;
pub mod logs;
pub mod machine;
pub mod objects;
pub mod presence;
pub mod process_environment;
pub mod queue;
pub mod scheduler;
pub mod service;
pub mod side;
mod sides;
pub mod sources;
pub mod stack;
pub mod start;
pub mod stop_signals;
pub mod storage;
pub mod table_server;
pub mod variables;
pub mod wake;
pub mod watching;
