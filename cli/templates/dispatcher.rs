//! The dispatcher: the function of the stack's custom resources, which runs the tasks of a deployment.

lamplighter_dispatcher::main!();
