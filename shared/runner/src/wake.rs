//! Where a runner of this machine hears of jobs: a file in its folder says it to whoever enqueues.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lamplighter_aws::jobs::{RunnerAddress, split_datagram};
use lamplighter_local::Key;
use lamplighter_project::files::{read_private, write_private};
use tokio::net::UdpSocket;

/// Where the runner of this folder hears of jobs, if there is one. It may have died: what is told it then is lost, and found
/// by the next one.
pub fn wake_address(home: &Path) -> Option<RunnerAddress> {
    read_private(&sign(home))?.trim().parse().ok()
}

/// A bell that is hung up, and taken down when it is dropped.
#[derive(Debug)]
pub struct WakeSocket {
    /// Where it is heard.
    pub socket: UdpSocket,
    /// Where it is rung, and with which key.
    pub address: RunnerAddress,
    key: Key,
    sign: PathBuf,
}

impl WakeSocket {
    /// Hangs up a bell with a key of its own, and says where in the folder.
    pub async fn up(home: &Path) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let (key, sign) = (Key::new()?, sign(home));
        let address = RunnerAddress::new(socket.local_addr()?, key.as_str());
        fs::create_dir_all(home)?;
        write_private(&sign, &address.to_string())?;
        Ok(Self { socket, address, key, sign })
    }

    /// The text of a datagram; nothing if it does not begin with the key.
    pub fn text_of<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        split_datagram(datagram).filter(|(key, _)| self.key.is(key)).map(|(_, text)| text)
    }
}

impl Drop for WakeSocket {
    fn drop(&mut self) {
        // Another runner of the folder may have hung up its own since.
        if fs::read_to_string(&self.sign).is_ok_and(|text| text == self.address.to_string()) {
            let _ = fs::remove_file(&self.sign);
        }
    }
}

fn sign(home: &Path) -> PathBuf {
    home.join("wake-up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_is_found_while_it_hangs() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(wake_address(home.path()), None);
        let waker = WakeSocket::up(home.path()).await.unwrap();
        assert_eq!(wake_address(home.path()), Some(waker.address.clone()));
        let newer = WakeSocket::up(home.path()).await.unwrap();
        drop(waker);
        assert_eq!(wake_address(home.path()), Some(newer.address.clone()));
        drop(newer);
        assert_eq!(wake_address(home.path()), None);
    }

    #[tokio::test]
    async fn o06_a_datagram_is_heard_with_the_key_of_this_bell_only() {
        let home = tempfile::tempdir().unwrap();
        let former = WakeSocket::up(home.path()).await.unwrap();
        let waker = WakeSocket::up(home.path()).await.unwrap();
        let with = |key: &str| waker.text_of(format!("{key} send-mail").as_bytes()).map(<[u8]>::to_vec);
        assert_eq!(with(waker.key.as_str()), Some(b"send-mail".to_vec()));
        for key in ["", "key-", former.key.as_str()] {
            assert_eq!(with(key), None, "{key}");
        }
        assert_eq!(waker.text_of(b"send-mail"), None);
        assert_eq!(waker.text_of(b""), None);
        assert!(!format!("{waker:?}").contains(waker.key.as_str()), "{waker:?}");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(sign(home.path())).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
