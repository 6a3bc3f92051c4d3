//! By what the runners of a folder know which of them have died: each keeps the kernel's lock of a file there, which ends
//! with its process and not before.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use lamplighter_aws::{jobs::Jobs, table::TableError};
use lamplighter_core::name::TaskName;

/// How old a file without its name is when its runner is surely dead: it has the name within milliseconds.
const UNBORN: Duration = Duration::from_secs(3600);

/// A runner's file, locked for as long as this lives.
#[derive(Debug)]
pub struct LivenessLock {
    _lock: File,
    path: PathBuf,
}

/// The file of a runner that has died, until somebody has seen to what it left.
#[derive(Debug)]
pub struct Severed {
    /// The runner.
    pub instance: String,
    liveness: LivenessLock,
}

impl LivenessLock {
    /// Says that a runner of the table of that name lives.
    pub fn take(home: &Path, table: &str, instance: &str) -> io::Result<Self> {
        let folder = folder(home, table);
        fs::create_dir_all(&folder)?;
        // Locked before it has the name by which it is found, so that nobody takes it for a dead one's.
        let new = folder.join(format!(".{instance}"));
        let lock = OpenOptions::new().write(true).create_new(true).open(&new)?;
        lock.try_lock()?;
        let path = folder.join(instance);
        fs::rename(new, &path)?;
        Ok(Self { _lock: lock, path })
    }

    /// Says that it is gone, and has left nothing.
    pub fn release(self) {
        // One that cannot be removed is taken for a dead runner's, who has left nothing either.
        let _ = fs::remove_file(&self.path);
    }
}

/// The runners of a table that have died. No two processes find the same one at the same time.
pub fn severed(home: &Path, table: &str) -> io::Result<Vec<Severed>> {
    let entries = match fs::read_dir(folder(home, table)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(instance) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        if instance.starts_with('.') {
            forget_unborn(&path, UNBORN);
            continue;
        }
        // What is gone meanwhile was seen to by somebody else.
        let Ok(lock) = OpenOptions::new().write(true).open(&path) else { continue };
        if lock.try_lock().is_ok() {
            found.push(Severed { instance, liveness: LivenessLock { _lock: lock, path } });
        }
    }
    Ok(found)
}

/// Removes the file of a runner that died before the file had its name, which is older than `age`.
fn forget_unborn(path: &Path, age: Duration) {
    let is_old = fs::metadata(path)
        .and_then(|file| file.modified())
        .is_ok_and(|made| made.elapsed().is_ok_and(|since| since >= age));
    if is_old {
        // One that cannot be removed is met again.
        let _ = fs::remove_file(path);
    }
}

/// Frees the jobs that dead runners of the folder have. `longest` is how far ahead the end of their leases may be.
pub async fn reclaim(
    home: &Path,
    jobs: &Jobs,
    tasks: impl Iterator<Item = &TaskName> + Clone,
    longest: Duration,
) -> Result<(), TableError> {
    // What cannot be looked at is found when its leases have run out.
    for dead in severed(home, jobs.table().name()).unwrap_or_default() {
        for task in tasks.clone() {
            jobs.revoke_leases(task, &dead.instance, longest).await?;
        }
        dead.liveness.release();
    }
    Ok(())
}

fn folder(home: &Path, table: &str) -> PathBuf {
    home.join("runners").join(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(home: &Path) -> Vec<String> {
        severed(home, "shop").unwrap().into_iter().map(|it| it.instance).collect()
    }

    #[test]
    fn s05_a_runner_is_dead_once_its_lock_is_gone_and_found_by_one_process() {
        let home = tempfile::tempdir().unwrap();
        assert!(dead(home.path()).is_empty(), "there is no folder yet");
        let first = LivenessLock::take(home.path(), "shop", "first").unwrap();
        let second = LivenessLock::take(home.path(), "shop", "second").unwrap();
        let _other = LivenessLock::take(home.path(), "forum", "other").unwrap();
        assert!(dead(home.path()).is_empty(), "all of them live");
        drop(first);
        let found = severed(home.path(), "shop").unwrap();
        assert_eq!((found.len(), found[0].instance.as_str()), (1, "first"));
        assert!(dead(home.path()).is_empty(), "somebody sees to it");
        drop(found);
        assert_eq!(dead(home.path()), ["first"], "who saw to it died too");
        severed(home.path(), "shop").unwrap().remove(0).liveness.release();
        second.release();
        assert!(dead(home.path()).is_empty());
    }

    #[test]
    fn what_is_left_of_a_runner_that_died_as_it_began_goes_with_time() {
        let home = tempfile::tempdir().unwrap();
        LivenessLock::take(home.path(), "shop", "first").unwrap().release();
        let unborn = folder(home.path(), "shop").join(".second");
        fs::write(&unborn, "").unwrap();
        assert!(dead(home.path()).is_empty() && unborn.exists());
        let file = OpenOptions::new().write(true).open(&unborn).unwrap();
        file.set_modified(std::time::SystemTime::now() - UNBORN).unwrap();
        assert!(dead(home.path()).is_empty() && !unborn.exists());
    }
}
