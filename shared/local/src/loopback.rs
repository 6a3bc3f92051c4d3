//! One HTTP server on a free port of 127.0.0.1, for as long as its guard lives.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    serve::{Listener, ListenerExt as _},
};
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
        let serving = tokio::spawn(async move { axum::serve(undelayed(listener), router).await });
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
