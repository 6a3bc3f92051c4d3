//! Tests of the endpoints with the real SDK clients and real child processes.

mod answers;
mod bucket;
mod draining;
mod http;
mod invoke_api;
mod lambda;
mod neighbours;
mod probe;
mod stacks;
mod table;
