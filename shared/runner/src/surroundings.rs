//! What all processes of a project on this machine have in common, whichever command starts them: their current folder, and the
//! variables of the environment that are passed on.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use lamplighter_project::workspace::Workspace;

/// How the variables begin that are not passed on: how AWS and the table are reached, a process is told by its host.
const WITHHELD: [&str; 2] = ["AWS_", "LAMPLIGHTER_"];
/// The variables by which shells name the current folder, and the one before it.
const CURRENT_FOLDER: &str = "PWD";
const FOLDER_BEFORE: &str = "OLDPWD";

/// What all processes of a project have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Their current folder: the project's, so that no build removes what they write there.
    pub folder: PathBuf,
    /// The variables that they have as they are, whatever bytes they are of.
    pub variables: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Those of a workspace's processes, with the environment of this one.
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
    fn variables_are_passed_on_as_they_are_but_for_those_that_a_host_sets() {
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
        let told = Surroundings::with("/work/shop".into(), all).variables;
        assert_eq!(told, [&passed[..], &[own(b"PWD", b"/work/shop")]].concat());
    }
}
