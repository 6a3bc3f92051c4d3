//! The liveness locks of the runners of a folder. Each runner locks a file there for as long as it lives. The kernel releases the
//! lock when the process ends, so the other runners know which of them have died.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use lamplighter_aws::{jobs::Jobs, table::TableError};
use lamplighter_core::name::TaskName;

/// The age at which a file with a temporary name is an orphan. A live runner renames its file within milliseconds.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// The locked file of a runner. The lock is released when this is dropped.
#[derive(Debug)]
pub struct LivenessLock {
    _lock: File,
    path: PathBuf,
}

/// A runner that has died, with its file, until its jobs are reclaimed.
#[derive(Debug)]
pub struct DeadRunner {
    /// The name of the runner.
    pub instance: String,
    liveness: LivenessLock,
}

impl LivenessLock {
    /// Takes the lock of a runner of the table of this name.
    pub fn take(home: &Path, table: &str, instance: &str) -> io::Result<Self> {
        let folder = folder(home, table);
        fs::create_dir_all(&folder)?;
        // The file is locked before it gets its final name, since an unlocked file with such a name marks a dead
        // runner.
        let new = folder.join(format!(".{instance}"));
        let lock = OpenOptions::new().write(true).create_new(true).open(&new)?;
        lock.try_lock()?;
        let path = folder.join(instance);
        fs::rename(new, &path)?;
        Ok(Self { _lock: lock, path })
    }

    /// Removes the file of a runner that has left no jobs behind.
    pub fn release(self) {
        // If it fails, the runner is taken for a dead one without jobs.
        let _ = fs::remove_file(&self.path);
    }
}

/// The runners of a table that have died. The result holds their locks, so that no other process finds the same ones.
pub fn dead_runners(home: &Path, table: &str) -> io::Result<Vec<DeadRunner>> {
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
            remove_temporary(&path, TEMPORARY_AGE);
            continue;
        }
        // It fails if another process has removed the file meanwhile.
        let Ok(lock) = OpenOptions::new().write(true).open(&path) else { continue };
        if lock.try_lock().is_ok() {
            found.push(DeadRunner { instance, liveness: LivenessLock { _lock: lock, path } });
        }
    }
    Ok(found)
}

/// Removes the file of a runner that died before the file was renamed, if it is older than `age`.
fn remove_temporary(path: &Path, age: Duration) {
    let is_old = fs::metadata(path)
        .and_then(|file| file.modified())
        .is_ok_and(|made| made.elapsed().is_ok_and(|since| since >= age));
    if is_old {
        // If it fails, it is tried again at the next search.
        let _ = fs::remove_file(path);
    }
}

/// Revokes the leases of jobs that dead runners of the folder hold. `longest` is the longest remaining time of such a lease.
pub async fn reclaim(
    home: &Path,
    jobs: &Jobs,
    tasks: impl Iterator<Item = &TaskName> + Clone,
    longest: Duration,
) -> Result<(), TableError> {
    // If the folder cannot be read, the jobs are found again when their leases expire.
    for dead in dead_runners(home, jobs.table().name()).unwrap_or_default() {
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
        dead_runners(home, "shop").unwrap().into_iter().map(|it| it.instance).collect()
    }

    #[test]
    fn s05_a_runner_is_dead_once_its_lock_is_released_and_found_by_one_process() {
        let home = tempfile::tempdir().unwrap();
        assert!(dead(home.path()).is_empty(), "there is no folder yet");
        let first = LivenessLock::take(home.path(), "shop", "first").unwrap();
        let second = LivenessLock::take(home.path(), "shop", "second").unwrap();
        let _other = LivenessLock::take(home.path(), "forum", "other").unwrap();
        assert!(dead(home.path()).is_empty(), "all of them are alive");
        drop(first);
        let found = dead_runners(home.path(), "shop").unwrap();
        assert_eq!((found.len(), found[0].instance.as_str()), (1, "first"));
        assert!(dead(home.path()).is_empty(), "another process has found it");
        drop(found);
        assert_eq!(dead(home.path()), ["first"], "the process that found it has died too");
        dead_runners(home.path(), "shop").unwrap().remove(0).liveness.release();
        second.release();
        assert!(dead(home.path()).is_empty());
    }

    #[test]
    fn the_file_of_a_runner_that_died_at_its_start_is_removed_with_time() {
        let home = tempfile::tempdir().unwrap();
        LivenessLock::take(home.path(), "shop", "first").unwrap().release();
        let temporary = folder(home.path(), "shop").join(".second");
        fs::write(&temporary, "").unwrap();
        assert!(dead(home.path()).is_empty() && temporary.exists());
        let file = OpenOptions::new().write(true).open(&temporary).unwrap();
        file.set_modified(std::time::SystemTime::now() - TEMPORARY_AGE).unwrap();
        assert!(dead(home.path()).is_empty() && !temporary.exists());
    }
}
