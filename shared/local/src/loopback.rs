//! An HTTP server on a free port of 127.0.0.1, which stops when its value is dropped, and its URL.

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

/// An error while opening an endpoint on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No port of the loopback address is free.
    #[error("cannot listen on a free port of 127.0.0.1")]
    Listen(#[source] std::io::Error),
    /// The address is not free.
    #[error("cannot listen at {address}")]
    ListenAt {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The system returned no random bytes for the endpoint's key.
    #[error("cannot create a key for the endpoint")]
    Key(#[from] getrandom::Error),
}

/// The address of an endpoint and its key: `http://127.0.0.1:4000/key-3f..`.
///
/// Its text is a secret, and its `Debug` does not show the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    key: Key,
}

impl Endpoint {
    /// An endpoint at this address, with a new key.
    pub(crate) fn new(address: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self { address, key: Key::new()? })
    }

    /// Reads an endpoint's URL; `None` for any other text, such as a URL without a key.
    pub fn parse(url: &str) -> Option<Self> {
        let (address, key) = url.strip_prefix("http://")?.split_once('/')?;
        Some(Self { address: address.parse().ok()?, key: Key::parse(key)? })
    }

    /// The address on which it listens.
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

/// A running server. When it is dropped, it accepts no new connections; requests in progress are still answered.
#[derive(Debug)]
pub(crate) struct Loopback {
    url: String,
    accepting: AbortHandle,
}

impl Loopback {
    /// Serves programs that send a new key.
    pub(crate) async fn serve(router: Router) -> Result<Self, ServeError> {
        let (listener, address) = listen().await?;
        let endpoint = Endpoint::new(address)?;
        Ok(Self::on(listener, endpoint.to_string(), guard::with_key(router, endpoint.key)))
    }

    /// Serves programs that sign with this access key. `router` must verify the signatures itself.
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

/// Disables Nagle's algorithm: otherwise large answers wait 40 ms for the acknowledgement of their first part.
pub(crate) fn undelayed(listener: TcpListener) -> impl Listener<Addr = SocketAddr> {
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

/// Listens on a free port of the loopback address.
pub(crate) async fn listen() -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    Ok((listener, address))
}

/// Listens at this address.
pub(crate) async fn listen_at(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::ListenAt { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_survives_its_text_and_hides_its_key() {
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
