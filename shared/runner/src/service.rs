//! A runner's parts, started and stopped together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    jobs::{Jobs, Waker},
    table::{Recorded, Table, TableError},
};
use lamplighter_core::{
    claim::LostRun,
    name::TaskName,
    reason::Reason,
    run::Run,
    runner::{HEARTBEAT, Runner},
    status::Status,
};
use lamplighter_local::InProgress;
use lamplighter_pulse::{event::Event as Received, notify, services::Pulse};
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
    stop_signals::StopTokens,
    wake::WakeSocket,
    watching::{CurrentTasks, WatchedSources, watch},
};

/// The time for cancelled runs to clean up and to be recorded.
const CANCELLING: Duration = Duration::from_secs(3);
/// The pause between two deletions of old log files and expired values in the bucket.
const SWEEP: Duration = Duration::from_secs(3600);
/// The pause between two attempts to deliver messages that could not be delivered.
const DELIVERIES: Duration = Duration::from_secs(60);
/// The limit for each of the last steps: the last heartbeat, the last messages, and the clients of the table.
const CLOSING: Duration = Duration::from_millis(1500);

/// The parts of a runner.
pub struct Service {
    /// The table, the functions and their host.
    pub machine: Arc<Machine>,
    /// The home folder, which the runners of this machine share.
    pub home: PathBuf,
    /// Its record in the table.
    pub runner: Runner,
    /// Its liveness lock.
    pub liveness: LivenessLock,
    /// The pulse, with the current tasks.
    pub pulses: watch::Sender<Arc<Pulse>>,
    /// The current queue tasks.
    pub queues: watch::Sender<Arc<Queues>>,
    /// The socket for wake-ups.
    pub waker: WakeSocket,
    /// The largest number of jobs that run at once.
    pub concurrency: usize,
    /// The current side tasks.
    pub sides: watch::Sender<Arc<Vec<Side>>>,
    /// The host's records of failed invocations.
    pub failures: mpsc::UnboundedReceiver<Value>,
    /// The pause between two searches for lost runs and missed ticks.
    pub interval: Duration,
    /// The time in which runs may finish when the runner stops.
    pub grace: Duration,
    /// The sources, if they are watched.
    pub watched: Option<WatchedSources>,
}

/// Runs all parts until a stop, and then until the runs in progress have finished or are cancelled. When this returns, no process
/// is left. Fails if the table was lost.
pub async fn serve(service: Service, stops: StopTokens, reporter: Arc<dyn Reporter>) -> anyhow::Result<()> {
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
    } = service;
    let (host, prefix) = (Arc::clone(&machine.host), machine.function(""));
    let (stopping, over) = (CancellationToken::new(), CancellationToken::new());

    // Tasks that start work end with `stopping`, which fires once the stop is reported.
    let mut intake = JoinSet::new();
    intake.spawn(scheduler::drive(pulses.subscribe(), interval, Arc::clone(&reporter), stopping.clone()));
    if let Some(watched) = watched {
        let machine = Arc::clone(&machine);
        let current = CurrentTasks {
            pulses: pulses.clone(),
            queues: queues.clone(),
            sides: sides.clone(),
            runner: runner.instance.clone(),
        };
        intake.spawn(watch(watched, machine, current, Arc::clone(&reporter), stopping.clone()));
    }
    let running_jobs = TaskTracker::new();
    let jobs = jobs(&machine, &pulses.borrow(), Waker::Runner { to: Some(waker.address.clone()) });
    intake.spawn(reclaim(home, jobs.clone(), queues.subscribe(), Arc::clone(&reporter), stopping.clone()));
    let table = pulses.borrow().table.clone();
    intake.spawn(sweep(Arc::clone(&machine), table.clone(), Arc::clone(&reporter), stopping.clone()));
    let worker = JobWorker {
        jobs,
        instance: runner.instance.as_str().into(),
        attempts: Attempts::by(Arc::clone(&host)),
        waker,
        queues: queues.subscribe(),
        concurrency,
        reporter: Arc::clone(&reporter),
        running: running_jobs.clone(),
    };
    intake.spawn(worker.dispatch(stopping.clone()));

    // The side tasks end after `stopping`, in their own time.
    let mut supervising = JoinSet::new();
    supervising.spawn(sides::supervise_all(
        sides.subscribe(),
        Arc::clone(&machine),
        table.clone(),
        Arc::clone(&reporter),
        stopping.clone(),
    ));

    // Tasks that report end when all work is over.
    let mut reporting = JoinSet::new();
    // It fires `stops.stop` if the table requests a stop.
    let publishing = presence::publish(
        table,
        runner,
        host,
        prefix,
        Arc::clone(&reporter),
        stops.stop.clone(),
        over.clone(),
    );
    reporting.spawn(publishing);
    reporting.spawn(report_failures(failures, pulses.subscribe(), Arc::clone(&reporter), over.clone()));
    reporting.spawn(deliver(pulses.subscribe(), Arc::clone(&reporter), over.clone()));
    let keeping =
        tokio::spawn(keep_table(Arc::clone(&machine), Arc::clone(&reporter), stops.clone(), over.clone()));

    stops.stop.cancelled().await;
    let running = machine.host.in_progress().len();
    reporter.event(&Event::Stopping { running, grace });
    stopping.cancel();
    while intake.join_next().await.is_some() {}
    let it = Arc::clone(&pulses.borrow());
    tokio::join!(wind_down(&machine, grace, &it, &stops.at_once, &*reporter), async {
        while supervising.join_next().await.is_some() {}
    });
    drop(it);
    // Waits until the results of the last jobs are recorded.
    running_jobs.close();
    let no_jobs_left = timeout(CLOSING, running_jobs.wait()).await.is_ok();
    over.cancel();
    let _ = timeout(CLOSING, async { while reporting.join_next().await.is_some() {} }).await;
    let kept = timeout(CLOSING, keeping).await;
    // If jobs are left, the liveness file stays. The next runner finds it unlocked, and reclaims the jobs.
    if no_jobs_left {
        liveness.release();
    }
    // It is the last reference: all tasks that had one have ended.
    if let Some(machine) = Arc::into_inner(machine) {
        let _ = timeout(CLOSING, machine.stop(|| reporter.event(&Event::TableInUse))).await;
    }
    reporter.event(&Event::Stopped);
    match kept {
        Ok(Ok(kept)) => kept,
        // The table keeper panicked or did not end in time.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// The jobs of the stack, with group commits if the table is on this machine, and with messages about failures if the project has
/// a notifier.
fn jobs(machine: &Machine, pulse: &Pulse, waker: Waker) -> Jobs {
    let mut jobs = Jobs::new(pulse.table.clone(), waker);
    if let Some(engine) = machine.storage.group_commit() {
        jobs = jobs.with_group_commit(engine);
    }
    if pulse.notifier.is_some() {
        jobs = jobs.with_failure_messages(pulse.stack.clone());
    }
    jobs
}

/// Takes over the table if the process that serves it ends. If that fails, the runner stops at once.
async fn keep_table(
    machine: Arc<Machine>,
    reporter: Arc<dyn Reporter>,
    stops: StopTokens,
    over: CancellationToken,
) -> anyhow::Result<()> {
    let inherited = tokio::select! {
        inherited = machine.storage.inherit() => inherited,
        () = over.cancelled() => return Ok(()),
    };
    if inherited.is_ok() {
        reporter.event(&Event::TableInherited);
    } else {
        stops.stop.cancel();
        stops.at_once.cancel();
    }
    inherited
}

/// Reclaims the jobs of dead runners of the folder until `stop`: at once, and then each [`HEARTBEAT`].
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

/// Deletes old log files, and the large values of runs whose records have expired, until `stop`.
async fn sweep(machine: Arc<Machine>, table: Table, reporter: Arc<dyn Reporter>, stop: CancellationToken) {
    loop {
        machine.delete_old_logs();
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

/// Lets runs finish within the grace period, then cancels them, and finally kills their processes. Killed runs are
/// recorded as cancelled.
async fn wind_down(
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
        if let Err(error) = record_cancelled(it, &machine.function(""), &invocation).await {
            reporter.warn(&error.to_string());
        }
    }
}

/// Records a run as cancelled whose process was killed when this runner stopped.
async fn record_cancelled(it: &Pulse, prefix: &str, invocation: &InProgress) -> Result<(), TableError> {
    let task = invocation.function.strip_prefix(prefix).and_then(|name| name.parse::<TaskName>().ok());
    let Some(task) = task else { return Ok(()) };
    let is_its_own = |lost: &LostRun| lost.lease.holder.is_of(&invocation.request_id);
    let state = it.table.state(&task).await?;
    let Some(lost) = state.held().find(is_its_own) else { return Ok(()) };
    let run = Run {
        status: Status::Cancelled,
        environment: it.environment.clone(),
        ..lost.run(&task, Timestamp::now()).because(Reason::RunnerStopped)
    };
    match it.table.finish(&run, lost.fence).await? {
        Recorded::Written | Recorded::Before(_) => Ok(()),
    }
}

/// Delivers stored messages as soon as there is one, and once a minute. It runs apart from all other work, so a slow receiver
/// delays nothing else.
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

/// Reports failed invocations to the notifier, and ends the runs that they left behind.
async fn report_failures(
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
        // The host writes these records itself, so they always parse.
        let Ok(Received::Failed(failed)) = Received::parse(record) else { continue };
        if let Err(error) = notify::failed(&it, &failed).await {
            reporter.warn(&error.to_string());
        }
    }
}
