//! A race for the lock: twenty processes race for ticks and are killed. Invariants 1 to 4 are checked with the table and
//! the bodies' own notes. `RACE_ROUNDS` and `RACE_SEED` set the number of rounds and repeat a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use lamplighter_aws::table::History;
use lamplighter_core::{
    id::RunId,
    name::TaskName,
    run::{ErrorKind, Run},
    status::Status,
};
use lamplighter_testkit::{example, machine::Machine, variable::number};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinSet,
    time::{sleep, timeout},
};

const PROCESSES: usize = 20;
/// The tasks take turns, so that no round waits for the lease of a killed run.
const TASKS: usize = 48;
/// The time of an invocation, half of which the pipeline reserves for the record.
const LIMIT: Duration = Duration::from_secs(6);
/// A limit that nothing reaches.
const LONG: Duration = Duration::from_secs(60);

/// A process of the race.
struct Racer {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// The time at which a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Never,
    After(Duration),
    InBody,
}

/// The answer of a process, or the time of its death in nanoseconds.
enum Answer {
    Said(Value),
    Dead { pid: u32, at: u128 },
}

impl Racer {
    fn start(folder: &Path, endpoint: &str) -> Self {
        let binary = example("racer");
        let mut child = Command::new(&binary)
            .env_clear()
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            .env("LAMPLIGHTER_TABLE", "lamplighter")
            .env("RACE_JOURNAL", folder.join("journal"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}: run a whole `cargo test -p lamplighter`", binary.display())
            });
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders, answers }
    }

    async fn order(&mut self, order: &str, kill: Kill) -> Answer {
        let answer = async {
            self.orders.write_all(order.as_bytes()).await.unwrap();
            loop {
                let line = self.answers.next_line().await.unwrap().expect("the process exited by itself");
                let said: Value = serde_json::from_str(&line).unwrap();
                match (said["begun"].is_null(), kill) {
                    (true, _) => break Some(said),
                    (false, Kill::InBody) => break None,
                    (false, _) => {}
                }
            }
        };
        let answer = match kill {
            Kill::After(pause) => timeout(pause, answer).await.unwrap_or(None),
            Kill::Never | Kill::InBody => timeout(LONG, answer).await.expect("the process does not respond"),
        };
        if let Some(said) = answer {
            return Answer::Said(said);
        }
        let pid = self.child.id().unwrap();
        self.child.kill().await.unwrap();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        Answer::Dead { pid, at }
    }
}

/// Seeded random choices.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Chooses when each process is killed in a round. In most rounds, none is.
    fn kills(&mut self) -> Vec<Kill> {
        let mut kills = vec![Kill::Never; PROCESSES];
        match self.below(8) {
            0 => kills.fill(Kill::InBody),
            1 | 2 => {
                for _ in 0..=self.below(6) {
                    let victim = usize::try_from(self.below(PROCESSES as u64)).unwrap();
                    kills[victim] = Kill::After(Duration::from_micros(self.below(60_000)));
                }
            }
            _ => {}
        }
        kills
    }
}

/// The world, and the observations so far.
struct Race {
    machine: Machine,
    racers: Vec<Racer>,
    /// The time from which each task is free.
    free: [Instant; TASKS],
    /// All records that were read.
    records: BTreeMap<RunId, Run>,
    /// All runs that have started.
    started: BTreeSet<RunId>,
    /// The times of death of the processes, in nanoseconds.
    dead: BTreeMap<u32, u128>,
}

fn name(task: usize) -> TaskName {
    format!("race-{task}").parse().unwrap()
}

impl Race {
    async fn new() -> Self {
        let machine = Machine::new().await;
        let racers = (0..PROCESSES).map(|_| Racer::start(machine.folder(), &machine.dynamodb)).collect();
        Self {
            machine,
            racers,
            free: [Instant::now(); TASKS],
            records: BTreeMap::new(),
            started: BTreeSet::new(),
            dead: BTreeMap::new(),
        }
    }

    /// Sends one tick of one task to all processes at once.
    async fn round(&mut self, round: usize, chance: &mut Chance) {
        // The task that has been free the longest.
        let task = (0..TASKS).min_by_key(|task| self.free[*task]).unwrap();
        sleep(self.free[task].saturating_duration_since(Instant::now())).await;
        let tick = jiff::Timestamp::from_second(1_800_000_000 + 60 * i64::try_from(round).unwrap()).unwrap();
        let kills = chance.kills();
        // A body that is to be killed still runs when its start is reported.
        let body_ms = if kills.contains(&Kill::InBody) { 400 } else { chance.below(6) };
        let order = json!({
            "task": name(task), "body_ms": body_ms, "limit_ms": LIMIT.as_millis(),
            "payload": { "trigger": "schedule", "scheduled_for": tick },
        });
        let mut answering = JoinSet::new();
        for (mut racer, kill) in std::mem::take(&mut self.racers).into_iter().zip(kills) {
            let order = format!("{order}\n");
            answering.spawn(async move {
                let answer = racer.order(&order, kill).await;
                (racer, answer)
            });
        }
        let mut completed = 0;
        let mut killed = 0;
        while let Some(answered) = answering.join_next().await {
            let (racer, answer) = answered.unwrap();
            match answer {
                Answer::Said(said) => {
                    let reason = &said["report"]["refused"]["reason"];
                    if said["report"]["status"] == "COMPLETED" {
                        completed += 1;
                    } else {
                        let known = ["previous_instance_running", "already_running", "already_ran"];
                        assert!(known.iter().any(|it| reason == it), "{said}");
                    }
                    self.racers.push(racer);
                }
                Answer::Dead { pid, at } => {
                    killed += 1;
                    self.dead.insert(pid, at);
                    self.racers.push(Racer::start(self.machine.folder(), &self.machine.dynamodb));
                }
            }
        }
        assert!(
            completed == 1 || (completed == 0 && killed > 0),
            "{completed} completed, {killed} were killed"
        );
        self.look(task).await;
    }

    /// Reads a task's newest records, checks that none has changed, and updates when the task is free.
    async fn look(&mut self, task: usize) {
        let name = name(task);
        let wanted = History::of(name.clone(), 100);
        for run in self.machine.table.history(&wanted).await.unwrap().runs {
            assert!(run.status.is_terminal(), "{run:?}");
            let before = self.records.insert(run.id, run.clone());
            assert!(before.is_none_or(|before| before == run), "invariant 3: a record changed: {run:?}");
        }
        let state = self.machine.table.state(&name).await.unwrap();
        let held = state.leases().map(|lease| (lease.run_id, lease.until)).collect::<Vec<_>>();
        self.started.extend(held.iter().map(|(run, _)| run));
        let left = held.iter().map(|(_, until)| until.duration_since(jiff::Timestamp::now()));
        let left = left.filter_map(|left| Duration::try_from(left).ok()).max().unwrap_or_default();
        self.free[task] = Instant::now() + left + Duration::from_millis(5);
    }

    /// Claims every task once more at the end, and checks all invariants.
    async fn verify(&mut self) {
        for task in 0..TASKS {
            sleep(self.free[task].saturating_duration_since(Instant::now())).await;
            let (name, now) = (name(task), jiff::Timestamp::now());
            for lost in self.machine.table.state(&name).await.unwrap().lost(now) {
                self.machine.table.end_lost(&name, &lost, now).await.unwrap();
            }
            self.look(task).await;
            assert_eq!(
                self.machine.table.state(&name).await.unwrap().leases().count(),
                0,
                "invariant 4: {name} is held"
            );
        }
        let bodies = self.bodies();
        self.started.extend(bodies.iter().map(|body| body.run));
        for run in &self.started {
            assert!(self.records.contains_key(run), "invariant 4: {run} has no record");
        }
        let mut ticks = BTreeMap::new();
        for run in self.records.values().filter(|run| run.status != Status::Skipped) {
            let other = ticks.insert((run.task.clone(), run.scheduled_for.unwrap()), run.id);
            assert_eq!(other, None, "invariant 2: {} ran twice for {:?}", run.task, run.scheduled_for);
        }
        let mut latest: BTreeMap<&str, &Body> = BTreeMap::new();
        let mut runs = BTreeSet::new();
        for body in &bodies {
            assert!(runs.insert(body.run), "invariant 1: {body:?} began twice");
            if let Some(before) = latest.insert(&body.task, body) {
                assert!(before.ended < body.began, "invariant 1: {before:?} and {body:?}");
            }
        }
        let failed = |run: &&Run| run.status == Status::Failed;
        for lost in self.records.values().filter(failed) {
            assert_eq!(lost.error.as_ref().map(|error| error.kind), Some(ErrorKind::System), "{lost:?}");
        }
        println!(
            "{} records, {} bodies, {} processes killed, {} runs lost",
            self.records.len(),
            bodies.len(),
            self.dead.len(),
            self.records.values().filter(failed).count()
        );
    }

    /// Returns the bodies' notes, in the order of their starts.
    fn bodies(&self) -> Vec<Body> {
        let text = std::fs::read_to_string(self.machine.folder().join("journal")).unwrap();
        let mut bodies: BTreeMap<(RunId, u32), Body> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [what, task, run, pid, at] = words[..] else { panic!("{line}") };
            let (run, pid, at) = (run.parse().unwrap(), pid.parse().unwrap(), at.parse().unwrap());
            let ended = self.dead.get(&pid).copied().unwrap_or(u128::MAX);
            let body = bodies.entry((run, pid)).or_insert(Body { task: task.into(), run, began: at, ended });
            if what == "end" {
                body.ended = at;
            }
        }
        let mut bodies: Vec<_> = bodies.into_values().collect();
        bodies.sort_by_key(|body| body.began);
        bodies
    }
}

/// A body, from its start to its end or its process's death, in nanoseconds.
#[derive(Debug)]
struct Body {
    task: String,
    run: RunId,
    began: u128,
    ended: u128,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c13_c15_c20_twenty_processes_race_and_are_killed() {
    let seed = number("RACE_SEED", u64::from(std::process::id()) * 0x9E37_79B9 + 1);
    let rounds = number("RACE_ROUNDS", 100_usize);
    println!("RACE_SEED={seed} RACE_ROUNDS={rounds}");
    let mut chance = Chance(seed);
    let mut race = Race::new().await;
    for round in 0..rounds {
        race.round(round, &mut chance).await;
    }
    race.verify().await;
}
