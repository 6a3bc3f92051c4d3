//! A runner's parts, started and stopped together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Jobs, Waker},
    process::EndSignals,
    table::{Recorded, Table, TableError},
};
use lamplighter_core::{
    claim::Lost,
    name::TaskName,
    reason::Reason,
    run::Run,
    runner::{HEARTBEAT, Runner},
    status::Status,
};
use lamplighter_local::InProgress;
use lamplighter_pulse::{event::Event as Received, notify, run::Pulse};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    attempts::Attempts,
    events::{Event, Reporter},
    liveness::{self, LivenessLock},
    machine::Machine,
    objects, presence,
    queue::{self, JobWorker, Queues},
    scheduler,
    side::Side,
    sides,
    wake::WakeSocket,
    watching::{Placing, Watched, watch},
};

/// The time that runs have to put things in order when they are cancelled: a moment for the body, and its record.
const CANCELLING: Duration = Duration::from_secs(3);
/// The pause between two searches for log files and values in the bucket whose time is over.
const SWEEP: Duration = Duration::from_secs(3600);
/// How often the messages that could not be delivered are looked at.
const DELIVERIES: Duration = Duration::from_secs(60);
/// The time for what is only told: the last heartbeat, the last notices, and the table's other guests.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// What a runner is made of.
pub struct Service {
    /// The table, the functions and their host.
    pub machine: Arc<Machine>,
    /// The folder that it shares with the other runners of this machine.
    pub home: PathBuf,
    /// What it says of itself.
    pub runner: Runner,
    /// By what the others know that it lives.
    pub liveness: LivenessLock,
    /// The tasks of the moment, and what starts them.
    pub pulses: watch::Sender<Arc<Pulse>>,
    /// The queue tasks of the moment.
    pub queues: watch::Sender<Arc<Queues>>,
    /// Where it hears of jobs.
    pub waker: WakeSocket,
    /// How many jobs run at once, at most.
    pub concurrency: usize,
    /// The side tasks of the moment.
    pub sides: watch::Sender<Arc<Vec<Side>>>,
    /// What the host says of invocations that failed.
    pub failures: mpsc::UnboundedReceiver<Value>,
    /// How often it is looked for what was lost or missed.
    pub interval: Duration,
    /// How long what runs may go on when the runner is to stop.
    pub grace: Duration,
    /// The sources, if what changes in them is to be built.
    pub watched: Option<Watched>,
}

/// How a runner is told to stop.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Nothing new begins, and what runs has its grace.
    pub stop: CancellationToken,
    /// Nothing is waited for any more.
    pub at_once: CancellationToken,
}

impl Ends {
    /// Ends that fire by SIGTERM, SIGHUP and SIGINT: the first to stop, the second at once.
    pub fn by_signals() -> anyhow::Result<Self> {
        let ends = Self::default();
        let fired = ends.clone();
        let mut signals = EndSignals::of_anybody()?;
        tokio::spawn(async move {
            for end in [&fired.stop, &fired.at_once] {
                signals.next().await;
                end.cancel();
            }
        });
        Ok(ends)
    }
}

/// Runs everything until it is told to stop, and then until what runs is over or cancelled. When this returns, no process
/// is left. Fails if the table was lost.
pub async fn serve(it: Service, ends: Ends, reporter: Arc<dyn Reporter>) -> anyhow::Result<()> {
    let Service {
        machine,
        home,
        runner,
        liveness,
        pulses,
        queues,
        waker,
        concurrency,
        sides,
        failures,
        interval,
        grace,
        watched,
    } = it;
    let (host, prefix, over) = (Arc::clone(&machine.host), machine.function(""), CancellationToken::new());

    // What begins work ends with `stop`.
    let mut beginning = JoinSet::new();
    beginning.spawn(scheduler::drive(pulses.subscribe(), interval, Arc::clone(&reporter), ends.stop.clone()));
    if let Some(watched) = watched {
        let machine = Arc::clone(&machine);
        let placing = Placing {
            pulses: pulses.clone(),
            queues: queues.clone(),
            sides: sides.clone(),
            runner: runner.instance.clone(),
        };
        beginning.spawn(watch(watched, machine, placing, Arc::clone(&reporter), ends.stop.clone()));
    }
    let carrying = TaskTracker::new();
    let jobs = jobs(&machine, &pulses.borrow(), Waker::Runner { to: Some(waker.address.clone()) });
    beginning.spawn(reclaim(
        home,
        jobs.clone(),
        queues.subscribe(),
        Arc::clone(&reporter),
        ends.stop.clone(),
    ));
    beginning.spawn(sweep(
        Arc::clone(&machine),
        pulses.borrow().table.clone(),
        Arc::clone(&reporter),
        ends.stop.clone(),
    ));
    let worker = JobWorker {
        jobs,
        instance: runner.instance.as_str().into(),
        attempts: Attempts::by(Arc::clone(&host)),
        waker,
        queues: queues.subscribe(),
        concurrency,
        reporter: Arc::clone(&reporter),
        running: carrying.clone(),
    };
    beginning.spawn(worker.dispatch(ends.stop.clone()));

    // What ends by itself, in its own time.
    let mut beside = JoinSet::new();
    let table = pulses.borrow().table.clone();
    beside.spawn(sides::keep(
        sides.subscribe(),
        Arc::clone(&machine),
        table.clone(),
        Arc::clone(&reporter),
        ends.stop.clone(),
    ));

    // What tells of it ends when all is over.
    let mut telling = JoinSet::new();
    let shown =
        presence::show(table, runner, host, prefix, Arc::clone(&reporter), ends.stop.clone(), over.clone());
    telling.spawn(shown);
    telling.spawn(tell_failures(failures, pulses.subscribe(), Arc::clone(&reporter), over.clone()));
    telling.spawn(deliver(pulses.subscribe(), Arc::clone(&reporter), over.clone()));
    let keeping =
        tokio::spawn(keep_table(Arc::clone(&machine), Arc::clone(&reporter), ends.clone(), over.clone()));

    ends.stop.cancelled().await;
    let running = machine.host.in_progress().len();
    reporter.event(&Event::Stopping { running, grace });
    while beginning.join_next().await.is_some() {}
    let it = Arc::clone(&pulses.borrow());
    tokio::join!(settle(&machine, grace, &it, &ends.at_once, &*reporter), async {
        while beside.join_next().await.is_some() {}
    });
    drop(it);
    // What became of the jobs is still written down.
    carrying.close();
    let has_left_none = timeout(LAST_WORDS, carrying.wait()).await.is_ok();
    over.cancel();
    let _ = timeout(LAST_WORDS, async { while telling.join_next().await.is_some() {} }).await;
    let kept = timeout(LAST_WORDS, keeping).await;
    // What it has left is freed by the next runner, which finds its liveness without it.
    if has_left_none {
        liveness.release();
    }
    // Everybody else who had it has ended.
    if let Some(machine) = Arc::into_inner(machine) {
        let _ = timeout(LAST_WORDS, machine.stop(|| reporter.event(&Event::TableInUse))).await;
    }
    reporter.event(&Event::Stopped);
    match kept {
        Ok(Ok(kept)) => kept,
        // Nothing was heard of it.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// The jobs of the stack: written in groups where this process has the table, and with messages of those that fail where
/// somebody is told.
fn jobs(machine: &Machine, pulse: &Pulse, waker: Waker) -> Jobs {
    let mut jobs = Jobs::new(pulse.table.clone(), waker);
    if let Some(engine) = machine.storage.exclusive() {
        jobs = jobs.with_group_commit(engine);
    }
    if pulse.notifier.is_some() {
        jobs = jobs.telling(pulse.stack.clone());
    }
    jobs
}

/// Takes the place of the process through which the table is used, should that die; ends everything if it cannot.
async fn keep_table(
    machine: Arc<Machine>,
    reporter: Arc<dyn Reporter>,
    ends: Ends,
    over: CancellationToken,
) -> anyhow::Result<()> {
    let inherited = tokio::select! {
        inherited = machine.storage.inherit() => inherited,
        () = over.cancelled() => return Ok(()),
    };
    if inherited.is_ok() {
        reporter.event(&Event::TableInherited);
    } else {
        ends.stop.cancel();
        ends.at_once.cancel();
    }
    inherited
}

/// Frees the jobs of dead runners of the folder until `stop`: at once, and as often as it would be known of a living one
/// that it lives.
async fn reclaim(
    home: PathBuf,
    jobs: Jobs,
    queues: watch::Receiver<Arc<Queues>>,
    reporter: Arc<dyn Reporter>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let queues = Arc::clone(&queues.borrow());
        if let Err(error) = liveness::reclaim(&home, &jobs, queues.tasks.keys(), queue::LEASE).await {
            reporter.warn(&error.to_string());
        }
        let _ = timeout(HEARTBEAT, stop.cancelled()).await;
    }
}

/// Removes the log files whose time is over, and the large values of runs whose records have expired, until `stop`.
async fn sweep(machine: Arc<Machine>, table: Table, reporter: Arc<dyn Reporter>, stop: CancellationToken) {
    loop {
        machine.forget_logs();
        if timeout(SWEEP, stop.cancelled()).await.is_ok() {
            return;
        }
        if let Some(bucket) = machine.storage.bucket()
            && let Err(error) = objects::sweep(bucket, &table).await
        {
            reporter.warn(&format!("{error:#}"));
        }
    }
}

/// Lets what runs finish within the grace, then cancels it, and at last kills it. Each run has its record then.
async fn settle(
    machine: &Machine,
    grace: Duration,
    it: &Pulse,
    at_once: &CancellationToken,
    reporter: &dyn Reporter,
) {
    let host = &machine.host;
    let drained = |limit| async move {
        tokio::select! {
            biased;
            () = at_once.cancelled() => {}
            _ = timeout(limit, host.drain()) => {}
        }
    };
    drained(grace).await;
    if !host.in_progress().is_empty() {
        host.terminate();
        drained(CANCELLING).await;
    }
    let left = host.in_progress();
    host.shutdown().await;
    for invocation in left {
        if let Err(error) = cancelled(it, &machine.function(""), &invocation).await {
            reporter.warn(&error.to_string());
        }
    }
}

/// Records the run of an invocation whose process was killed with this runner.
async fn cancelled(it: &Pulse, prefix: &str, invocation: &InProgress) -> Result<(), TableError> {
    let task = invocation.function.strip_prefix(prefix).and_then(|name| name.parse::<TaskName>().ok());
    let Some(task) = task else { return Ok(()) };
    let is_its_own = |lost: &Lost| lost.lease.holder.is_of(&invocation.request_id);
    let state = it.table.state(&task).await?;
    let Some(lost) = state.held().find(is_its_own) else { return Ok(()) };
    let run = Run {
        status: Status::Cancelled,
        environment: it.environment.clone(),
        ..lost.run(&task, Timestamp::now()).because(Reason::RunnerStopped)
    };
    match it.table.finish(&run, lost.hold).await? {
        Recorded::Written | Recorded::Before(_) => Ok(()),
    }
}

/// Sends the messages that are kept for whoever is to be told, as soon as there is one and once a minute: who does not answer
/// keeps nothing else waiting.
async fn deliver(
    mut pulses: watch::Receiver<Arc<Pulse>>,
    reporter: Arc<dyn Reporter>,
    over: CancellationToken,
) {
    loop {
        let it = Arc::clone(&pulses.borrow_and_update());
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            sent = notify::deliver(&it, Timestamp::MAX) => match sent {
                Ok(errors) => errors.iter().for_each(|error| reporter.warn(error)),
                Err(error) => reporter.warn(&error.to_string()),
            },
        }
        tokio::select! {
            () = over.cancelled() => return,
            () = it.posted.notified() => {}
            () = sleep(DELIVERIES) => {}
            changed = pulses.changed() => if changed.is_err() { return },
        }
    }
}

/// Tells whoever is to be told of invocations that failed, and ends the runs that they left behind.
async fn tell_failures(
    mut failures: mpsc::UnboundedReceiver<Value>,
    pulses: watch::Receiver<Arc<Pulse>>,
    reporter: Arc<dyn Reporter>,
    over: CancellationToken,
) {
    loop {
        let record = tokio::select! {
            biased;
            Some(record) = failures.recv() => record,
            () = over.cancelled() => return,
        };
        let it = Arc::clone(&pulses.borrow());
        // The host writes these records itself, so they are never something else.
        let Ok(Received::Failed(failed)) = Received::parse(record) else { continue };
        if let Err(error) = notify::failed(&it, &failed).await {
            reporter.warn(&error.to_string());
        }
    }
}
