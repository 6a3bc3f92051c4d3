//! The dispatcher: the function behind the stack's custom resources, which runs the tasks of a deployment.

lamplighter_dispatcher::main!();
