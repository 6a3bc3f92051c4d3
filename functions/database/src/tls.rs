//! TLS of connections to PostgreSQL: `sslmode` and `sslrootcert` of the URL, with libpq's semantics.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The values of `sslmode`, weakest first. Source: the PostgreSQL manual, "SSL Support".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server rejects plain connections.
    Allow,
    /// Encrypted if the server supports TLS.
    #[default]
    Prefer,
    /// Encrypted. The server's certificate is only checked if `sslrootcert` is set.
    Require,
    /// Encrypted. The server's certificate must be signed by a trusted authority.
    VerifyCa,
    /// The same, and the certificate must be for the URL's host.
    VerifyFull,
}

impl Mode {
    const WORDS: [(&str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl FromStr for Mode {
    type Err = InvalidTls;

    fn from_str(word: &str) -> Result<Self, InvalidTls> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, mode)| *mode).ok_or(InvalidTls::Mode)
    }
}

/// An error of the URL's TLS parameters. No error quotes the URL.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTls {
    /// An unknown `sslmode`.
    #[error("`sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full")]
    Mode,
    /// The machine's authorities sign certificates for anybody, so the host must be checked, too.
    #[error("`sslrootcert=system` needs `sslmode=verify-full`")]
    Weak,
    /// A value is not UTF-8 after percent-decoding.
    #[error("`sslmode` and `sslrootcert` must be UTF-8 text")]
    NotText,
}

/// An error of the certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The file of `sslrootcert` cannot be read.
    #[error("the file of `sslrootcert`, {}, cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of `sslrootcert` has no certificate.
    #[error("{}, the file of `sslrootcert`, has no certificate: expected a file in PEM format", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The certificates named by the environment are invalid.
    #[error(transparent)]
    Authorities(#[from] lamplighter::authorities::AuthoritiesError),
    /// The machine has no certificates.
    #[error("this machine has no root certificates: name a file with `sslrootcert`")]
    None,
    /// The TLS library rejects the certificates.
    #[error("the root certificates cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The trusted authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The authorities named by the environment, and the machine's. Only read if the mode checks certificates.
    #[default]
    Usual,
    /// `sslrootcert=system`: the same authorities.
    System,
    /// The authorities in a file.
    File(PathBuf),
}

/// The TLS settings of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) mode: Mode,
    pub(crate) roots: Roots,
}

impl Tls {
    /// Parses the values of `sslmode` and `sslrootcert`. The defaults are libpq's.
    pub(crate) fn new(mode: Option<&str>, root_certificate: Option<&str>) -> Result<Self, InvalidTls> {
        let mode = mode.map(str::parse).transpose()?;
        let roots = match root_certificate {
            None | Some("") => Roots::Usual,
            Some("system") => Roots::System,
            Some(path) => Roots::File(path.into()),
        };
        let mode = match (mode, &roots) {
            (None, Roots::System) => Mode::VerifyFull,
            (Some(mode), Roots::System) if mode < Mode::VerifyFull => return Err(InvalidTls::Weak),
            (mode, _) => mode.unwrap_or_default(),
        };
        Ok(Self { mode, roots })
    }

    /// Creates the TLS client. Reads certificates if the mode checks them.
    pub(crate) fn connector(&self) -> Result<MakeRustlsConnect, CertificatesError> {
        let provider = Arc::new(ring::default_provider());
        let checks = self.mode >= Mode::VerifyCa || matches!(self.roots, Roots::File(_));
        let verifier = if checks {
            let certificates = self.roots.read()?;
            Verifier::new(&certificates, &provider, self.mode == Mode::VerifyFull)?
        } else {
            Verifier { provider: Arc::clone(&provider), trusted: None }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificatesError::Unusable(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

impl Roots {
    fn read(&self) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
        let Self::File(path) = self else {
            let mut certificates = lamplighter::authorities::named()?.to_vec();
            certificates.extend(rustls_native_certs::load_native_certs().certs);
            return if certificates.is_empty() { Err(CertificatesError::None) } else { Ok(certificates) };
        };
        read_file(path)
    }
}

fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let found = rustls_native_certs::load_certs_from_paths(Some(path), None);
    match found.errors.into_iter().next() {
        Some(error) => Err(CertificatesError::Unreadable { path: path.to_owned(), source: error.into() }),
        None if found.certs.is_empty() => Err(CertificatesError::Empty { path: path.to_owned() }),
        None => Ok(found.certs),
    }
}

/// Checks the server's certificate as the mode requires. Every mode checks that the server has the certificate's key.
struct Verifier {
    provider: Arc<CryptoProvider>,
    trusted: Option<Trusted>,
}

struct Trusted {
    authorities: Arc<WebPkiServerVerifier>,
    /// The trusted certificates themselves, since the server's own may be one of them.
    certificates: Vec<CertificateDer<'static>>,
    checks_host: bool,
}

impl Verifier {
    fn new(
        certificates: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
        checks_host: bool,
    ) -> Result<Self, CertificatesError> {
        let mut roots = RootCertStore::empty();
        // The machine's store may have certificates that are too old to be parsed.
        roots.add_parsable_certificates(certificates.iter().cloned());
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let authorities = authorities.map_err(|error| CertificatesError::Unusable(error.into()))?;
        let trusted = Trusted { authorities, certificates: certificates.to_vec(), checks_host };
        Ok(Self { provider: Arc::clone(provider), trusted: Some(trusted) })
    }
}

impl Trusted {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(certificate, chain, host, ocsp, now) {
            // The chain is checked before the host.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_host => Ok(ServerCertVerified::assertion()),
            // A trusted self-signed certificate may be marked as an authority's, like those of `openssl req -x509`. Its
            // validity period is checked before.
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(error))))
                if self.certificates.iter().any(|known| known == certificate)
                    && error.to_string().starts_with("CaUsedAsEndEntity") =>
            {
                if self.checks_host {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("checks", &self.trusted.is_some()).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trusted {
            Some(trusted) => trusted.check(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_has_libpqs_values_and_default() {
        let tls = |mode, root| Tls::new(mode, root).unwrap();
        assert_eq!(tls(None, None), Tls { mode: Mode::Prefer, roots: Roots::Usual });
        assert_eq!(tls(None, Some("system")).mode, Mode::VerifyFull);
        assert_eq!(tls(Some("require"), Some("/x/ca.pem")).roots, Roots::File("/x/ca.pem".into()));
        for (word, mode) in Mode::WORDS {
            assert_eq!(tls(Some(word), None).mode, mode);
        }
        assert!(matches!(Tls::new(Some("verify-ca"), Some("system")), Err(InvalidTls::Weak)));
        for word in ["", "Require", "on", "verify_full"] {
            assert!(matches!(Tls::new(Some(word), None), Err(InvalidTls::Mode)), "{word}");
        }
    }
}
