//! The HTTP client that bodies share.

use std::{any::Any, fmt, sync::OnceLock, time::Duration};

use lamplighter_aws::authorities;

/// How long it may take to reach a server. What comes after is the run's deadline's concern.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A place for a client, made at its first use. Of what type it is, is known in [`Http::client`] alone: the binary of a
/// task that never asks for it has no HTTP client of the author's in it.
#[derive(Default)]
pub(crate) struct Http(OnceLock<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    pub(crate) fn client(&self) -> &reqwest::Client {
        let client = self.0.get_or_init(|| {
            // A process in which they cannot be read has not begun.
            Box::new(trusting(authorities::named().unwrap_or_default()))
        });
        client.downcast_ref().expect("nothing else is ever put there")
    }
}

/// A client that trusts these authorities besides those that are built in.
fn trusting(named: &[impl AsRef<[u8]>]) -> reqwest::Client {
    let certificates = named.iter().filter_map(|der| reqwest::Certificate::from_der(der.as_ref()).ok());
    let builder = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT);
    let client = certificates.fold(builder, reqwest::ClientBuilder::add_root_certificate).build();
    client.expect("the roots are built in, and each named one was read as a certificate before")
}
