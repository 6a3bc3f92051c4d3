//! Certificates of private authorities that the environment names. They are trusted in addition to the default ones.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustls::{RootCertStore, pki_types::CertificateDer};

/// The variables that name a file of certificates.
const FILES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// The variable that names folders of such files.
const FOLDERS: &str = "SSL_CERT_DIR";

/// Certificates that a variable names and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// The file or folder cannot be read.
    #[error("{variable} is `{}`, which cannot be read: {reason}", path.display())]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// The error of the system.
        reason: String,
    },
    /// There is none that can be used.
    #[error("{variable} is `{}`, which holds no certificate of an authority in PEM format", path.display())]
    Empty {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
}

/// The certificates that `AWS_CA_BUNDLE`, `SSL_CERT_FILE` and `SSL_CERT_DIR` name, read once in a process.
pub fn named() -> Result<&'static [CertificateDer<'static>], AuthoritiesError> {
    static NAMED: OnceLock<Result<Vec<CertificateDer<'static>>, AuthoritiesError>> = OnceLock::new();
    NAMED.get_or_init(|| read(|name| env::var_os(name))).as_deref().map_err(Clone::clone)
}

/// The certificates that the variables name. An empty variable names none.
pub fn read(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let mut certificates = Vec::new();
    let value = |name| variable(name).filter(|value| !value.is_empty());
    for name in FILES {
        if let Some(path) = value(name) {
            certificates.extend(loaded(name, Path::new(&path), true)?);
        }
    }
    if let Some(paths) = value(FOLDERS) {
        for path in env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()) {
            certificates.extend(loaded(FOLDERS, &path, false)?);
        }
    }
    Ok(certificates)
}

fn loaded(
    variable: &'static str,
    path: &Path,
    is_file: bool,
) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let (file, folder) = if is_file { (Some(path), None) } else { (None, Some(path)) };
    let found = rustls_native_certs::load_certs_from_paths(file, folder);
    // A file may also have certificates that rustls cannot parse, such as very old ones. They are skipped.
    let is_usable = |certificate: &CertificateDer<'_>| {
        RootCertStore::empty().add(certificate.clone().into_owned()).is_ok()
    };
    let usable: Vec<_> = found.certs.into_iter().filter(is_usable).collect();
    let path = path.to_owned();
    match found.errors.first() {
        _ if !usable.is_empty() => Ok(usable),
        Some(error) => Err(AuthoritiesError::Unreadable { variable, path, reason: error.to_string() }),
        None => Err(AuthoritiesError::Empty { variable, path }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const AMAZON: &str = include_str!("amazon-trust-services.pem");

    #[test]
    fn each_variable_is_read_and_an_error_names_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(path("folder")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        for name in ["roots.pem", "folder/roots.pem"] {
            fs::write(path(name), AMAZON).unwrap();
        }
        fs::write(path("text.pem"), "no certificate").unwrap();
        fs::write(path("junk.pem"), "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")
            .unwrap();
        let with = |variable: &str, value: String| {
            let value = OsString::from(value);
            read(|name| (name == variable).then(|| value.clone()))
        };
        assert_eq!(read(|_| None), Ok(Vec::new()));
        assert_eq!(read(|_| Some(OsString::new())), Ok(Vec::new()), "empty is as if it were not set");
        for (variable, name) in
            [("AWS_CA_BUNDLE", "roots.pem"), ("SSL_CERT_FILE", "roots.pem"), ("SSL_CERT_DIR", "folder")]
        {
            assert_eq!(with(variable, path(name)).unwrap().len(), 5, "{variable}");
            for (wrong, expected) in [
                ("missing", "cannot be read"),
                ("text.pem", "holds no certificate"),
                ("junk.pem", "holds no certificate"),
            ] {
                if variable == "SSL_CERT_DIR" && wrong != "missing" {
                    continue;
                }
                let said = with(variable, path(wrong)).unwrap_err().to_string();
                let wanted = format!("{variable} is `{}`, which {expected}", path(wrong));
                assert!(said.starts_with(&wanted), "{said}");
            }
        }
        let said = with("SSL_CERT_DIR", path("empty")).unwrap_err().to_string();
        assert!(said.contains("SSL_CERT_DIR") && said.contains("holds no certificate"), "{said}");
        let two = format!("{}:{}", path("folder"), path("folder"));
        assert_eq!(with("SSL_CERT_DIR", two).unwrap().len(), 10);
    }
}
