//! The process of the task `{{task}}`.

lamplighter::main!({{module}}::{{type}});
