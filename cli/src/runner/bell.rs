//! Where a runner of this machine hears of jobs: a file in its folder says it to whoever enqueues.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::net::UdpSocket;

/// Where the runner of this folder hears of jobs, if there is one. It may have died: what is told it then is lost, and found
/// by the next one.
pub fn heard_at(home: &Path) -> Option<SocketAddr> {
    fs::read_to_string(sign(home)).ok()?.trim().parse().ok()
}

/// A bell that is hung up, and taken down when it is dropped.
#[derive(Debug)]
pub struct Hung {
    /// Where it is heard.
    pub socket: UdpSocket,
    /// Where it is rung.
    pub address: SocketAddr,
    sign: PathBuf,
}

impl Hung {
    /// Hangs up a bell, and says where in the folder.
    pub async fn up(home: &Path) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let (address, sign) = (socket.local_addr()?, sign(home));
        fs::create_dir_all(home)?;
        fs::write(&sign, address.to_string())?;
        Ok(Self { socket, address, sign })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Another runner of the folder may have hung up its own since.
        if fs::read_to_string(&self.sign).is_ok_and(|text| text == self.address.to_string()) {
            let _ = fs::remove_file(&self.sign);
        }
    }
}

fn sign(home: &Path) -> PathBuf {
    home.join("bell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_is_found_while_it_hangs() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(heard_at(home.path()), None);
        let bell = Hung::up(home.path()).await.unwrap();
        assert_eq!(heard_at(home.path()), Some(bell.address));
        let newer = Hung::up(home.path()).await.unwrap();
        drop(bell);
        assert_eq!(heard_at(home.path()), Some(newer.address));
        drop(newer);
        assert_eq!(heard_at(home.path()), None);
    }
}
