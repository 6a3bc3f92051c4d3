//! Reads the files and prepares them for publication: MIME type, hashed name, and compressed content.

use std::{
    fs,
    path::{Path, PathBuf},
};

use brotli::enc::BrotliEncoderParams;
use sha2::{Digest, Sha256};

/// A file to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path in the folder, with `/` as separator.
    pub name: String,
    /// The same path with a hash of the content before the extension: `css/app.3f2a9c0d1e4b.css`.
    pub hashed_name: String,
    /// Its MIME type.
    pub content_type: &'static str,
    /// `br` if the body is compressed.
    pub encoding: Option<&'static str>,
    /// The content to upload.
    pub body: Vec<u8>,
}

/// An error of preparing the files.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// The folder or one of its files cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file cannot be compressed.
    #[error("cannot compress {name}")]
    Compress {
        /// The file's name.
        name: String,
        /// The compressor's error.
        source: std::io::Error,
    },
}

/// The number of bytes of the SHA-256 in a name, each with two digits.
const HASH_BYTES: usize = 6;
/// Brotli's quality, at most 11. The two highest levels take ten times as long and save a few percent.
const QUALITY: i32 = 9;

/// Reads all files in a folder and its subfolders, sorted by name. Hidden files are skipped.
pub fn prepare(folder: &Path) -> Result<Vec<File>, AssetsError> {
    let mut paths = Vec::new();
    walk(folder, "", &mut paths)?;
    paths.sort();
    paths.into_iter().map(|(name, path)| file(name, &path)).collect()
}

fn walk(folder: &Path, above: &str, paths: &mut Vec<(String, PathBuf)>) -> Result<(), AssetsError> {
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{above}{name}");
        if path.is_dir() {
            walk(&path, &format!("{name}/"), paths)?;
        } else {
            paths.push((name, path));
        }
    }
    Ok(())
}

fn file(name: String, path: &Path) -> Result<File, AssetsError> {
    let content = fs::read(path).map_err(unreadable(path))?;
    let (content_type, is_text) = content_type(&name);
    let hashed_name = hashed(&name, &content);
    let compressed = if is_text {
        compress(&content).map_err(|source| AssetsError::Compress { name: name.clone(), source })?
    } else {
        None
    };
    let (encoding, body) = compressed.map_or((None, content), |body| (Some("br"), body));
    Ok(File { name, hashed_name, content_type, encoding, body })
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> AssetsError {
    let path = path.to_owned();
    |source| AssetsError::Unreadable { path, source }
}

/// Compresses the content with Brotli, which every browser supports. Returns `None` if the result is not shorter.
fn compress(content: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut compressed = Vec::new();
    let parameters = BrotliEncoderParams { quality: QUALITY, ..BrotliEncoderParams::default() };
    brotli::BrotliCompress(&mut &*content, &mut compressed, &parameters)?;
    Ok((compressed.len() < content.len()).then_some(compressed))
}

fn hashed(name: &str, content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let hash = digest[..HASH_BYTES].iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
    let folder = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[folder..].rfind('.') {
        Some(dot) => {
            let (stem, extension) = name.split_at(folder + dot);
            format!("{stem}.{hash}{extension}")
        }
        None => format!("{name}.{hash}"),
    }
}

/// Returns the MIME type of the extension, and whether compressing it helps. Images, fonts and archives are already
/// compressed.
fn content_type(name: &str) -> (&'static str, bool) {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => ("text/html; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "json" | "map" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "xml" => ("application/xml", true),
        "svg" => ("image/svg+xml", true),
        "wasm" => ("application/wasm", true),
        "ico" => ("image/x-icon", false),
        "png" => ("image/png", false),
        "jpg" | "jpeg" => ("image/jpeg", false),
        "gif" => ("image/gif", false),
        "webp" => ("image/webp", false),
        "avif" => ("image/avif", false),
        "woff2" => ("font/woff2", false),
        "woff" => ("font/woff", false),
        "pdf" => ("application/pdf", false),
        _ => ("application/octet-stream", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_changes_with_the_content_and_keeps_its_extension() {
        assert_eq!(hashed("app.css", b"a"), "app.ca978112ca1b.css");
        assert_eq!(hashed("v1.2/app.min.js", b"a"), "v1.2/app.min.ca978112ca1b.js");
        assert_eq!(hashed("v1.2/LICENSE", b"a"), "v1.2/LICENSE.ca978112ca1b");
        assert_ne!(hashed("app.css", b"a"), hashed("app.css", b"b"));
    }

    #[test]
    fn only_text_that_gets_shorter_is_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let long = "lamp ".repeat(200);
        for (name, content) in
            [("a.txt", long.as_str()), ("b.png", &long), ("c.txt", "x"), ("d.txt", ""), (".hidden", "x")]
        {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let files = prepare(folder.path()).unwrap();
        let encodings: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.encoding)).collect();
        assert_eq!(encodings, [("a.txt", Some("br")), ("b.png", None), ("c.txt", None), ("d.txt", None)]);
    }
}
