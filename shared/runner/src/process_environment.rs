//! The common environment of all processes of a project on this machine, whichever command starts them: the current folder and
//! the inherited variables.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use lamplighter_project::workspace::Workspace;

/// The prefixes of variables that are not inherited. The host sets those for AWS and the table itself.
const WITHHELD: [&str; 2] = ["AWS_", "LAMPLIGHTER_"];
/// The variable in which shells keep the current folder.
const CURRENT_FOLDER: &str = "PWD";
/// The variable in which shells keep the previous folder.
const FOLDER_BEFORE: &str = "OLDPWD";

/// The common environment of all processes of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEnvironment {
    /// The current folder: that of the project, from which no build removes files.
    pub folder: PathBuf,
    /// The inherited variables, passed on byte for byte.
    pub variables: Vec<(OsString, OsString)>,
}

impl ProcessEnvironment {
    /// The environment of a workspace's processes, with the variables of this process.
    pub fn of(workspace: &Workspace) -> Self {
        Self::with(workspace.root.clone(), std::env::vars_os())
    }

    fn with(folder: PathBuf, own: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut variables: Vec<_> = own.filter(|(name, _)| is_passed_on(name)).collect();
        variables.push((CURRENT_FOLDER.into(), folder.clone().into()));
        Self { folder, variables }
    }
}

fn is_passed_on(name: &OsStr) -> bool {
    let is_withheld = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
    name != CURRENT_FOLDER && name != FOLDER_BEFORE && !WITHHELD.into_iter().any(is_withheld)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn variables_are_passed_on_unchanged_except_those_that_the_host_sets() {
        let own = |name: &[u8], value: &[u8]| {
            (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))
        };
        let passed = [
            own(b"DATABASE_URL", b"sqlite:app.sqlite"),
            own(b"BAD", b"\xa3"),
            own(b"B\xa3D", b"1"),
            own(b"EMPTY", b""),
            own(b"MY_AWS_REGION", b"x"),
        ];
        let withheld = [
            own(b"AWS_REGION", b"eu-west-1"),
            own(b"AWS_\xa3", b"x"),
            own(b"LAMPLIGHTER_TABLE", b"\xa3"),
            own(b"PWD", b"/elsewhere"),
            own(b"OLDPWD", b"/before"),
        ];
        let all = passed.iter().chain(&withheld).cloned();
        let passed_on = ProcessEnvironment::with("/work/shop".into(), all).variables;
        assert_eq!(passed_on, [&passed[..], &[own(b"PWD", b"/work/shop")]].concat());
    }
}
