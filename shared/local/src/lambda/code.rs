//! The hash of a function's code: its binary and the files of its task root.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::spec::FunctionSpec;

/// The function's `CodeSha256`: the SHA-256 in Base64 over the binary and, sorted by name, the files under the task root.
pub(crate) fn code_sha256(spec: &FunctionSpec) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    add(&mut hash, "bootstrap", &spec.command)?;
    if let Some(root) = &spec.task_root {
        let mut files = Vec::new();
        collect(root, &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            add(&mut hash, &name, &file)?;
        }
    }
    Ok(BASE64_STANDARD.encode(hash.finalize()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A link to a folder is not followed, since it may lead to a parent.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn add(hash: &mut Sha256, name: &str, path: &Path) -> std::io::Result<()> {
    let mut file = fs::File::open(path)?;
    // The lengths separate a file's name, its content and the next file's name.
    hash.update(name.len().to_le_bytes());
    hash.update(name);
    hash.update(file.metadata()?.len().to_le_bytes());
    let mut part = vec![0; 64 * 1024];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(()),
            read => hash.update(&part[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_the_binary_and_on_the_files_and_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("migrations")).unwrap();
        fs::write(folder.path().join("bootstrap"), "binary").unwrap();
        fs::write(root.join("migrations/1.sql"), "create").unwrap();
        let mut spec = FunctionSpec::new("migrate", folder.path().join("bootstrap"));
        let bare = code_sha256(&spec).unwrap();
        spec.task_root = Some(root.clone());
        let first = code_sha256(&spec).unwrap();
        assert_ne!(bare, first);
        assert_eq!(first, code_sha256(&spec).unwrap());
        fs::rename(root.join("migrations/1.sql"), root.join("migrations/2.sql")).unwrap();
        assert_ne!(first, code_sha256(&spec).unwrap());
    }
}
