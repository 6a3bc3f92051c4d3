//! The files that are packaged with a task. None of them may lie outside its package.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lamplighter_core::assets::Asset;

/// A file or an empty folder in a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The destination, relative to the task's working directory, with `/`.
    pub to: String,
    /// The content.
    pub content: Content,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A copy of a file.
    File {
        /// The file that is copied.
        from: PathBuf,
        /// True if the file is executable.
        executable: bool,
    },
    /// A file with this text.
    Text(String),
    /// A folder with nothing in it.
    EmptyFolder,
}

/// The reason why an asset cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// `from` does not exist.
    #[error("`{asset}` is missing: {} does not exist", path.display())]
    Missing {
        /// The asset.
        asset: String,
        /// The path that does not exist.
        path: PathBuf,
    },
    /// A link points outside the package.
    #[error("`{asset}`: the link {} points outside the package, to {}", link.display(), target.display())]
    OutsidePackage {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
        /// The link's target.
        target: PathBuf,
    },
    /// The target of a link does not exist.
    #[error("`{asset}`: the target of the link {} does not exist", link.display())]
    Dangling {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
    },
    /// A link points to a folder that contains the link.
    #[error("`{asset}`: the link {} points to a folder that contains the link", link.display())]
    Endless {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
    },
    /// An entry is neither a file nor a folder, or its name is not UTF-8.
    #[error("`{asset}`: {} is {what}: only files and folders with UTF-8 names can be packaged", path.display())]
    Unfit {
        /// The asset.
        asset: String,
        /// The entry's path.
        path: PathBuf,
        /// The entry's kind.
        what: &'static str,
    },
    /// A file or a folder cannot be read.
    #[error("`{asset}`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// The asset.
        asset: String,
        /// Its path.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

/// Lists the files and empty folders of an asset of the package in `folder`, sorted by destination. Links are followed.
pub fn files(folder: &Path, asset: &Asset) -> Result<Vec<Entry>, AssetError> {
    let root = folder.canonicalize().map_err(|error| AssetError::Unreadable {
        asset: asset.from.clone(),
        path: folder.to_owned(),
        error,
    })?;
    let mut walk = Walk { asset: &asset.from, root, parents: Vec::new(), entries: Vec::new() };
    let path = folder.join(&asset.from);
    if fs::symlink_metadata(&path).is_err() {
        return Err(AssetError::Missing { asset: asset.from.clone(), path });
    }
    walk.add(&path, &asset.to)?;
    walk.entries.sort();
    Ok(walk.entries)
}

/// A walk through one asset.
struct Walk<'a> {
    asset: &'a str,
    /// The package's folder, with links resolved.
    root: PathBuf,
    /// The folders that contain the current one, with links resolved.
    parents: Vec<PathBuf>,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path, to: &str) -> Result<(), AssetError> {
        let asset = || self.asset.to_owned();
        let real = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AssetError::Dangling { asset: asset(), link: path.to_owned() },
            _ => AssetError::Unreadable { asset: asset(), path: path.to_owned(), error },
        })?;
        if !real.starts_with(&self.root) {
            return Err(AssetError::OutsidePackage { asset: asset(), link: path.to_owned(), target: real });
        }
        let metadata = fs::metadata(&real).map_err(|error| self.unreadable(path, error))?;
        if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            self.entries.push(Entry { to: to.to_owned(), content: Content::File { from: real, executable } });
            Ok(())
        } else if metadata.is_dir() {
            self.add_folder(path, real, to)
        } else {
            Err(AssetError::Unfit {
                asset: asset(),
                path: path.to_owned(),
                what: "neither a file nor a folder",
            })
        }
    }

    fn add_folder(&mut self, path: &Path, real: PathBuf, to: &str) -> Result<(), AssetError> {
        if self.parents.contains(&real) {
            return Err(AssetError::Endless { asset: self.asset.to_owned(), link: path.to_owned() });
        }
        self.parents.push(real);
        let mut is_empty = true;
        for entry in fs::read_dir(path).map_err(|error| self.unreadable(path, error))? {
            let entry = entry.map_err(|error| self.unreadable(path, error))?;
            let name = entry.file_name().into_string().map_err(|_| AssetError::Unfit {
                asset: self.asset.to_owned(),
                path: entry.path(),
                what: "not named in UTF-8",
            })?;
            is_empty = false;
            self.add(&entry.path(), &format!("{to}/{name}"))?;
        }
        if is_empty {
            self.entries.push(Entry { to: to.to_owned(), content: Content::EmptyFolder });
        }
        self.parents.pop();
        Ok(())
    }

    fn unreadable(&self, path: &Path, error: io::Error) -> AssetError {
        AssetError::Unreadable { asset: self.asset.to_owned(), path: path.to_owned(), error }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn package() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join("package").join(path);
        fs::create_dir_all(at("migrations/later")).unwrap();
        fs::create_dir_all(at("migrations/empty")).unwrap();
        fs::write(at("migrations/1.sql"), "one").unwrap();
        fs::write(at("migrations/later/2.sh"), "two").unwrap();
        fs::set_permissions(at("migrations/later/2.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("seed.sql"), "seed").unwrap();
        fs::write(folder.path().join("outside"), "secret").unwrap();
        folder
    }

    fn entries(folder: &Path) -> Result<Vec<(String, bool)>, AssetError> {
        let entries = files(&folder.join("package"), &Asset::new("migrations", Some("db")).unwrap())?;
        let executable = |content| matches!(content, Content::File { executable: true, .. });
        Ok(entries.into_iter().map(|entry| (entry.to, executable(entry.content))).collect())
    }

    #[test]
    fn l10_a_folder_is_packaged_whole_with_its_executable_bits() {
        let folder = package();
        symlink("../seed.sql", folder.path().join("package/migrations/link.sql")).unwrap();
        assert_eq!(
            entries(folder.path()).unwrap(),
            [
                ("db/1.sql".to_owned(), false),
                ("db/empty".to_owned(), false),
                ("db/later/2.sh".to_owned(), true),
                ("db/link.sql".to_owned(), false),
            ]
        );
    }

    #[test]
    fn l11_a_missing_asset_and_a_broken_link_are_named() {
        let folder = package();
        let missing = files(&folder.path().join("package"), &Asset::new("sql", None).unwrap()).unwrap_err();
        assert!(missing.to_string().starts_with("`sql` is missing"), "{missing}");
        let link = folder.path().join("package/migrations/later/link");
        for (target, message) in [
            ("../../../outside", "points outside the package"),
            ("/etc/hostname-that-is-not", "does not exist"),
            ("/etc", "points outside the package"),
            ("..", "points to a folder that contains the link"),
        ] {
            symlink(target, &link).unwrap();
            let error = entries(folder.path()).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("migrations/later/link"), "{error}");
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn l11_an_asset_that_links_to_the_outside_is_named() {
        let folder = package();
        symlink("../outside", folder.path().join("package/sneaky")).unwrap();
        let error = files(&folder.path().join("package"), &Asset::new("sneaky", None).unwrap()).unwrap_err();
        assert!(matches!(error, AssetError::OutsidePackage { .. }), "{error}");
    }
}
