//! The HTTP client that all bodies of a process share.

use std::{any::Any, fmt, sync::OnceLock, time::Duration};

use lamplighter_aws::authorities;

/// The connect timeout. Responses are limited by the run's deadline only.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A lazily created client. Only [`Http::client`] knows its type. So a task that never calls this function does not
/// link the client into its binary.
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
            // A process whose certificates cannot be read has failed at its start.
            Box::new(trusting(authorities::named().unwrap_or_default()))
        });
        client.downcast_ref().expect("the cell only ever holds a client")
    }
}

/// Creates a client that trusts these authorities in addition to the built-in ones.
fn trusting(named: &[impl AsRef<[u8]>]) -> reqwest::Client {
    let certificates = named.iter().filter_map(|der| reqwest::Certificate::from_der(der.as_ref()).ok());
    let builder = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT);
    let client = certificates.fold(builder, reqwest::ClientBuilder::add_root_certificate).build();
    client.expect("the roots are built in, and each named certificate was parsed before")
}
