//! What runs on this machine: a deployment, and the runner that starts the tasks of a workspace for as long as it lives.
//!
//! The AWS parts, in this process:
//!
//! - [`home`]: the folder of it all, its owner's only
//! - [`storage`]: the table, in a file that commands share, and the bucket; [`server`]: how they find each other
//! - [`home`]: the folder of both; [`objects`]: which of the bucket are kept
//! - [`machine`]: the functions' host and the endpoints that they are told of
//! - [`surroundings`]: the current folder and the variables that all processes have
//!
//! CloudFormation's part in a deployment:
//!
//! - [`stack`]: a stack as CloudFormation sees it: its resources, its status, its memory between deployments
//! - [`deploy`]: create, update and roll back, with real events to the real dispatcher
//!
//! The runner:
//!
//! - [`variables`]: what the environment says to it
//! - [`start`]: from a workspace to a runner that is ready
//! - [`service`]: its parts, started and stopped together; read this first
//! - [`side`]: a side task, kept by one runner of all
//! - [`watching`]: what `dev` does besides; [`sources`]: which files it watches
//! - [`queue`]: jobs, by priority; [`bell`]: where it hears of them
//! - [`scheduler`]: cron tasks at their ticks; [`presence`]: what it says of itself; [`reporter`]: what it shows
//! - [`liveness`]: by what it is known to be dead, and its jobs to be free

mod attempts;
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
pub mod queue;
pub mod scheduler;
pub mod service;
pub mod side;
mod sides;
pub mod sources;
pub mod stack;
pub mod start;
pub mod storage;
pub mod surroundings;
pub mod table_server;
pub mod variables;
pub mod wake;
pub mod watching;
