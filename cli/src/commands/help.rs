//! The list of commands in `lamplighter --help`, in groups.
//!
//! clap has no groups for subcommands, so the program's help is a template that [`GROUPS`] is rendered into.

use std::fmt::Write as _;

use anstyle::Style;
use clap::Subcommand as _;

use super::Command;

/// The commands by group, in the order of the help. A test holds the names to the real subcommands.
pub(crate) const GROUPS: [(&str, &[&str]); 6] = [
    ("Project", &["new", "init", "add", "tasks", "types", "generate", "build", "completions"]),
    ("Deploy", &["up"]),
    ("Observe", &["history", "stats", "cost", "next", "why", "logs"]),
    ("Operate", &["run", "retry", "cancel", "enable", "disable", "set", "pulse"]),
    ("Jobs", &["enqueue", "status", "result", "abort", "jobs"]),
    ("Runner", &["start", "dev", "runner"]),
];

/// The template of the program's help: the groups, and one line for each command.
pub(crate) fn template() -> String {
    let program = Command::augment_subcommands(clap::Command::new("lamplighter"));
    let heading = Style::new().bold().underline();
    let name_style = Style::new().bold();
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or(0);
    let mut groups = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(groups, "{heading}{title}:{heading:#}");
        for name in names {
            let about = program.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(groups, "  {name_style}{name:width$}{name_style:#}  {about}");
        }
        groups.push('\n');
    }
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Options:{heading:#}\n\
         {{options}}{{after-help}}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn k06_every_command_is_in_one_group_and_has_one_line() {
        let program = Command::augment_subcommands(clap::Command::new("lamplighter"));
        let commands: BTreeSet<_> = program.get_subcommands().map(clap::Command::get_name).collect();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(grouped.len(), commands.len(), "each command is in one group");
        assert_eq!(grouped.into_iter().collect::<BTreeSet<_>>(), commands);
        let help = anstream::adapter::strip_str(&template()).to_string();
        for command in program.get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let line = help.lines().find(|line| line.split_whitespace().next() == Some(name));
            let line = line.unwrap_or_else(|| panic!("`{name}` is not in the help"));
            assert!(!about.is_empty() && line.ends_with(&about), "{line}");
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
