//! Files that go with a task, and their places below its working directory.

use serde::{Deserialize, Serialize};

/// A file or folder that is copied next to a task's binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Asset {
    /// The source, relative to the task's package.
    pub from: String,
    /// The target, relative to the task's working directory. By default it is the base name of `from`.
    pub to: String,
}

/// An asset as it is written, before its paths are checked.
#[derive(Deserialize)]
struct Unchecked {
    from: String,
    to: Option<String>,
}

/// The error of a path that cannot name an asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asset {role} `{path}` {fault}")]
pub struct InvalidAsset {
    /// The path at fault: `from` or `to`.
    pub role: &'static str,
    /// The path as given.
    pub path: String,
    /// The fault, and what is allowed.
    pub fault: &'static str,
}

impl Asset {
    /// Creates an asset of the package at `from`, placed at `to` or at the base name of `from`.
    ///
    /// Both paths must be relative and must not lead out of their folder with `..`. The build checks that
    /// `from` exists.
    pub fn new(from: &str, to: Option<&str>) -> Result<Self, InvalidAsset> {
        let from = inside("from", from)?;
        let base = || from.rsplit('/').next().unwrap_or_default().to_owned();
        let to = to.map_or_else(|| Ok(base()), |to| inside("to", to))?;
        Ok(Self { from, to })
    }
}

impl TryFrom<Unchecked> for Asset {
    type Error = InvalidAsset;

    fn try_from(asset: Unchecked) -> Result<Self, InvalidAsset> {
        Self::new(&asset.from, asset.to.as_deref())
    }
}

/// Returns the path without empty and `.` parts, if it stays inside its folder.
fn inside(role: &'static str, path: &str) -> Result<String, InvalidAsset> {
    let refused = |fault| Err(InvalidAsset { role, path: path.to_owned(), fault });
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.starts_with('/') {
        refused("is absolute: it must be relative")
    } else if parts.contains(&"..") {
        refused("leads out with `..`: it must stay inside")
    } else if parts.is_empty() {
        refused("is empty: it must name a file or folder")
    } else if path.contains(['\\', '\0']) {
        refused("contains a backslash or NUL: it must be a path with `/`")
    } else {
        Ok(parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l10_the_default_of_to_is_the_base_name() {
        assert_eq!(Asset::new("scripts/setup.sql", None).unwrap().to, "setup.sql");
        assert_eq!(Asset::new("./migrations/", None).unwrap().to, "migrations");
        assert_eq!(Asset::new("a", Some("b/./c")).unwrap().to, "b/c");
    }

    #[test]
    fn l11_a_path_that_leaves_the_folder_is_named() {
        for (from, to, role) in [
            ("../shared", None, "from"),
            ("/etc/passwd", None, "from"),
            ("", None, "from"),
            (".", None, "from"),
            ("a", Some("/b"), "to"),
            ("a", Some("b/../../c"), "to"),
            ("a", Some(""), "to"),
        ] {
            assert_eq!(Asset::new(from, to).unwrap_err().role, role, "{from} {to:?}");
        }
    }
}
