//! The function behind the stack's custom resources: it runs the tasks of a deployment.

lamplighter_dispatcher::main!();
