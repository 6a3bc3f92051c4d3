//! Private certificate authorities: of the table's endpoint, and of servers that a body requests.

use std::{fs, process::Output, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    shell::{bare, command},
    world::World,
};

/// A TLS proxy for an endpoint, with a certificate of a private authority.
struct Front {
    port: u16,
    key: String,
    authority: String,
}

impl Front {
    async fn start(endpoint: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &authority).unwrap().der().clone();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, key) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let (target, key) = (target.to_owned(), key.to_owned());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate closes the connection.
                    let Ok(mut near) = acceptor.accept(near).await else { return };
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, key, authority: authority.pem() }
    }
}

/// Runs the probe with additional environment variables.
async fn run(world: &World, front: &Front, variables: &[(&str, String)]) -> Output {
    let url = format!("https://localhost:{}/{}/", front.port, front.key);
    let mut run = command(world, &json!({ "mode": "http", "names": [url] }));
    run.env("PROBE_STATE", "yes").env("AWS_MAX_ATTEMPTS", "1").arg("run");
    run.envs(variables.iter().map(|(name, value)| (name, value)));
    tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[tokio::test]
async fn authorities_named_by_the_environment_are_trusted() {
    let world = World::new().await;
    let front = Front::start(&world.dynamodb).await;
    let table = ("AWS_ENDPOINT_URL_DYNAMODB", format!("https://localhost:{}/{}", front.port, front.key));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, &front.authority).unwrap();
    let file = file.display().to_string();

    // A body's requests, with a table that needs no certificate.
    let output = run(&world, &front, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    // The table's requests, in Lambda, where only Amazon's roots are trusted by default, and outside Lambda.
    let untrusted = run(&world, &front, std::slice::from_ref(&table)).await;
    assert!(said(&untrusted).contains("UnknownIssuer"), "{}", said(&untrusted));
    for (variable, value) in [
        ("AWS_CA_BUNDLE", file.clone()),
        ("SSL_CERT_FILE", file.clone()),
        ("SSL_CERT_DIR", folder.path().display().to_string()),
    ] {
        for lambda in [&[][..], &[("AWS_LAMBDA_FUNCTION_NAME", "probe".to_owned())]] {
            let variables = [&[table.clone(), (variable, value.clone())], lambda].concat();
            let output = run(&world, &front, &variables).await;
            assert_eq!(output.status.code(), Some(0), "{variable} {lambda:?}: {}", said(&output));
            let status = &world.last().await.data.unwrap()["status"];
            assert!(status.is_number(), "{variable}: {status}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_certificate_file_is_named_with_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let empty = empty.display().to_string();
    for (variable, path, expected) in [
        ("AWS_CA_BUNDLE", "/no/such.pem", "which cannot be read"),
        ("SSL_CERT_FILE", empty.as_str(), "which holds no certificate"),
        ("SSL_CERT_DIR", "/no/such", "which cannot be read"),
    ] {
        let mut run = bare();
        run.env(variable, path).arg("run");
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("{variable} is `{path}`, {expected}")), "{text}");
        let mut describe = bare();
        describe.env(variable, path).arg("describe");
        let described = tokio::task::spawn_blocking(move || describe.output().unwrap()).await.unwrap();
        assert_eq!(described.status.code(), Some(0), "`describe` reads no certificates");
    }
}
