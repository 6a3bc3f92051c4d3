//! Deletes objects of the bucket on this machine. The large values of a run are kept as long as its record. In AWS the lifecycle
//! rules of the bucket delete them.

use std::time::Duration;

use anyhow::Context as _;
use lamplighter_aws::table::{JOBS_FOLDER, RUNS_FOLDER, Table};
use lamplighter_core::{job::JobKey, name::TaskName};
use lamplighter_local::Bucket;

/// The folders of the bucket with the values of runs and the arguments of jobs.
const FOLDERS: [&str; 2] = [RUNS_FOLDER, JOBS_FOLDER];
/// The age at which a value must have a record. The value is written first, and a run takes far less time.
const SETTLED: Duration = Duration::from_secs(3 * 24 * 3600);

/// Deletes the values of runs that have no record any more, and returns their number.
pub async fn sweep(bucket: &Bucket, table: &Table) -> anyhow::Result<usize> {
    sweep_older(bucket, table, SETTLED).await
}

async fn sweep_older(bucket: &Bucket, table: &Table, age: Duration) -> anyhow::Result<usize> {
    let mut keys = Vec::new();
    for folder in FOLDERS {
        keys.extend(bucket.older(folder, age).context("cannot read the bucket's folder")?);
    }
    keys.sort();
    let (mut removed, mut last) = (0, None);
    for key in keys {
        let Some(run) = run_of(&key) else { continue };
        // The values of one run are adjacent.
        let has_record = match &last {
            Some((before, has_record)) if *before == run => *has_record,
            _ => table.job(&run).await?.is_some(),
        };
        last = Some((run, has_record));
        if !has_record {
            bucket.remove(&key).with_context(|| format!("cannot delete the object {key}"))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The run of a value, from its key: `runs/<task>/<run>/<value>` or `jobs/..`. `None` for other objects, which are kept.
fn run_of(key: &str) -> Option<JobKey> {
    let mut parts = key.split('/');
    let (folder, task, run, value) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if !FOLDERS.contains(&folder) {
        return None;
    }
    let task = task.parse::<TaskName>().ok()?;
    let is_whole = !value.is_empty() && parts.next().is_none();
    is_whole.then_some(JobKey { task, run_id: run.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamplighter_core::{
        id::RunId,
        run::{Run, Trigger},
        status::Status,
    };
    use lamplighter_local::Synchronous;
    use serde_json::json;

    use super::*;
    use crate::storage::Storage;

    #[test]
    fn the_key_of_a_value_names_its_run() {
        let run = RunId::new(Timestamp::UNIX_EPOCH, 7);
        let of = |key: &str| run_of(key).map(|it| (it.task.to_string(), it.run_id));
        for folder in FOLDERS {
            assert_eq!(of(&format!("{folder}/pin/{run}/data-0a.json")), Some(("pin".to_owned(), run)));
        }
        for other in [
            format!("runs/pin/{run}"),
            format!("runs/pin/{run}/"),
            format!("runs/pin/{run}/a/b"),
            format!("runs/Pin/{run}/data.json"),
            format!("results/pin/{run}/data.json"),
            format!("runsx/pin/{run}/data.json"),
            "runs/pin/1/data.json".to_owned(),
            String::new(),
        ] {
            assert_eq!(of(&other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_value_is_deleted_once_its_record_is_gone_and_other_objects_stay() {
        let home = tempfile::tempdir().unwrap();
        let task: TaskName = "pin".parse().unwrap();
        let storage = Storage::open(home.path(), "shop", Synchronous::Normal, []).await.unwrap();
        let large = json!("x".repeat(200_000));
        let now = Timestamp::now();
        let runs = [1, 2].map(|number| Run {
            status: Status::Completed,
            data: Some(large.clone()),
            ..Run::begun(RunId::new(now, number), task.clone(), Trigger::Manual, now)
        });
        let table = &storage.table;
        for run in &runs {
            let stored = table.put_away(run).await.unwrap();
            assert!(stored.data.is_none(), "it is in the bucket");
        }
        let _ = table.record(&table.put_away(&runs[0]).await.unwrap()).await.unwrap();
        let folder = home.path().join("bucket/shop-lamplighter");
        // The arguments of a job that was never stored.
        let of_job = folder.join(format!("jobs/pin/{}/arguments-0a.json", RunId::new(now, 3)));
        std::fs::create_dir_all(of_job.parent().unwrap()).unwrap();
        std::fs::write(&of_job, large.to_string()).unwrap();
        std::fs::write(folder.join("runs/notes.txt"), "another program's").unwrap();
        let bucket = storage.bucket().unwrap();
        assert_eq!(sweep(bucket, table).await.unwrap(), 0, "all of them are new");
        assert_eq!(sweep_older(bucket, table, Duration::ZERO).await.unwrap(), 2);
        let kept = table.run(&task, runs[0].id).await.unwrap().unwrap();
        assert_eq!(table.whole(kept).await.unwrap().data, Some(large));
        assert!(folder.join("runs/notes.txt").exists());
        storage.close(|| {}).await;
    }
}
