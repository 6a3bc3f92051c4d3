//! Preparation of the example application's database.

use std::path::Path;
use std::process::Command;

/// Inserts sessions that expired a month ago. The tables must exist.
pub fn expire_sessions(database: &Path, count: u32) {
    let database = database.display().to_string();
    let insert = format!(
        "import sqlite3, time\n\
         base = sqlite3.connect({database:?}, timeout=30)\n\
         base.execute(\"INSERT OR IGNORE INTO users (email, name) VALUES ('x@example.com', 'x')\")\n\
         rows = [(time.time() - 30 * 86400 + i,) for i in range({count})]\n\
         base.executemany(\"INSERT INTO sessions (id, email, expires_at) \
                           VALUES (hex(randomblob(8)), 'x@example.com', cast(? as int))\", rows)\n\
         base.commit()"
    );
    let done = Command::new("python3").args(["-c", &insert]).status().expect("python3 can be started");
    assert!(done.success());
}
