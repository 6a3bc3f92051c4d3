//! One HTTP server on a free port of 127.0.0.1, for as long as its guard lives, and the URL by which it is reached.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{
    Router,
    serve::{Listener, ListenerExt as _},
};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{guard, key::Key};

/// Why an endpoint could not be opened on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No port of the loopback address could be taken.
    #[error("cannot listen on a free port of 127.0.0.1")]
    Listen(#[source] std::io::Error),
    /// That address could not be taken.
    #[error("cannot listen at {address}")]
    ListenAt {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine gave no random bytes for the endpoint's key.
    #[error("cannot make a key for the endpoint")]
    Key(#[from] getrandom::Error),
}

/// Where an endpoint is, and the key that it asks for: `http://127.0.0.1:4000/key-3f..`.
///
/// Its text is a secret, and its `Debug` does not show the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    key: Key,
}

impl Endpoint {
    /// One at that address with a new key.
    pub(crate) fn new(address: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self { address, key: Key::new()? })
    }

    /// Reads an endpoint's URL. One without a key is none.
    pub fn parse(url: &str) -> Option<Self> {
        let (address, key) = url.strip_prefix("http://")?.split_once('/')?;
        Some(Self { address: address.parse().ok()?, key: Key::parse(key)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/{}", self.address, self.key.as_str())
    }
}

/// A running server. Dropping it stops new connections; a request in progress is still answered.
#[derive(Debug)]
pub(crate) struct Loopback {
    url: String,
    accepting: AbortHandle,
}

impl Loopback {
    /// Serves to programs that have a new key.
    pub(crate) async fn serve(router: Router) -> Result<Self, ServeError> {
        let (listener, address) = listen().await?;
        let endpoint = Endpoint::new(address)?;
        Ok(Self::on(listener, endpoint.to_string(), guard::with_key(router, endpoint.key)))
    }

    /// Serves to programs that sign with this access key, whose signatures `router` verifies itself.
    pub(crate) async fn serve_signed(router: Router, access_key_id: &str) -> Result<Self, ServeError> {
        let (listener, address) = listen().await?;
        Ok(Self::on(listener, format!("http://{address}"), guard::with_signature(router, access_key_id)))
    }

    fn on(listener: TcpListener, url: String, router: Router) -> Self {
        let serving = tokio::spawn(async move { axum::serve(undelayed(listener), router).await });
        Self { url, accepting: serving.abort_handle() }
    }

    /// Its URL, with the key.
    pub(crate) fn endpoint(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A listener whose large answers do not wait 40 ms for the acknowledgement of their first part.
pub(crate) fn undelayed(listener: TcpListener) -> impl Listener<Addr = SocketAddr> {
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

pub(crate) async fn listen() -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    Ok((listener, address))
}

pub(crate) async fn listen_at(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::ListenAt { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_as_it_is_written_and_keeps_its_key_to_itself() {
        let endpoint = Endpoint::new(([127, 0, 0, 1], 4000).into()).unwrap();
        let url = endpoint.to_string();
        assert_eq!(Endpoint::parse(&url), Some(endpoint.clone()));
        assert!(!format!("{endpoint:?}").contains(&url[url.len() - 64..]), "{endpoint:?}");
        for none in ["", "http://127.0.0.1:4000", "http://127.0.0.1:4000/", "http://127.0.0.1:4000/key-1"] {
            assert_eq!(Endpoint::parse(none), None, "{none}");
        }
        assert_eq!(Endpoint::parse(&format!("{url}/")), None);
    }
}
