//! The socket on which a runner receives wake-ups of jobs. A file in the home folder publishes its address to enqueuers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lamplighter_aws::jobs::{RunnerAddress, split_datagram};
use lamplighter_local::Key;
use lamplighter_project::files::{read_private, write_private};
use tokio::net::UdpSocket;

/// The address of the folder's runner for wake-ups, if there is one. If it has died, wake-ups are lost, and the next runner finds
/// the jobs.
pub fn wake_address(home: &Path) -> Option<RunnerAddress> {
    read_private(&address_file(home))?.trim().parse().ok()
}

/// A socket for wake-ups, whose published address is removed when it is dropped.
#[derive(Debug)]
pub struct WakeSocket {
    /// The socket.
    pub socket: UdpSocket,
    /// Its address and its key.
    pub address: RunnerAddress,
    key: Key,
    address_file: PathBuf,
}

impl WakeSocket {
    /// Opens a socket with a new key, and publishes its address in the folder.
    pub async fn open(home: &Path) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let (key, address_file) = (Key::new()?, address_file(home));
        let address = RunnerAddress::new(socket.local_addr()?, key.as_str());
        fs::create_dir_all(home)?;
        write_private(&address_file, &address.to_string())?;
        Ok(Self { socket, address, key, address_file })
    }

    /// The text of a datagram; `None` if it does not begin with the key.
    pub fn text_of<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        split_datagram(datagram).filter(|(key, _)| self.key.is(key)).map(|(_, text)| text)
    }
}

impl Drop for WakeSocket {
    fn drop(&mut self) {
        // Another runner of the folder may have published its own address since.
        if fs::read_to_string(&self.address_file).is_ok_and(|text| text == self.address.to_string()) {
            let _ = fs::remove_file(&self.address_file);
        }
    }
}

fn address_file(home: &Path) -> PathBuf {
    home.join("wake-up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_found_while_it_is_open() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(wake_address(home.path()), None);
        let waker = WakeSocket::open(home.path()).await.unwrap();
        assert_eq!(wake_address(home.path()), Some(waker.address.clone()));
        let newer = WakeSocket::open(home.path()).await.unwrap();
        drop(waker);
        assert_eq!(wake_address(home.path()), Some(newer.address.clone()));
        drop(newer);
        assert_eq!(wake_address(home.path()), None);
    }

    #[tokio::test]
    async fn o06_a_datagram_is_accepted_only_with_the_key_of_this_socket() {
        let home = tempfile::tempdir().unwrap();
        let former = WakeSocket::open(home.path()).await.unwrap();
        let waker = WakeSocket::open(home.path()).await.unwrap();
        let with = |key: &str| waker.text_of(format!("{key} send-mail").as_bytes()).map(<[u8]>::to_vec);
        assert_eq!(with(waker.key.as_str()), Some(b"send-mail".to_vec()));
        for key in ["", "key-", former.key.as_str()] {
            assert_eq!(with(key), None, "{key}");
        }
        assert_eq!(waker.text_of(b"send-mail"), None);
        assert_eq!(waker.text_of(b""), None);
        assert!(!format!("{waker:?}").contains(waker.key.as_str()), "{waker:?}");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(address_file(home.path())).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
