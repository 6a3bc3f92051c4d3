//! How several processes use one table: the holder of its file serves it, the others come in as guests.
//!
//! The holder leaves its endpoint, which has its key in it, in a file beside the table that only this user may read. A guest keeps a shared lock on another file for as long as
//! it uses that endpoint, and the holder lets go of the table once it has that lock to itself, or at once if one of the guests
//! is an heir, which serves it from then on. The locks are the
//! kernel's and end with their processes, so nothing that is left behind keeps anybody out.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use lamplighter_project::files::{read_private, write_private};
use serde::{Deserialize, Serialize};

/// How long the holder's endpoint may take to be reached: it is on this machine.
const REACH: Duration = Duration::from_millis(500);
/// The pause before a lock is tried again.
pub const PAUSE: Duration = Duration::from_millis(20);

/// The files beside a table by which processes find each other.
#[derive(Clone, Debug)]
pub struct TableServer {
    sign: PathBuf,
    seats: PathBuf,
    heirs: PathBuf,
}

/// What the holder says of itself.
#[derive(Serialize, Deserialize)]
struct Sign {
    pid: u32,
    dynamodb: String,
}

/// A place at the holder's table: while it is there, the holder stays.
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
        Self { sign: beside(".endpoint"), seats: beside(".guests"), heirs: beside(".heirs") }
    }

    /// A seat at the holder's table and its endpoint; nothing while there is no holder that takes guests.
    pub fn enter(&self) -> io::Result<Option<(Client, String)>> {
        // Looked for first, so that nobody who has to wait anyway takes a seat from under one who wants to be alone.
        if self.read().is_none() {
            return Ok(None);
        }
        let seats = file(&self.seats)?;
        if seats.try_lock_shared().is_err() {
            return Ok(None);
        }
        // Read again: with the seat taken, a holder that is there stays. What a killed one has left leads nowhere.
        let sign = self.read().filter(|sign| reachable(&sign.dynamodb));
        Ok(sign.map(|sign| (Client(seats), sign.dynamodb)))
    }

    /// Where the holder serves the table, or has served it if it was killed.
    pub fn endpoint(&self) -> Option<String> {
        self.read().map(|sign| sign.dynamodb)
    }

    /// Keeps guests out for as long as the returned value lives; nothing while some are there.
    pub fn alone(&self) -> io::Result<Option<Client>> {
        let seats = file(&self.seats)?;
        Ok(seats.try_lock().is_ok().then_some(Client(seats)))
    }

    /// The place of a guest who will serve the table itself once the holder is gone, for as long as the returned value lives.
    pub fn be_heir(&self) -> io::Result<Client> {
        let heirs = file(&self.heirs)?;
        heirs.lock_shared()?;
        Ok(Client(heirs))
    }

    /// Whether one of the guests will serve the table once the holder is gone.
    pub fn has_successor(&self) -> io::Result<bool> {
        Ok(file(&self.heirs)?.try_lock().is_err())
    }

    /// Tells who comes where the table is served. Only this user may read it.
    pub fn open(&self, dynamodb: &str) -> io::Result<()> {
        let sign = Sign { pid: std::process::id(), dynamodb: dynamodb.to_owned() };
        write_private(&self.sign, &serde_json::to_string(&sign)?)
    }

    /// Takes back what [`open`](Self::open) told.
    pub fn close(&self) {
        // What cannot be removed leads nowhere, and the next holder writes over it.
        let _ = fs::remove_file(&self.sign);
    }

    fn read(&self) -> Option<Sign> {
        serde_json::from_str(&read_private(&self.sign)?).ok()
    }
}

/// A file that is there for its lock alone.
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
    fn a_guest_comes_in_while_somebody_holds_the_table_and_keeps_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let server = TableServer::of(&folder.path().join("table.sqlite"));
        assert!(server.enter().unwrap().is_none(), "nobody is there");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/key-3f", listener.local_addr().unwrap());
        server.open(&endpoint).unwrap();
        let mode = fs::metadata(&server.sign).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (seat, told) = server.enter().unwrap().unwrap();
        assert_eq!(told, endpoint);
        assert!(server.enter().unwrap().is_some(), "there is room for more than one");
        assert!(server.alone().unwrap().is_none());
        drop(seat);
        let alone = server.alone().unwrap().unwrap();
        assert!(server.enter().unwrap().is_none(), "the holder is leaving");
        drop(alone);
        assert!(!server.has_successor().unwrap());
        let heirs = [server.be_heir().unwrap(), server.be_heir().unwrap()];
        assert!(server.has_successor().unwrap());
        drop(heirs);
        assert!(!server.has_successor().unwrap());
        drop(listener);
        assert!(server.enter().unwrap().is_none(), "a killed holder's sign leads nowhere");
        server.close();
        assert!(!server.sign.exists());
    }
}
