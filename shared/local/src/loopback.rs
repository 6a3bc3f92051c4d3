//! One HTTP server on a free port of 127.0.0.1, for as long as its guard lives.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, task::AbortHandle};

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
}

/// A running server. Dropping it stops new connections; a request in progress is still answered.
#[derive(Debug)]
pub(crate) struct Loopback {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Loopback {
    pub(crate) async fn serve(router: Router) -> Result<Self, ServeError> {
        let (listener, address) = listen().await?;
        // Without this a large answer waits 40 ms for the acknowledgement of its first part.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, accepting: serving.abort_handle() })
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(crate) async fn listen() -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    Ok((listener, address))
}

pub(crate) async fn listen_at(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::ListenAt { address, source })
}
