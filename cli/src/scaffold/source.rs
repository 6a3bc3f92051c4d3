//! Where the crates of Lamplighter come from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use toml_edit::{InlineTable, Value};

/// The version of the crates that fit this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The crates that a project's own packages stand on.
const OURS: [&str; 7] = [
    "lamplighter",
    "lamplighter-aws",
    "lamplighter-core",
    "lamplighter-dispatcher",
    "lamplighter-local",
    "lamplighter-macros",
    "lamplighter-pulse",
];
/// The depth of the folders that are searched for crates below a path.
const DEPTH: usize = 3;

/// The source of the crates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// The registry, in this program's version.
    #[default]
    Registry,
    /// A folder with the crates: this repository, or unpacked packages.
    Path(PathBuf),
    /// A Git repository, by its URL.
    Git(String),
}

/// The error of a source that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    /// The text has another form.
    #[error("`{0}` is not a source: give `registry`, `path:FOLDER` or `git:URL`")]
    Form(String),
    /// The folder has no crates.
    #[error("the folder {} has no crate `{name}`: name the repository, or a folder with the unpacked packages", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The missing crate.
        name: &'static str,
    },
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            _ if text == "registry" => Ok(Self::Registry),
            Some(("path", folder)) if !folder.is_empty() => Ok(Self::Path(folder.into())),
            Some(("git", url)) if !url.is_empty() => Ok(Self::Git(url.to_owned())),
            _ => Err(SourceError::Form(text.to_owned())),
        }
    }
}

/// The crates of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Crates {
    /// Those of the registry.
    Registry,
    /// Those of a Git repository.
    Git(String),
    /// Those of folders, by their names. They depend on each other by version, so the registry's must be replaced by them.
    Folders(BTreeMap<String, PathBuf>),
}

impl Source {
    /// Finds the crates. `needed` must be among them.
    pub(crate) fn crates(&self, current: &Path, needed: &[&'static str]) -> Result<Crates, SourceError> {
        match self {
            Self::Registry => Ok(Crates::Registry),
            Self::Git(url) => Ok(Crates::Git(url.clone())),
            Self::Path(folder) => {
                let folder = current.join(folder);
                let folder = folder.canonicalize().unwrap_or(folder);
                let mut found = BTreeMap::new();
                find(&folder, DEPTH, &mut found);
                match needed.iter().find(|name| !found.contains_key(**name)) {
                    Some(name) => Err(SourceError::Missing { folder, name }),
                    None => Ok(Crates::Folders(found)),
                }
            }
        }
    }
}

/// Finds the crates of Lamplighter in a folder and below.
fn find(folder: &Path, depth: usize, found: &mut BTreeMap<String, PathBuf>) {
    if let Some(name) = package(folder) {
        if OURS.contains(&name.as_str()) {
            found.insert(name, folder.to_owned());
        }
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if path.is_dir() && !is_hidden && entry.file_name() != "target" {
            find(&path, depth - 1, found);
        }
    }
}

/// Returns the name of the package in a folder, if it has one.
fn package(folder: &Path) -> Option<String> {
    let manifest: toml_edit::DocumentMut =
        fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

impl Crates {
    /// Returns the value of a dependency on a crate.
    pub(crate) fn dependency(&self, name: &str) -> Value {
        let (key, value) = match self {
            Self::Registry => return VERSION.into(),
            Self::Git(url) => ("git", url.clone()),
            Self::Folders(folders) => match folders.get(name) {
                Some(folder) => ("path", folder.to_string_lossy().into_owned()),
                None => return VERSION.into(),
            },
        };
        Value::InlineTable(InlineTable::from_iter([(key, Value::from(value))]))
    }

    /// Iterates over the folders that replace the registry's crates.
    pub(crate) fn patches(&self) -> impl Iterator<Item = (&str, &Path)> {
        let folders = match self {
            Self::Folders(folders) => Some(folders),
            Self::Registry | Self::Git(_) => None,
        };
        folders.into_iter().flatten().map(|(name, folder)| (name.as_str(), folder.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_the_registry_a_folder_or_a_repository() {
        assert_eq!("registry".parse(), Ok(Source::Registry));
        assert_eq!("path:../x".parse(), Ok(Source::Path("../x".into())));
        assert_eq!("git:https://host/x".parse(), Ok(Source::Git("https://host/x".into())));
        for bad in ["", "path:", "git:", "../x", "crates"] {
            assert_eq!(bad.parse::<Source>(), Err(SourceError::Form(bad.to_owned())));
        }
    }

    #[test]
    fn the_crates_of_a_folder_are_found_by_their_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let crates = Source::Path("..".into())
            .crates(Path::new(env!("CARGO_MANIFEST_DIR")), &["lamplighter"])
            .unwrap();
        let patched: BTreeMap<_, _> = crates.patches().collect();
        assert_eq!(patched["lamplighter"], root.join("shared/task").canonicalize().unwrap());
        assert!(crates.dependency("lamplighter-pulse").to_string().contains("shared/pulse"));
        let empty = tempfile::tempdir().unwrap();
        let missing = Source::Path(".".into()).crates(empty.path(), &["lamplighter"]).unwrap_err();
        assert!(missing.to_string().ends_with("a folder with the unpacked packages"), "{missing}");
    }
}
