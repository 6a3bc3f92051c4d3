//! Q10: no job is lost and none ends twice while its workers and its runner are killed at random.
//!
//! A rival worker in this process also revokes leases of a live runner, and completes the jobs itself. Two workers then
//! try to end the same job, which kills alone cause only by chance. `make kill` runs the test with twenty times the
//! jobs. With `KILL_RUNNERS=2` a second runner also takes over the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::local_dynamodb,
    jobs::{JobOutcome, Jobs, Waker, Worker},
    table::{Conditional, JobRecord, Table},
};
use lamplighter_core::{
    definition::Priority,
    id::RunId,
    job::{AttemptOutcome, Job, JobKey, NewJob},
    name::TaskName,
    retry::Retry,
    run::{Attempt, Run, Trigger},
    status::Status,
};
use lamplighter_local::{Engine, Synchronous};
use lamplighter_runner::{queue::LEASE, wake::wake_address};
use lamplighter_testkit::variable::number;
use serde_json::{Value, json};

use super::stage::{LIMIT, Stage, until};

const TASK: &str = "send-mail";
/// More attempts than any job loses by kills.
const ATTEMPTS: u32 = 30;
/// The number of processes that each restart starts.
const START: &[&str] = &["start", "--concurrency", "6"];
/// The number of jobs that are enqueued at once.
const MANY: usize = 50;

/// The seed of all random decisions, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // The algorithm is SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }

    async fn pause(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.roll(most))).await;
    }
}

/// The shared state of all threads.
struct World {
    home: PathBuf,
    jobs: usize,
    /// The progress of the kills, in thousandths.
    progress: AtomicUsize,
    over: AtomicBool,
    /// The client of the table server, and the announcement that it was made from.
    reached: Mutex<Option<(String, Jobs)>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The jobs whose enqueue was acknowledged.
    acknowledged: Vec<JobKey>,
    /// Terminal records as first read.
    ended: BTreeMap<RunId, String>,
    /// The ends that the rival wrote successfully: the fencing token and the record.
    rivals: BTreeMap<RunId, (u64, Option<Value>)>,
    /// The attempts that the rival started.
    started: BTreeSet<(RunId, u64)>,
    wrong: Vec<String>,
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A client of the current table server.
    fn reach(&self) -> Option<Jobs> {
        let served = fs::read_to_string(self.home.join("table.sqlite.endpoint")).ok()?;
        let mut reached = self.reached.lock().unwrap();
        if reached.as_ref().is_none_or(|(of, _)| *of != served) {
            let endpoint: Value = serde_json::from_str(&served).ok()?;
            let jobs = self.through(endpoint["dynamodb"].as_str()?);
            *reached = Some((served, jobs));
        }
        reached.as_ref().map(|(_, jobs)| jobs.clone())
    }

    fn through(&self, endpoint: &str) -> Jobs {
        let table = Table::new(local_dynamodb(endpoint), "shop-lamplighter");
        Jobs::new(table, Waker::Runner { to: wake_address(&self.home) })
    }

    /// Reads all records, after every other process has closed the table.
    async fn all(&self, keys: &[JobKey]) -> Vec<(JobKey, Option<JobRecord>)> {
        let engine = Engine::open(&self.home.join("table.sqlite"), Synchronous::Normal).unwrap();
        let jobs = self.through(&engine.serve().await.unwrap());
        let mut records = Vec::new();
        for key in keys {
            let found = jobs.find(key).await.unwrap();
            self.note(key, found.as_ref());
            records.push((key.clone(), found));
        }
        records
    }

    async fn is_anything_open(&self) -> bool {
        let Some(jobs) = self.reach() else { return true };
        let due = jobs.table().due_for_runner(&task(), Priority::Medium, 1).await;
        !due.is_ok_and(|due| due.is_empty())
    }

    /// Enqueues jobs during the kills, so that each kill meets some.
    async fn enqueue(&self) {
        let mut count = 0;
        while count < self.jobs {
            let wanted = self.jobs * (self.progress.load(Ordering::SeqCst) + 100) / 1000;
            if count >= wanted.min(self.jobs) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let Some(jobs) = self.reach() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let many = (count..self.jobs.min(count + MANY)).map(|mark| NewJob {
                arguments: json!({ "mode": "trace", "mark": mark.to_string() }),
                ..NewJob::of(task())
            });
            let accepted = match jobs.enqueue_many(many.collect()).await {
                Ok(accepted) => accepted,
                // Whether the others were enqueued is unknown; new ones replace them.
                Err(refused) => refused.accepted,
            };
            count += accepted.len();
            self.known().acknowledged.extend(accepted);
        }
    }

    /// Takes running jobs away from a live runner, and ends them.
    async fn rival(&self, mut dice: Dice) {
        while !self.is_over() {
            dice.pause(100).await;
            let Some(jobs) = self.reach() else { continue };
            let Ok(runners) = jobs.table().runners().await else { continue };
            let Some(living) = runners.into_iter().max_by_key(|runner| runner.started_at) else { continue };
            let now = Timestamp::now();
            let taken = jobs.table().revoke_leases(&task(), &living.instance, now, LEASE).await;
            for job in taken.unwrap_or_default().iter().take(3) {
                let until = now + Duration::from_millis(200 + dice.roll(300));
                let worker = Worker { retry: retry(), ..Worker::new(until, retry()) };
                let Ok(Conditional::Done(job)) = jobs.start(&job.key(), &worker).await else { continue };
                self.known().started.insert((job.id, job.fencing_token));
                dice.pause(60).await;
                let ended = jobs.conclude(&job, done_by_rival(&job), &worker).await;
                if let Ok(JobOutcome::Over(run)) = ended {
                    self.known().rivals.insert(run.id, (run.fencing_token, run.data));
                    if let Ok(found) = jobs.find(&job.key()).await {
                        self.note(&job.key(), found.as_ref());
                    }
                }
            }
        }
    }

    /// Reads records repeatedly: a job that has ended must not change.
    async fn watch(&self, mut dice: Dice) {
        while !self.is_over() {
            dice.pause(100).await;
            let Some(jobs) = self.reach() else { continue };
            for _ in 0..10 {
                let key = {
                    let known = self.known();
                    let count = known.acknowledged.len();
                    if count == 0 {
                        break;
                    }
                    // Half of the reads are of recent jobs, which may end between two reads. An older record changes
                    // only by a bug.
                    let of = if dice.roll(2) == 0 { count.min(400) } else { count };
                    let back = dice.roll(of as u64);
                    known.acknowledged[count - 1 - usize::try_from(back).unwrap()].clone()
                };
                match jobs.find(&key).await {
                    Ok(found) => self.note(&key, found.as_ref()),
                    Err(_) => break,
                }
            }
        }
    }

    fn note(&self, key: &JobKey, found: Option<&JobRecord>) {
        let mut known = self.known();
        let now = match found {
            Some(JobRecord::Over(run)) => serde_json::to_string(run).unwrap(),
            other => format!("{other:?}"),
        };
        match known.ended.get(&key.run_id).cloned() {
            Some(first) if first != now => {
                known.wrong.push(format!("{key} was over:\n  {first}\nand then:\n  {now}"));
            }
            None if matches!(found, Some(JobRecord::Over(_))) => {
                known.ended.insert(key.run_id, now);
            }
            _ => {}
        }
    }
}

fn task() -> TaskName {
    TASK.parse().unwrap()
}

fn retry() -> Retry {
    Retry { max_attempts: ATTEMPTS, initial: Duration::from_millis(10), max: Duration::from_millis(50) }
}

fn done_by_rival(job: &Job) -> AttemptOutcome {
    let now = Timestamp::now();
    let run = Run::begun(job.id, job.task.clone(), Trigger::Queue, now);
    let attempts = vec![Attempt { started_at: now, duration_ms: 1, error: None }];
    let data = Some(json!({ "epoch": job.fencing_token, "pid": "rival" }));
    AttemptOutcome { run: Run { status: Status::Completed, attempts, data, ..run }, retryable: false }
}

/// The processes that run the stage's bodies.
fn workers(stage: &Stage) -> Vec<String> {
    let mark = format!("PROBE_STAGE={}", stage.workspace.path("").display());
    let is_one = |process: &PathBuf| {
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "queue-probe")
            && fs::read(process.join("environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
    };
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let found = all.filter(is_one);
    found.map(|process| process.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn q10_none_is_lost_and_none_ends_twice_while_workers_and_the_runner_are_killed() {
    let jobs = number("KILL_JOBS", 500_usize);
    let kills = number("KILLS", 20_usize);
    let seed = number("KILL_SEED", u64::from(std::process::id()));
    // A failing test prints it.
    println!("{jobs} jobs, {kills} kills, KILL_SEED={seed}");
    // Lowers the priority of the started processes, since tests beside this one depend on the clock.
    rustix::process::nice(5).unwrap();
    let began = Instant::now();
    let retry = json!({ "max_attempts": ATTEMPTS, "initial_ms": 10, "max_ms": 50 });
    let stage = Stage::new().queue(TASK, &json!({ "retry": retry }));
    let world = Arc::new(World {
        home: stage.workspace.path(".lamplighter"),
        jobs,
        progress: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        reached: Mutex::default(),
        known: Mutex::default(),
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The others use the table through the first process; if that is killed, one of them takes the table over.
    let mut all: Vec<_> = (0..number("KILL_RUNNERS", 1)).map(|_| stage.start(START, &[])).collect();
    let enqueued = runtime.spawn({
        let world = Arc::clone(&world);
        async move { Box::pin(world.enqueue()).await }
    });
    let beside = [
        runtime.spawn({
            let world = Arc::clone(&world);
            async move { world.rival(Dice(seed ^ 1)).await }
        }),
        runtime.spawn({
            let world = Arc::clone(&world);
            async move { world.watch(Dice(seed ^ 2)).await }
        }),
    ];

    let mut dice = Dice(seed);
    let (mut runners, mut processes) = (0, 0);
    let mut noted = 0;
    while runners + processes < kills {
        // Waits for new bodies, so that jobs are in progress at each kill. Half of all jobs start between the kills.
        let enough = noted + jobs / kills / 2;
        noted = until("jobs in progress", || Some(stage.noted().len()).filter(|now| *now > enough));
        sleep(Duration::from_millis(dice.roll(100)));
        if dice.roll(3) == 0 {
            let victim = dice.roll(all.len() as u64);
            let victim = &mut all[usize::try_from(victim).unwrap()];
            victim.signal("KILL");
            *victim = stage.start(START, &[]);
            runners += 1;
        } else {
            let workers = workers(&stage);
            if workers.is_empty() {
                continue;
            }
            let victim = &workers[usize::try_from(dice.roll(workers.len() as u64)).unwrap()];
            // A process that ended meanwhile was not killed.
            let mut kill = std::process::Command::new("kill");
            if kill.args(["-s", "KILL", victim]).status().unwrap().success() {
                processes += 1;
            }
        }
        world.progress.store((runners + processes) * 1000 / kills, Ordering::SeqCst);
    }
    let enqueued = async { tokio::time::timeout(5 * LIMIT, enqueued).await };
    runtime.block_on(enqueued).expect("the last jobs are not enqueued").unwrap();
    let keys = world.known().acknowledged.clone();
    // Without a limit of time, as long as there is progress.
    while runtime.block_on(world.is_anything_open()) {
        noted = until("jobs that go on", || {
            let now = stage.noted().len();
            (now > noted || !runtime.block_on(world.is_anything_open())).then_some(now)
        });
    }
    world.over.store(true, Ordering::SeqCst);
    for task in beside {
        runtime.block_on(task).unwrap();
    }
    // The table server stays until the others have closed the table.
    for runner in &all {
        runner.signal("TERM");
    }
    for runner in all {
        assert_eq!(runner.ended().0, Some(0));
    }
    until("every process is gone", || (stage.processes() == 0).then_some(()));

    let records = runtime.block_on(world.all(&keys));
    let again = judge(&world, &stage, &records);
    let known = world.known();
    println!(
        "{} jobs, {runners} kills of the runner, {processes} of workers: {:.0} s; {again} attempts were made again, \
         {} jobs taken from a worker that lived",
        keys.len(),
        began.elapsed().as_secs_f64(),
        known.started.len(),
    );
    assert!(
        known.wrong.is_empty(),
        "KILL_SEED={seed}: {} wrong:\n{}",
        known.wrong.len(),
        known.wrong.join("\n")
    );
    assert!(!known.started.is_empty(), "the rival had nothing to do");
}

/// Collects faults of the records, and returns the number of bodies started beyond one for each job.
fn judge(world: &World, stage: &Stage, records: &[(JobKey, Option<JobRecord>)]) -> usize {
    let mut starts = BTreeMap::<(RunId, u64), String>::new();
    let mut known = world.known();
    let mut wrong = Vec::new();
    for line in stage.noted() {
        let words: Vec<_> = line.split(' ').collect();
        let [run, epoch, pid] = words[..] else { panic!("{line}") };
        let start = (run.parse().unwrap(), epoch.parse().unwrap());
        if let Some(other) = starts.insert(start, pid.to_owned()) {
            wrong.push(format!("{run} was started twice with the number {epoch}, in {other} and {pid}"));
        }
    }
    let bodies = starts.len();
    starts.extend(known.started.iter().map(|start| (*start, "rival".to_owned())));
    for (key, found) in records {
        let Some(JobRecord::Over(run)) = found else {
            wrong.push(format!("{key} is lost: {found:?}"));
            continue;
        };
        let data = run.data.as_ref();
        let (pid, epoch) = (data.map(|it| &it["pid"]), data.map(|it| &it["epoch"]));
        let started = starts.get(&(run.id, run.fencing_token)).map(|pid| json!(pid));
        if run.status != Status::Completed
            || epoch != Some(&json!(run.fencing_token))
            || pid != started.as_ref()
        {
            wrong.push(format!("{key} was not ended by {started:?}: {run:?}"));
        }
        let last = starts.range((run.id, 0)..=(run.id, u64::MAX)).next_back().map(|((_, epoch), _)| *epoch);
        if last != Some(run.fencing_token) {
            wrong.push(format!("{key} was ended by {}, and {last:?} was started last", run.fencing_token));
        }
        if let Some((epoch, data)) =
            known.rivals.get(&run.id).filter(|it| **it != (run.fencing_token, run.data.clone()))
        {
            wrong.push(format!("{key} had been ended with {epoch}, {data:?}: {run:?}"));
        }
    }
    known.wrong.extend(wrong);
    bodies.saturating_sub(records.len())
}
