//! The pipeline that executes every task: claim, validate, attempt, record, release; and rollback once after the
//! final failure.
//!
//! No author's code runs in here: it is started in a runtime of its own and waited for, so that whatever it does, a
//! run's end is still written down in time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use lamplighter_aws::{
    clients::Clients,
    jobs::{Jobs, RunnerAddress, Waker},
    objects::Objects,
    random::random,
    table::{Table, TableError},
};
use lamplighter_core::{
    claim::{Decision, Refusal, Request, SKEW_MARGIN},
    definition::{Definition, Kind},
    envelope::{Envelope, InvalidEnvelope, Report},
    hidden,
    holder::Holder,
    id::RunId,
    name::TaskName,
    resolve::{self, SECRET_VARIABLE},
    run::{ErrorKind, Run, RunError},
    secret::Secrets,
    settings::Settings,
};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    Task, assets,
    attempt::{Conclusion, Limits},
    body::{Order, admit, run_body},
    claim::{claim, skip},
    context::Held,
    due::{ask, is_asked},
    hosted::Hosted,
    http::Http,
    log,
    record::{begun, conclude, finish},
    watch::watch,
};

/// The time kept back from a body for writing down how it ended.
pub(crate) const RESERVE: Duration = Duration::from_millis(1500);

/// The time kept back from storing what a body returned, for the record itself.
pub(crate) const RECORDING: Duration = Duration::from_millis(500);

/// What a process has to execute a task with.
pub struct Edges {
    /// The pipeline's own SDK clients, made at first use.
    pub clients: Arc<Clients>,
    /// What authors' code has to itself.
    pub bodies: Bodies,
    /// The table's name. Without one a run has neither lock nor history.
    pub table: Option<String>,
    /// The bucket for values that are too large for the table.
    pub bucket: Option<String>,
    /// The environment's name.
    pub environment: String,
    /// What the project says differently from the task, as JSON text.
    pub settings: Option<String>,
    /// The texts of its configuration that were resolved for it, by the names of their variables.
    pub resolved: BTreeMap<String, String>,
    /// The folder that has the assets, or the archive in S3 they are fetched from.
    pub assets: assets::Source,
    /// Where the log goes, for the record.
    pub log: Option<String>,
    /// What the URLs of the tasks' queues begin with.
    pub queues: Option<String>,
    /// The stack for which messages of failed jobs are kept, if somebody is told of them.
    pub notifies: Option<String>,
    /// Where a runner hears of jobs.
    pub waker: Option<RunnerAddress>,
}

/// What authors' code has to itself. A body that never yields holds up its runtime and every connection that is
/// served there; neither may be one that the pipeline needs to write down the run's end.
pub struct Bodies {
    /// Where it runs. Not the runtime in which [`execute`] is awaited.
    pub runtime: Handle,
    pub(crate) clients: Arc<Clients>,
    pub(crate) http: Arc<Http>,
}

impl Bodies {
    /// What it has in a runtime: clients of its own, made at first use.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, clients: Arc::default(), http: Arc::default() }
    }
}

/// One invocation of a task.
#[derive(Debug)]
pub struct Invocation {
    /// What it was sent: an [`Envelope`] as JSON.
    pub payload: Value,
    /// A word that no other invocation has.
    pub holder: Holder,
    /// When the process will be stopped, whatever it does.
    pub deadline: Timestamp,
}

/// Why a run could not be carried to its record.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The task cannot say what it is. Nothing was claimed.
    #[error("the task's definition panicked: see the line before")]
    Definition,
    /// A side task has no runs of this kind. Nothing was claimed.
    #[error(
        "`{task}` is a side task: it runs in a runner (`lamplighter start`), as long as that does, and never in Lambda"
    )]
    Side {
        /// The task.
        task: TaskName,
    },
    /// The payload cannot start a run. Nothing was claimed.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// The table failed before the body was started.
    #[error(transparent)]
    Claim(TableError),
    /// The table failed when the run was over; it will be recorded as lost, by whoever meets its lease.
    #[error("{source}")]
    Record {
        /// What the table said.
        source: TableError,
        /// As in [`Executed`].
        stuck: bool,
    },
}

/// What becomes of a process after a run.
#[derive(Debug)]
pub struct Executed {
    /// What is said of the run.
    pub report: Report,
    /// The body still runs though it was told to stop, and only the process's end will stop it.
    pub stuck: bool,
}

/// Executes a task once.
///
/// The task is claimed first; a refused claim runs nothing. Then comes everything that can be wrong with what the
/// body would be given, then the body with its attempts, then its rollback if it failed for good, then the record,
/// and last the lease is released. An error means that nothing was claimed or that the table failed: whatever was
/// started ends in a record all the same, by whoever meets its lease when that has run out.
///
/// An error is logged here, and nowhere else.
pub async fn execute<T: Task>(
    task: Arc<Hosted<T>>,
    invocation: Invocation,
    edges: &Edges,
) -> Result<Executed, ExecuteError> {
    // On the heap: it is large, and so would be whatever waits for it.
    let executed = Box::pin(pipeline(task, invocation, edges)).await;
    if let Err(error) = &executed {
        tracing::error!("{error}");
    }
    log::over();
    executed
}

async fn pipeline<T: Task>(
    task: Arc<Hosted<T>>,
    invocation: Invocation,
    edges: &Edges,
) -> Result<Executed, ExecuteError> {
    let declared = task.declared()?;
    if matches!(declared.kind, Kind::Side(_)) {
        return Err(ExecuteError::Side { task: declared.name.clone() });
    }
    let envelope = Envelope::parse(invocation.payload)?;
    let settings = edges.settings(declared);
    let definition = applied(&settings, declared);
    let mut request = request(&envelope, &definition, invocation.holder, invocation.deadline)?;
    log::begin(request.run_id, request.trigger);
    let table = edges.table(definition.retention).await;

    if settings.is_ok() && is_asked(&definition, request.trigger) {
        let limits = Limits::until(deadline(&definition, &request, invocation.deadline));
        let order = Order { definition: &definition, envelope: &envelope, request: &request, limits, edges };
        if let Some(executed) = not_due(&task, &order, table.as_ref()).await? {
            return Ok(executed);
        }
        request.now = Timestamp::now();
    }

    let latest = invocation.deadline.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN);
    let claimed = claim(table.as_ref(), &definition.name, &envelope, &mut request, latest).await;
    let mut run = begun(&definition, &envelope, &request, edges);
    let grant = match claimed.map_err(ExecuteError::Claim)? {
        Decision::Granted(grant) => grant,
        Decision::Refused(refusal) => {
            let skipped = skip(table.as_ref(), run, request.overlap, refusal).await;
            return Ok(Executed { report: skipped.map_err(ExecuteError::Claim)?, stuck: false });
        }
    };
    run.epoch = grant.hold.epoch();

    let settings = settings.and_then(|settings| {
        let at_run_time = settings_at_run_time(grant.settings.as_deref())?;
        let in_this_run = Settings { config: envelope.config.clone(), ..Settings::default() };
        nothing_unresolved(&at_run_time.config, &[])?;
        nothing_unresolved(&in_this_run.config, &[])?;
        let schema = &declared.config_schema;
        Ok(settings.overridden_by(at_run_time, schema).overridden_by(in_this_run, schema))
    });
    let claimed = Claimed {
        settings,
        declared,
        envelope: &envelope,
        request: &request,
        held: Held::Task(grant.hold),
        process_ends: invocation.deadline,
        table: table.as_ref(),
        edges,
    };
    let Made { definition, stuck, .. } = make(&task, claimed, &mut run).await;
    let table = table.map(|table| table.with_retention(definition.retention));
    let latest = invocation.deadline.saturating_sub(RECORDING).unwrap_or(Timestamp::MIN);
    let run = finish(table.as_ref(), run, grant.hold, latest)
        .await
        .map_err(|source| ExecuteError::Record { source, stuck })?;
    log::end(&run);
    Ok(Executed { report: Report::of(&run), stuck })
}

/// A run between its claim and its record.
pub(crate) struct Claimed<'a> {
    /// What is said differently from the task.
    pub settings: Result<Settings, RunError>,
    /// The task as it says itself.
    pub declared: &'a Definition,
    pub envelope: &'a Envelope,
    pub request: &'a Request,
    pub held: Held,
    pub process_ends: Timestamp,
    pub table: Option<&'a Table>,
    pub edges: &'a Edges,
}

/// What a run has, without its secrets.
pub(crate) struct Shown {
    pub config: Value,
    pub data: Option<Value>,
}

/// What the inner half of the pipeline made of a run.
pub(crate) struct Made {
    /// The task as it was overridden.
    pub definition: Definition,
    /// Whether it failed in a way that another attempt may mend.
    pub retryable: bool,
    /// As in [`Executed`].
    pub stuck: bool,
}

/// The inner half of the pipeline: everything between a claim and its record. What came of it is in `run`.
pub(crate) async fn make<T: Task>(task: &Arc<Hosted<T>>, claimed: Claimed<'_>, run: &mut Run) -> Made {
    let Claimed { settings, declared, envelope, request, held, process_ends, table, edges } = claimed;
    let definition = applied(&settings, declared);
    let (mut secrets, shown) = edges.hide(&definition, &envelope.arguments, None);
    log::mask(secrets.clone());
    let limits = Limits::until(deadline(&definition, request, process_ends));
    let order = Order { definition: &definition, envelope, request, limits, edges };

    let executing = async {
        settings.map_err(Conclusion::refused)?;
        let ctx = admit(task, &order, held).await?;
        Ok(run_body(task, &definition, ctx, process_ends, &edges.bodies).await)
    };
    let conclusion: Result<_, Conclusion> = tokio::select! {
        conclusion = executing => conclusion,
        never = watch(table, &run.task, run.id, held, &order.limits.asked) => match never {},
    };
    let conclusion = conclusion.unwrap_or_else(|refused| refused);

    run.config = shown.config;
    let mut data = conclusion.outcome.as_ref().and_then(|outcome| outcome.data.clone());
    if data.is_some() && hidden::marks(&definition.result_schema) {
        let with_data = edges.hide(&definition, &envelope.arguments, data.as_ref());
        (secrets, data) = (with_data.0, with_data.1.data);
        log::mask(secrets.clone());
    }
    conclude(run, &conclusion, data, &secrets);
    let Conclusion { retryable, stuck, .. } = conclusion;
    Made { definition, retryable, stuck }
}

/// Asks the task's own function whether the run is due, and says what became of it if it is not: nothing is recorded
/// of a run that is not due, and a failure of one of which nobody knows.
async fn not_due<T: Task>(
    task: &Arc<Hosted<T>>,
    order: &Order<'_>,
    table: Option<&Table>,
) -> Result<Option<Executed>, ExecuteError> {
    let Order { definition, envelope, request, edges, .. } = order;
    let (secrets, shown) = edges.hide(definition, &envelope.arguments, None);
    log::mask(secrets.clone());
    let refused = match ask(task, order).await {
        Ok(true) => return Ok(None),
        Ok(false) => Ok(Refusal::NotDue),
        Err(conclusion) => Err(conclusion),
    };
    let mut run = begun(definition, envelope, request, edges);
    match refused {
        Ok(refusal) => {
            let skipped = skip(table, run, request.overlap, refusal).await;
            Ok(Some(Executed { report: skipped.map_err(ExecuteError::Claim)?, stuck: false }))
        }
        Err(conclusion) => {
            run.config = shown.config;
            conclude(&mut run, &conclusion, None, &secrets);
            let stuck = conclusion.stuck;
            if let Some(table) = table {
                // A record of that id from an earlier delivery stands.
                let recorded = table.record(&run).await;
                let _ = recorded.map_err(|source| ExecuteError::Record { source, stuck })?;
            }
            log::end(&run);
            Ok(Some(Executed { report: Report::of(&run), stuck }))
        }
    }
}

/// The task as these settings change it, if they could be read.
pub(crate) fn applied(settings: &Result<Settings, RunError>, declared: &Definition) -> Definition {
    match settings {
        Ok(settings) => settings.applied_to(declared.clone()),
        Err(_) => declared.clone(),
    }
}

fn request(
    envelope: &Envelope,
    definition: &Definition,
    holder: Holder,
    deadline: Timestamp,
) -> Result<Request, InvalidEnvelope> {
    let now = Timestamp::now();
    Ok(Request {
        run_id: envelope.run_id.unwrap_or_else(|| RunId::new(now, random())),
        holder,
        trigger: envelope.trigger,
        occasion: envelope.occasion()?,
        overlap: definition.overlap(),
        runs_once: definition.runs_once(),
        now,
        until: deadline.saturating_add(SKEW_MARGIN).unwrap_or(Timestamp::MAX),
    })
}

/// What the task says of itself, under whose name is logged from here on.
pub(crate) fn declared<T: Task>() -> Result<Definition, ExecuteError> {
    let declared = std::panic::catch_unwind(T::definition).map_err(|_| ExecuteError::Definition)?;
    log::task(&declared.name);
    Ok(declared)
}

/// What somebody set at run time, as a claim brings it.
pub(crate) fn settings_at_run_time(text: Option<&str>) -> Result<Settings, RunError> {
    read_settings("the task's settings in the table", text)
}

/// What is said differently. The text itself is not told: it may have secrets, and only a text that can be read says
/// where they are.
fn read_settings(where_from: &str, text: Option<&str>) -> Result<Settings, RunError> {
    Settings::parse(text.unwrap_or("{}")).map_err(|error| unreadable(where_from, &error))
}

/// Refuses a reference that would reach the body as a text. `places` have what was resolved, whatever that looks like.
fn nothing_unresolved(config: &Value, places: &[String]) -> Result<(), RunError> {
    let Some(path) = resolve::unresolved(config, places) else { return Ok(()) };
    let message = format!(
        "`{path}` is a reference, and nobody has resolved it: CloudFormation does so as it deploys what stands in \
         lamplighter.toml, and nowhere else"
    );
    Err(RunError::new(ErrorKind::Configuration, message))
}

fn unreadable(where_from: &str, error: &dyn std::error::Error) -> RunError {
    RunError::new(ErrorKind::Configuration, format!("{where_from}: {error}"))
}

/// When the body's time is up: by its own limit, but early enough to write down how it ended.
fn deadline(definition: &Definition, request: &Request, invocation: Timestamp) -> Timestamp {
    let own = request.now.saturating_add(definition.timeout).unwrap_or(Timestamp::MAX);
    own.min(invocation.saturating_sub(RESERVE).unwrap_or(Timestamp::MIN))
}

impl Edges {
    /// What the project says differently from the task, with what was resolved in its place.
    pub(crate) fn settings(&self, declared: &Definition) -> Result<Settings, RunError> {
        let text = self.settings.as_deref().unwrap_or("{}");
        let unpacked = resolve::unpack(text, |name| self.resolved.get(name).map(String::as_str));
        let unpacked = unpacked.map_err(|error| unreadable("LAMPLIGHTER_SETTINGS", &error))?;
        let whole = |settings: &Settings| settings.applied_to(declared.clone()).config;
        // What overrides a reference in the defaults is only seen in the whole, which few need to be looked at.
        let suspicious = |config: &Value| resolve::unresolved(config, &[]).is_some();
        if suspicious(&unpacked.settings.config) || suspicious(&declared.config) {
            nothing_unresolved(&whole(&unpacked.settings), &unpacked.places).map_err(|error| {
                RunError::new(error.kind, format!("LAMPLIGHTER_SETTINGS: {}", error.message))
            })?;
        }
        Ok(unpacked.typed(whole, &declared.config_schema))
    }

    /// The secrets of a run of this task: what its schemas mark, and what came out of Secrets Manager, whatever type the
    /// author gave it.
    pub(crate) fn hide(
        &self,
        definition: &Definition,
        arguments: &Value,
        data: Option<&Value>,
    ) -> (Secrets, Shown) {
        // They may be large, and are looked at only where they may have a secret.
        let of_jobs = definition.queue().map(|queue| &queue.arguments_schema).filter(|it| hidden::marks(it));
        let (arguments, of_jobs) = of_jobs.map_or((&Value::Null, &Value::Null), |schema| (arguments, schema));
        let resolved = self.resolved.iter().filter(|(name, _)| name.starts_with(SECRET_VARIABLE));
        let (texts, marked) = hidden::texts(resolved.map(|(_, text)| text.as_str()));
        let (secrets, [config, _, shown, _]) = hidden::take_all([
            (&definition.config, &definition.config_schema),
            (arguments, of_jobs),
            (data.unwrap_or(&Value::Null), &definition.result_schema),
            (&texts, &marked),
        ]);
        let shown = Shown { config: secrets.mask_value(config), data: data.map(|_| shown) };
        (secrets, shown)
    }

    /// The jobs of the table, if there is one.
    pub(crate) async fn jobs(&self, retention: Duration) -> Option<Jobs> {
        let table = self.table(retention).await?;
        let waker = match &self.queues {
            Some(prefix) => Waker::queues(prefix, Arc::clone(&self.clients)),
            None => Waker::Runner { to: self.waker.clone() },
        };
        let jobs = Jobs::new(table, waker);
        Some(match &self.notifies {
            Some(stack) => jobs.telling(stack.as_str()),
            None => jobs,
        })
    }

    /// The table, if there is one, whose records are kept for that long.
    pub(crate) async fn table(&self, retention: Duration) -> Option<Table> {
        let name = self.table.as_deref()?;
        let table = Table::new(self.clients.dynamodb().await.clone(), name);
        let table = match &self.bucket {
            Some(bucket) => table.with_objects(Objects::new(bucket, self.clients.config().await)),
            None => table,
        };
        Some(table.with_retention(retention).with_environment(&self.environment))
    }
}
