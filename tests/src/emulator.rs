//! An AWS emulator (`MiniStack`) for one test. It enforces IAM and leaves no process behind.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::tools::{command, program};

/// The timeout of a start, which takes half a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A script that starts a watcher and then becomes the emulator. The watcher ends the process group once standard input is
/// closed, which also happens if the test process is killed.
const START_WATCHED: &str =
    r#"exec 3<&0; { cat <&3; kill -KILL 0; } >/dev/null 2>&1 & exec "$0" </dev/null 3<&-"#;

/// A running emulator. Dropping it ends it and all function processes that it started.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    port: u16,
    /// The emulator's home and temporary folder, to which it unpacks the functions.
    directory: TempDir,
}

impl Emulator {
    /// Starts an emulator on a free port and waits until it is ready. It enforces IAM: a function can do only what its role
    /// allows.
    pub fn start() -> Self {
        // Another process may take the port before the emulator listens on it.
        for _ in 0..3 {
            if let Some(emulator) = Self::start_on(free_port()) {
                return emulator;
            }
        }
        panic!("the emulator ended three times before it was ready");
    }

    /// The endpoint of the AWS APIs, e.g. `http://127.0.0.1:4566`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", address(self.port))
    }

    /// The emulator's log file.
    pub fn log_file(&self) -> PathBuf {
        log_file(self.directory.path())
    }

    /// Starts an emulator on a port. Returns `None` if it ends at once.
    fn start_on(port: u16) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary folder can be made");
        let log = File::create(log_file(directory.path())).expect("the log file can be made");
        let errors = log.try_clone().expect("the log file can be opened twice");
        // Every function inherits the emulator's environment.
        let process = command(Path::new("/bin/sh"), directory.path())
            .arg("-c")
            .arg(START_WATCHED)
            .arg(program("emulator", "ministack"))
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", format!("http://{}", address(port)))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AUTH", "true")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .expect("the emulator can be started");
        let mut emulator = Self { process, port, directory };

        let started = Instant::now();
        while !is_healthy(port) {
            if emulator.process.try_wait().expect("the emulator can be waited for").is_some() {
                eprintln!("the emulator ended before it was ready:\n{}", emulator.log());
                return None;
            }
            assert!(started.elapsed() < START_LIMIT, "the emulator does not get ready:\n{}", emulator.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(emulator)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The emulator has nothing to save. An error means that the process group has already ended.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("emulator.log")
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_port() -> u16 {
    TcpListener::bind(address(0))
        .and_then(|listener| listener.local_addr())
        .expect("there is a free port")
        .port()
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address(port), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream
            .write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split_ascii_whitespace().nth(1) == Some("200"))
}
