//! The function of the task `import-users`.

lamplighter::main!(import_users::ImportUsers);
