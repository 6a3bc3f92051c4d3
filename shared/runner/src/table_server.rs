//! The table server: the process that has the table's file open, and serves the table to its clients, the other processes.
//!
//! Three files beside the table coordinate them:
//!
//! - The server writes its endpoint with the key to a file that only this user may read.
//! - Each client holds a shared lock on a second file. A stopping server closes the table once it gets that lock
//!   exclusively.
//! - A successor, a client that will serve the table next, holds a shared lock on a third file. A stopping server that
//!   finds a successor closes the table at once.
//!
//! The kernel releases the locks when their processes end, so files that are left behind block no process.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use lamplighter_project::files::{read_private, write_private};
use serde::{Deserialize, Serialize};

/// The timeout of a connection to the endpoint, which is on this machine.
const REACH: Duration = Duration::from_millis(500);
/// The pause between two attempts to take a lock.
pub const PAUSE: Duration = Duration::from_millis(20);

/// The files beside a table with which its processes coordinate.
#[derive(Clone, Debug)]
pub struct TableServer {
    endpoint_file: PathBuf,
    client_locks: PathBuf,
    successor_locks: PathBuf,
}

/// The content of the endpoint file.
#[derive(Serialize, Deserialize)]
struct ServedEndpoint {
    pid: u32,
    dynamodb: String,
}

/// A lock of a process that uses the table. While a client has it, the server keeps the table open.
#[derive(Debug)]
pub struct Client(#[expect(dead_code, reason = "its lock is all that matters, and ends with it")] File);

impl TableServer {
    /// The server of the table in the file `table`.
    pub fn of(table: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = table.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            endpoint_file: beside(".endpoint"),
            client_locks: beside(".clients"),
            successor_locks: beside(".successors"),
        }
    }

    /// Takes a client's lock, and returns it with the server's endpoint. `None` while no server accepts clients.
    pub fn connect(&self) -> io::Result<Option<(Client, String)>> {
        // Without a server no lock is taken, since it would make another process's `lock_out_clients` fail.
        if self.read().is_none() {
            return Ok(None);
        }
        let lock = file(&self.client_locks)?;
        if lock.try_lock_shared().is_err() {
            return Ok(None);
        }
        // Read again, since the lock keeps a running server from stopping. The endpoint of a killed server is not
        // reachable.
        let served = self.read().filter(|served| reachable(&served.dynamodb));
        Ok(served.map(|served| (Client(lock), served.dynamodb)))
    }

    /// The endpoint of the server, or of a server that was killed.
    pub fn endpoint(&self) -> Option<String> {
        self.read().map(|served| served.dynamodb)
    }

    /// Locks out clients until the returned value is dropped. `None` if there are clients.
    pub fn lock_out_clients(&self) -> io::Result<Option<Client>> {
        let lock = file(&self.client_locks)?;
        Ok(lock.try_lock().is_ok().then_some(Client(lock)))
    }

    /// Registers a client as a successor, which will serve the table after the server has ended, until the value is dropped.
    pub fn register_successor(&self) -> io::Result<Client> {
        let lock = file(&self.successor_locks)?;
        lock.lock_shared()?;
        Ok(Client(lock))
    }

    /// Returns true if a client is registered as a successor.
    pub fn has_successor(&self) -> io::Result<bool> {
        Ok(file(&self.successor_locks)?.try_lock().is_err())
    }

    /// Publishes the endpoint of this process. Only this user can read it.
    pub fn open(&self, dynamodb: &str) -> io::Result<()> {
        let served = ServedEndpoint { pid: std::process::id(), dynamodb: dynamodb.to_owned() };
        write_private(&self.endpoint_file, &serde_json::to_string(&served)?)
    }

    /// Removes the endpoint that [`open`](Self::open) published.
    pub fn close(&self) {
        // If it fails, the endpoint is not reachable, and the next server overwrites it.
        let _ = fs::remove_file(&self.endpoint_file);
    }

    fn read(&self) -> Option<ServedEndpoint> {
        serde_json::from_str(&read_private(&self.endpoint_file)?).ok()
    }
}

/// Opens a lock file.
fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// The address of an endpoint, with or without a key.
pub fn address_of(endpoint: &str) -> Option<SocketAddr> {
    let address = endpoint.strip_prefix("http://")?;
    address.split('/').next()?.parse().ok()
}

fn reachable(endpoint: &str) -> bool {
    address_of(endpoint).is_some_and(|address| TcpStream::connect_timeout(&address, REACH).is_ok())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_client_connects_while_there_is_a_server_and_keeps_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let server = TableServer::of(&folder.path().join("table.sqlite"));
        assert!(server.connect().unwrap().is_none(), "there is no server");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/key-3f", listener.local_addr().unwrap());
        server.open(&endpoint).unwrap();
        let mode = fs::metadata(&server.endpoint_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (client, found) = server.connect().unwrap().unwrap();
        assert_eq!(found, endpoint);
        assert!(server.connect().unwrap().is_some(), "there may be several clients");
        assert!(server.lock_out_clients().unwrap().is_none());
        drop(client);
        let lock = server.lock_out_clients().unwrap().unwrap();
        assert!(server.connect().unwrap().is_none(), "the server is closing");
        drop(lock);
        assert!(!server.has_successor().unwrap());
        let successors = [server.register_successor().unwrap(), server.register_successor().unwrap()];
        assert!(server.has_successor().unwrap());
        drop(successors);
        assert!(!server.has_successor().unwrap());
        drop(listener);
        assert!(server.connect().unwrap().is_none(), "the endpoint of a killed server is not reachable");
        server.close();
        assert!(!server.endpoint_file.exists());
    }
}
