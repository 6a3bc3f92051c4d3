//! A TLS proxy for a PostgreSQL server in tests, since the programs that `tests/setup` installs are built without TLS.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// The client's request for TLS, its first message. Source: the PostgreSQL manual, "Message Formats", `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A private authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate with its key.
pub(crate) struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Creates a certificate for these hosts.
    pub(crate) fn certify(&self, hosts: &[&str]) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters(hosts).signed_by(&key, &self.0).unwrap();
        Certified { certificate, key }
    }
}

impl Certified {
    /// Creates a self-signed certificate that is marked as an authority's, like those of `openssl req -x509`.
    pub(crate) fn alone(hosts: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(hosts);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate: CertificateDer<'static> = self.certificate.der().clone();
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap()).into()
    }
}

fn parameters(hosts: &[&str]) -> CertificateParams {
    CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// A port that responds like PostgreSQL with `ssl` on, and forwards everything to a server.
pub(crate) struct Front {
    pub(crate) port: u16,
    /// One entry per connection: true if it was encrypted.
    seen: Arc<Mutex<Vec<bool>>>,
}

/// The kinds of connection that the proxy accepts.
struct Taken {
    server: u16,
    acceptor: Option<TlsAcceptor>,
    plain: bool,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl Front {
    /// Starts a proxy for the server at a port. With a certificate it supports TLS; without `plain` it rejects plain
    /// connections.
    pub(crate) async fn start(server: u16, certified: Option<&Certified>, plain: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::default();
        let acceptor = certified.map(Certified::acceptor);
        let taken = Arc::new(Taken { server, acceptor, plain, seen: Arc::clone(&seen) });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = Arc::clone(&taken);
                // A client that closes the connection is expected.
                tokio::spawn(async move { drop(taken.serve(stream).await) });
            }
        });
        Self { port, seen }
    }

    /// Returns true if the last connection was encrypted.
    pub(crate) fn last_was_encrypted(&self) -> Option<bool> {
        self.seen.lock().unwrap().last().copied()
    }
}

impl Taken {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut first = [0; 8];
        stream.read_exact(&mut first).await?;
        if first != SSL_REQUEST {
            return self.plain(stream, &first).await;
        }
        if let Some(acceptor) = &self.acceptor {
            stream.write_all(b"S").await?;
            self.pass(acceptor.accept(stream).await?, &[], true).await
        } else {
            stream.write_all(b"N").await?;
            self.plain(stream, &[]).await
        }
    }

    async fn plain(&self, mut stream: TcpStream, first: &[u8]) -> std::io::Result<()> {
        if self.plain {
            return self.pass(stream, first, false).await;
        }
        let fields = ["SFATAL", "C28000", "Mno pg_hba.conf entry for host, no encryption", ""];
        let fields: Vec<_> = fields.iter().flat_map(|field| [field.as_bytes(), &[0][..]].concat()).collect();
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        stream.write_all(&[b"E", &length[..], &fields].concat()).await?;
        // Read what the client has sent: otherwise it would see a reset instead of the error.
        let _ = stream.read(&mut [0; 1024]).await?;
        stream.shutdown().await
    }

    async fn pass(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        first: &[u8],
        encrypted: bool,
    ) -> std::io::Result<()> {
        self.seen.lock().unwrap().push(encrypted);
        let mut server = TcpStream::connect(("127.0.0.1", self.server)).await?;
        server.write_all(first).await?;
        copy_bidirectional(&mut stream, &mut server).await.map(drop)
    }
}
