//! The version of Lamplighter that a package is built with, which must agree with this program's.
//!
//! Two versions agree if cargo considers them compatible: their first number that is not zero has the same position and
//! value. Source: the Cargo Book, "Specifying Dependencies".

use cargo_metadata::{
    Package,
    semver::{Comparator, Op, Version, VersionReq},
};

/// This program's version.
pub const OURS: &str = env!("CARGO_PKG_VERSION");

/// The library crates of a project, each of which has this program's version.
const CRATES: [&str; 3] = ["lamplighter", "lamplighter-dispatcher", "lamplighter-pulse"];

/// Checks that a package depends only on versions of Lamplighter's crates that agree with ours. The error names the
/// first other dependency, and the remedy.
///
/// A dependency by path or git has no version here. The version that its task prints is checked instead.
pub(crate) fn check_dependencies(package: &Package) -> Result<(), String> {
    let of_ours = |name: &str| CRATES.into_iter().find(|ours| *ours == name);
    for dependency in &package.dependencies {
        if let Some(name) = of_ours(&dependency.name)
            && !agrees(&dependency.req, &ours())
        {
            let theirs = dependency.req.comparators.first().map_or(Version::new(0, 0, 0), version_of);
            return Err(format!(
                "depends on `{name}` {}, but this program is lamplighter {OURS}: {}",
                dependency.req.to_string().trim_start_matches('^'),
                remedy(name, &package.name, &theirs),
            ));
        }
    }
    Ok(())
}

/// Checks the version that a task of a package prints.
pub(crate) fn check_task(package: &str, theirs: &str) -> Result<(), String> {
    match Version::parse(theirs) {
        Ok(theirs) if is_compatible(&theirs, &ours()) => Ok(()),
        Ok(theirs) => Err(format!(
            "it was built with `lamplighter` {theirs}, but this program is lamplighter {OURS}: {}",
            remedy("lamplighter", package, &theirs)
        )),
        Err(error) => {
            Err(format!("it was built with `lamplighter` `{theirs}`, which is no version: {error}"))
        }
    }
}

/// Returns the remedy for a mismatch: to upgrade the older of the two versions.
fn remedy(name: &str, package: &str, theirs: &Version) -> String {
    if *theirs > ours() {
        format!("run `cargo install 'lamplighter-cli@^{}'`", line(theirs))
    } else {
        format!(
            "set the version of `{name}` to `{}` in `[workspace.dependencies]`, or in the manifest of `{package}`",
            line(&ours())
        )
    }
}

/// The numbers that compatible versions share.
fn line(version: &Version) -> String {
    match (version.major, version.minor) {
        (0, 0) => format!("0.0.{}", version.patch),
        (0, minor) => format!("0.{minor}"),
        (major, _) => major.to_string(),
    }
}

fn is_compatible(a: &Version, b: &Version) -> bool {
    line(a) == line(b)
}

/// Returns true if a version that is compatible with ours may satisfy the requirement.
fn agrees(requirement: &VersionReq, ours: &Version) -> bool {
    let may_be = |comparator: &Comparator| {
        let theirs = version_of(comparator);
        match comparator.op {
            Op::Less => theirs > *ours || (is_compatible(&theirs, ours) && theirs != first(ours)),
            Op::LessEq => theirs > *ours || is_compatible(&theirs, ours),
            Op::Greater | Op::GreaterEq => theirs <= *ours || is_compatible(&theirs, ours),
            // `1` and `0` name all minor versions.
            _ => match comparator.minor {
                None => theirs.major == ours.major,
                Some(_) => is_compatible(&theirs, ours),
            },
        }
    };
    requirement.matches(ours) || requirement.comparators.iter().all(may_be)
}

/// The lowest version that is compatible with this one.
fn first(version: &Version) -> Version {
    match (version.major, version.minor) {
        (0, 0) => Version::new(0, 0, version.patch),
        (0, minor) => Version::new(0, minor, 0),
        (major, _) => Version::new(major, 0, 0),
    }
}

fn version_of(comparator: &Comparator) -> Version {
    Version::new(comparator.major, comparator.minor.unwrap_or(0), comparator.patch.unwrap_or(0))
}

fn ours() -> Version {
    // Cargo accepts no other version in a manifest.
    Version::parse(OURS).expect("cargo has checked the version of this crate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_agrees_if_a_compatible_version_satisfies_it() {
        let ours = Version::new(0, 3, 2);
        for (requirement, expected) in [
            ("0.3", true),
            ("0.3.9", true),
            ("=0.3.7", true),
            ("~0.3.1", true),
            ("0", true),
            ("*", true),
            (">=0.2, <0.4", true),
            (">=0.3.5", true),
            ("<0.3.1", true),
            ("0.2", false),
            ("0.2.9", false),
            ("0.4", false),
            ("1", false),
            ("=0.2.2", false),
            (">=0.4", false),
            (">=0.1, <0.3.0-beta", false),
            (">=0.2, <0.3", false),
            (">=0.2, <0.3.1", true),
            ("<0.2", false),
        ] {
            assert_eq!(agrees(&requirement.parse().unwrap(), &ours), expected, "{requirement}");
        }
        let ours = Version::new(2, 3, 2);
        for (requirement, expected) in [("2", true), ("2.9", true), ("1.9", false), ("3", false)] {
            assert_eq!(agrees(&requirement.parse().unwrap(), &ours), expected, "{requirement}");
        }
    }

    #[test]
    fn the_older_side_of_a_mismatch_is_replaced() {
        assert_eq!(check_task("tidy", OURS), Ok(()));
        let error = check_task("tidy", "99.1.0").unwrap_err();
        let expected = format!(
            "it was built with `lamplighter` 99.1.0, but this program is lamplighter {OURS}: run `cargo install 'lamplighter-cli@^99'`"
        );
        assert_eq!(error, expected);
        let error = check_task("tidy", "0.0.7").unwrap_err();
        let expected = format!(
            "set the version of `lamplighter` to `{}` in `[workspace.dependencies]`, or in the manifest of `tidy`",
            line(&ours())
        );
        assert!(error.ends_with(&expected), "{error}");
        assert!(check_task("tidy", "soon").unwrap_err().contains("is no version"));
    }
}
