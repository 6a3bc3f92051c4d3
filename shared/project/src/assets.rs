//! The files that go with a task: which they are, and that none of them lies outside its package.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lamplighter_core::assets::Asset;

/// A file or an empty folder of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it goes, relative to the task's working directory, with `/`.
    pub to: String,
    /// What it is.
    pub content: Content,
}

/// What stands at an entry's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// The bytes of this file.
    File {
        /// Where they are read from.
        from: PathBuf,
        /// Whether the file can be run.
        executable: bool,
    },
    /// This text.
    Text(String),
    /// A folder with nothing in it.
    EmptyFolder,
}

/// Why files cannot go with a task.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// `from` names nothing.
    #[error("`{asset}` is missing: there is no {}", path.display())]
    Missing {
        /// The asset.
        asset: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A link leads to something that is not the package's.
    #[error("`{asset}`: the link {} leads out of the package to {}", link.display(), target.display())]
    LeadsOut {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A link leads to nothing.
    #[error("`{asset}`: the link {} leads nowhere", link.display())]
    Dangling {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
    },
    /// A link leads to a folder that it is in.
    #[error("`{asset}`: the link {} leads back to a folder that it is in", link.display())]
    Endless {
        /// The asset.
        asset: String,
        /// The link.
        link: PathBuf,
    },
    /// Something is neither a file nor a folder, or has a name that no zip can have.
    #[error("`{asset}`: {} is {what}: only files and folders with names in UTF-8 can go along", path.display())]
    Unfit {
        /// The asset.
        asset: String,
        /// What it is about.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It cannot be read.
    #[error("`{asset}`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// The asset.
        asset: String,
        /// What cannot be read.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Everything that an asset of the package in `folder` stands for, sorted by place. Links are followed.
pub fn files(folder: &Path, asset: &Asset) -> Result<Vec<Entry>, AssetError> {
    let root = folder.canonicalize().map_err(|error| AssetError::Unreadable {
        asset: asset.from.clone(),
        path: folder.to_owned(),
        error,
    })?;
    let mut walk = Walk { asset: &asset.from, root, within: Vec::new(), found: Vec::new() };
    let path = folder.join(&asset.from);
    if fs::symlink_metadata(&path).is_err() {
        return Err(AssetError::Missing { asset: asset.from.clone(), path });
    }
    walk.add(&path, &asset.to)?;
    walk.found.sort();
    Ok(walk.found)
}

/// A walk through one asset.
struct Walk<'a> {
    asset: &'a str,
    /// The package's folder, without links.
    root: PathBuf,
    /// The folders that the walk is in, without links.
    within: Vec<PathBuf>,
    found: Vec<Entry>,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path, to: &str) -> Result<(), AssetError> {
        let asset = || self.asset.to_owned();
        let real = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AssetError::Dangling { asset: asset(), link: path.to_owned() },
            _ => AssetError::Unreadable { asset: asset(), path: path.to_owned(), error },
        })?;
        if !real.starts_with(&self.root) {
            return Err(AssetError::LeadsOut { asset: asset(), link: path.to_owned(), target: real });
        }
        let metadata = fs::metadata(&real).map_err(|error| self.unreadable(path, error))?;
        if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            self.found.push(Entry { to: to.to_owned(), content: Content::File { from: real, executable } });
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
        if self.within.contains(&real) {
            return Err(AssetError::Endless { asset: self.asset.to_owned(), link: path.to_owned() });
        }
        self.within.push(real);
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
            self.found.push(Entry { to: to.to_owned(), content: Content::EmptyFolder });
        }
        self.within.pop();
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
    fn l10_folders_are_taken_whole_with_their_run_bits() {
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
    fn l11_what_is_missing_or_leads_out_is_named() {
        let folder = package();
        let missing = files(&folder.path().join("package"), &Asset::new("sql", None).unwrap()).unwrap_err();
        assert!(missing.to_string().starts_with("`sql` is missing"), "{missing}");
        let link = folder.path().join("package/migrations/later/link");
        for (target, message) in [
            ("../../../outside", "leads out of the package"),
            ("/etc/hostname-that-is-not", "leads nowhere"),
            ("/etc", "leads out of the package"),
            ("..", "leads back to a folder that it is in"),
        ] {
            symlink(target, &link).unwrap();
            let error = entries(folder.path()).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("migrations/later/link"), "{error}");
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn l11_an_asset_that_is_itself_a_link_out_is_named() {
        let folder = package();
        symlink("../outside", folder.path().join("package/sneaky")).unwrap();
        let error = files(&folder.path().join("package"), &Asset::new("sneaky", None).unwrap()).unwrap_err();
        assert!(matches!(error, AssetError::LeadsOut { .. }), "{error}");
    }
}
