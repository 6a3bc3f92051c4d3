//! Benchmark: a page of the history at a thousand and at a million runs, on the embedded engine. The read units must be
//! equal; the times are printed. Part of `make bench`.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut},
    },
    error::BoxError,
    operation::query::{QueryInput, QueryOutput},
    types::ReturnConsumedCapacity,
};
use jiff::Timestamp;
use lamplighter_aws::{
    clients::local_dynamodb,
    table::{Cursor, History, Recorded, Table, create},
};
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    run::{Attempt, Run, Trigger},
    status::Status,
};
use lamplighter_local::{Engine, Synchronous};
use serde_json::json;

use crate::{
    Measured,
    figures::{median, sign},
};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// Every tenth run has failed, so a filtered page of 20 reads 200 records, which the smaller table has, too.
const FAILED: usize = 10;
const PAGE: u16 = 20;
const ROUNDS: usize = 101;
/// The first run that completed.
const COMPLETED: usize = 1;

/// Counts the read units of queries.
#[derive(Clone, Debug, Default)]
struct Meter(Arc<Mutex<f64>>);

impl Meter {
    /// Returns the read units since the last call.
    fn spent(&self) -> Measured<f64> {
        Ok(std::mem::take(&mut *self.0.lock().map_err(|_| "poisoned")?))
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(input) = context.input_mut().downcast_mut::<QueryInput>() {
            input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let output = context.output_or_error().ok().and_then(|output| output.downcast_ref::<QueryOutput>());
        let units = output.and_then(|output| output.consumed_capacity()?.capacity_units());
        *self.0.lock().map_err(|_| "poisoned")? += units.unwrap_or(f64::NAN);
        Ok(())
    }
}

pub(crate) async fn measure() -> Measured<bool> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("table.db");
    println!("a page of the history on this machine, {PAGE} runs, the median of {ROUNDS}");
    let engine = Engine::open(&file, Synchronous::Normal)?;
    let client = local_dynamodb(&engine.serve().await?);
    let (few, many) = (begun(&client, FEW).await?, begun(&client, MANY).await?);
    engine.close().await;
    fill(&file, &few, FEW)?;
    fill(&file, &many, MANY)?;
    let engine = Engine::open(&file, Synchronous::Normal)?;
    let client = local_dynamodb(&engine.serve().await?);

    let meter = Meter::default();
    let config = client.config().to_builder().interceptor(meter.clone()).build();
    let client = Client::from_conf(config);
    let tables = [(Table::new(client.clone(), few), FEW), (Table::new(client, many), MANY)];
    let mut kept = true;
    for (what, statuses, from_middle) in [
        ("the first page", &[][..], false),
        ("one in the middle", &[], true),
        ("the first page, only FAILED ones", &[Status::Failed], false),
        ("one in the middle, only FAILED ones", &[Status::Failed], true),
    ] {
        let mut times = [const { Vec::new() }; 2];
        let mut units = [0.0; 2];
        for _ in 0..ROUNDS {
            for (i, (table, runs)) in tables.iter().enumerate() {
                let cursor = from_middle.then(|| Cursor::behind(id(runs / 2)));
                let wanted = History { statuses: statuses.to_vec(), cursor, ..History::of(task()?, PAGE) };
                meter.spent()?;
                let started = Instant::now();
                let page = table.history(&wanted).await?;
                times[i].push(started.elapsed().as_secs_f64() * 1e3);
                units[i] = meter.spent()?;
                if page.runs.len() != usize::from(PAGE) || !page.unreadable.is_empty() {
                    return Err(format!("{what}: {} runs", page.runs.len()).into());
                }
            }
        }
        let [few, many] = times.map(median);
        #[expect(clippy::float_cmp, reason = "units are halves, which are exact")]
        let same = units[0] == units[1];
        kept &= same;
        println!(
            "{}  {what:<36} {:>4} and {:>4} read units, {few:>6.2} and {many:>6.2} ms ({:.2} times)",
            sign(same),
            units[0],
            units[1],
            many / few,
        );
    }
    Ok(kept)
}

fn task() -> Measured<TaskName> {
    Ok("purge-expired".parse()?)
}

/// Returns the id of the i-th run, one per minute.
fn id(i: usize) -> RunId {
    let second = 1_800_000_000 + i64::try_from(i).unwrap_or(i64::MAX) * 60;
    RunId::new(Timestamp::from_second(second).unwrap_or_default(), 7)
}

/// Creates a table with two runs in the stored format: one completed, one failed.
async fn begun(client: &Client, runs: usize) -> Measured<String> {
    let name = format!("runs-{runs}");
    create(client, &name).await?;
    for (i, status) in [(COMPLETED, Status::Completed), (0, Status::Failed)] {
        let started_at = id(i).made_at();
        let run = Run {
            status,
            completed_at: started_at + Duration::from_millis(120),
            scheduled_for: Some(started_at),
            attempts: vec![Attempt { started_at, duration_ms: 120, error: None }],
            config: json!({ "batch_size": 500, "pause_ms": 0, "older_than_days": 7 }),
            message: Some("deleted 1234 expired sessions".to_owned()),
            ..Run::begun(id(i), task()?, Trigger::Schedule, started_at)
        };
        if Table::new(client.clone(), &name).record(&run).await? != Recorded::Written {
            return Err("a run was there before it was written".into());
        }
    }
    Ok(name)
}

/// Copies the table's two runs in the engine's file. Through the API a million would take an hour.
fn fill(file: &Path, name: &str, runs: usize) -> Measured<()> {
    let started = Instant::now();
    let mut base = rusqlite::Connection::open(file)?;
    let transaction = base.transaction()?;
    let copy = format!(
        "INSERT INTO \"{name}\" (pk, sk, item_json, item_size, hash_prefix) \
         SELECT pk, replace(sk, ?1, ?2), replace(item_json, ?1, ?2), item_size, hash_prefix \
         FROM \"{name}\" WHERE pk = 'S:RUNS#purge-expired#0' AND sk = 'S:' || ?1"
    );
    let mut copy = transaction.prepare(&copy)?;
    for i in (0..runs).filter(|i| ![0, COMPLETED].contains(i)) {
        let from = id(if i % FAILED == 0 { 0 } else { COMPLETED });
        if copy.execute([from.to_string(), id(i).to_string()])? != 1 {
            return Err("the records are not where the engine keeps them".into());
        }
    }
    drop(copy);
    transaction.commit()?;
    println!("        {runs} runs were written in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}
