//! The `lamplighter` program on small workspaces, whose tasks print a fixed definition.

mod build;
mod credentials;
mod discovery;
mod documented;
mod fixture;
mod generate;
mod jobs;
mod manners;
mod pulse;
mod reading;
mod runner;
mod scaffold;
mod secrets;
mod side;
mod values;

use fixture::Workspace;

#[test]
fn an_invalid_command_line_exits_with_2_and_help_with_0() {
    let workspace = Workspace::new();
    for arguments in [&[][..], &["nonsense"], &["generate", "--nonsense"], &["build", "--dev", "--native"]] {
        assert_eq!(workspace.run(arguments).code, 2, "{arguments:?}");
    }
    let help = workspace.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("generate") && help.stdout.contains("build"), "{}", help.stdout);
}

#[test]
fn outside_a_workspace_commands_fail_with_one_error() {
    let workspace = Workspace::empty();
    let failed = workspace.run(&["tasks"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, ""));
    assert!(failed.stderr.starts_with("error: cannot read the cargo workspace of /"), "{}", failed.stderr);
    assert!(failed.stderr.contains("could not find `Cargo.toml`"), "{}", failed.stderr);
}
