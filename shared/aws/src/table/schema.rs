//! The table's keys and indexes, and the names of its items.
//!
//! Every key of every item is made here, and so are the patterns of the roles' conditions. A fixed word of a key is in capitals,
//! which no task's name has, and what users choose stands alone at a key's end: so two different things never have one key.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
    },
};
use jiff::Timestamp;
use lamplighter_core::{definition::Priority, id::RunId, job::JobKey, name::TaskName};

use super::{Table, TableError};

/// The sort key of a task's own item.
pub(crate) const TASK: &str = "TASK";
/// The sort key of a ledger's newest state. It sorts after every entry, since those begin with a digit.
pub(crate) const LATEST: &str = "LATEST";

/// The sort key of the time whose rollups have been made. It sorts after every hour, since those begin with a digit.
pub(crate) const COVERED: &str = "COVERED";

/// The partition of the pulse.
pub(crate) const PULSE: &str = "PULSE";
/// The sort key of what the pulse remembers. It sorts after every record, since those begin with a digit.
pub(crate) const STATE: &str = "STATE";

/// Over how many partitions of the index `due` the jobs are spread that the pulse looks for.
pub(crate) const DUE_SHARDS: u8 = 8;

/// The partition of the runners.
pub(crate) const RUNNERS: &str = "RUNNERS";

/// The partition of a task's own item.
pub(crate) fn task_pk(task: &TaskName) -> String {
    format!("TASK#{task}")
}

/// The partition of a run of a task. Lifecycle and cron tasks stay far below what one partition takes (1000 writes a
/// second), so theirs is the first; jobs are spread over [`SHARDS`].
///
/// [`SHARDS`]: lamplighter_core::id::SHARDS
pub(crate) fn runs_pk(task: &TaskName, id: RunId) -> String {
    shard_pk(task, id.shard())
}

/// One of the partitions of a task's runs.
pub(crate) fn shard_pk(task: &TaskName, shard: u8) -> String {
    format!("RUNS#{task}#{shard}")
}

/// The partition of what tells a task's jobs apart.
pub(crate) fn job_keys_pk(task: &TaskName) -> String {
    format!("JOBS#{task}")
}

/// The sort keys of what tells a task's jobs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobsItem<'a> {
    /// The job with an id that somebody gave it.
    Id(&'a str),
    /// The job that does a run over.
    Replay(RunId),
    /// The only job of the task.
    Only,
    /// The only job with arguments of that hash.
    Arguments(&'a str),
    /// The only job with that key.
    Key(&'a str),
    /// The places of the jobs with that key.
    Limit(&'a str),
}

impl JobsItem<'_> {
    /// The sort key.
    pub(crate) fn sk(self) -> String {
        match self {
            // An id that could be taken for a replay's is escaped, and so is one that could be taken for an escaped one.
            Self::Id(id) if id.starts_with(REPLAY) || id.starts_with(ESCAPE) => format!("ID#{ESCAPE}{id}"),
            Self::Id(id) => format!("ID#{id}"),
            Self::Replay(run) => format!("ID#{REPLAY}{run}"),
            Self::Only => "ONLY#".to_owned(),
            Self::Arguments(hash) => format!("ARGUMENTS#{hash}"),
            Self::Key(key) => format!("KEY#{key}"),
            Self::Limit(key) => format!("LIMIT#{key}"),
        }
    }
}

/// What the id of a replay begins with.
const REPLAY: &str = "replay of ";
/// What an id begins with that is escaped.
const ESCAPE: char = '\\';

/// Where a job stands in the index `due` that the pulse looks for.
pub(crate) fn due_pk_of_queues(id: RunId) -> String {
    due_pk_of_shard(id.shard() % DUE_SHARDS)
}

/// One of the partitions of the index that the pulse looks at.
pub(crate) fn due_pk_of_shard(shard: u8) -> String {
    format!("DUE#QUEUES#{shard}")
}

/// One of the partitions in which earlier versions had what the pulse looks for. For the runner the jobs of a task `q` stand
/// in some of the same ones.
pub(crate) fn old_due_pk_of_shard(shard: u8) -> String {
    format!("DUE#{OLD_QUEUES}#{shard}")
}

/// Before its shard, the old name of a partition that the pulse looks at: it is that of a task, too.
pub(crate) const OLD_QUEUES: &str = "q";

/// Where a task's jobs of a priority stand in the index `due`, for the runner.
pub(crate) fn due_pk_of_runner(task: &TaskName, priority: Priority) -> String {
    format!("DUE#{task}#{}", priority as u8)
}

/// The job whose record has this key; nothing if it is no record's.
pub(crate) fn job_of_key(pk: &str, sk: &str) -> Option<JobKey> {
    let (task, _) = pk.strip_prefix("RUNS#")?.rsplit_once('#')?;
    Some(JobKey { task: task.parse().ok()?, run_id: sk.parse().ok()? })
}

/// The partitions of a task as a role's condition on `dynamodb:LeadingKeys` has them, for `StringLike`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadingKeys {
    /// That of its lock and its settings.
    pub task: String,
    /// Those of its runs and jobs.
    pub runs: String,
    /// That of what tells its jobs apart.
    pub jobs: String,
    /// Those of the messages to people that tell of its failures. The second is that of all tasks.
    pub messages: [String; 2],
}

impl LeadingKeys {
    /// Those of a task, and of no other.
    pub fn of(task: &TaskName) -> Self {
        Self {
            task: task_pk(task),
            runs: format!("RUNS#{task}#*"),
            jobs: job_keys_pk(task),
            messages: [notices_pk(task), OUTBOX.to_owned()],
        }
    }
}

/// The partition of a task's rollups.
pub(crate) fn stats_pk(task: &TaskName) -> String {
    format!("STATS#{task}")
}

/// The sort key of an hour's rollup: `2026-11-21T13`.
pub(crate) fn hour_sk(hour: Timestamp) -> String {
    format!("{hour:.0}").chars().take(13).collect()
}

/// The sort key of a pulse's record: the minute that it was in.
pub(crate) fn minute_sk(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// The partition of what somebody was told of a task's failures.
pub(crate) fn notices_pk(task: &TaskName) -> String {
    format!("NOTICES#{task}")
}

/// The partition of the messages to people that are not delivered yet.
pub(crate) const OUTBOX: &str = "OUTBOX";

/// The sort key of a message there.
pub(crate) fn outbox_sk(task: &TaskName, occasion: &str) -> String {
    format!("{task}#{occasion}")
}

/// The partition of a ledger.
pub(crate) fn ledger_pk(ledger: &str) -> String {
    format!("DEPLOYMENT#{ledger}")
}

/// The partition of the requests that a ledger has received.
pub(crate) fn request_pk(ledger: &str) -> String {
    format!("REQUEST#{ledger}")
}

/// A run's key, for messages.
pub(crate) fn run_key(task: &TaskName, id: RunId) -> String {
    format!("{} / {id}", runs_pk(task, id))
}

/// Makes the table on an engine of one's own. In AWS the stack's template makes it, of the same shape.
pub async fn create(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), TableError> {
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let table = Table::new(client.clone(), name);
    let incomplete = |error| table.failed("describe the table", &error);
    let due = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due_pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("due_at", KeyType::Range).map_err(incomplete)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(incomplete)?;
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash).map_err(incomplete)?)
        .key_schema(key("sk", KeyType::Range).map_err(incomplete)?)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_pk", ScalarAttributeType::S).map_err(incomplete)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N).map_err(incomplete)?)
        .global_secondary_indexes(due)
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {}
        Err(error) => return Err(table.failed("create the table", &error)),
    }
    expire(&table).await
}

/// Has the items of a table deleted whose time has passed, as the template says in AWS.
async fn expire(table: &Table) -> Result<(), TableError> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build();
    let specification = specification.map_err(|error| table.failed("describe the table", &error))?;
    let update = table.client.update_time_to_live().table_name(&table.name);
    match update.time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        // They are already.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(table.failed("have items expire", &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lamplighter_core::{deployment::EntryKey, id::SHARDS};
    use proptest::prelude::*;

    use super::*;

    /// Whatever has an item of its own in the table.
    #[derive(Clone, Debug, PartialEq)]
    enum Thing {
        Task(TaskName),
        Run(TaskName, RunId),
        Id(TaskName, String),
        Replay(TaskName, RunId),
        Only(TaskName),
        Arguments(TaskName, String),
        Key(TaskName, String),
        Limit(TaskName, String),
        Hour(TaskName, i64),
        Covered(TaskName),
        Notice(TaskName, String),
        Pulse(i64),
        PulseState,
        Runner(String),
        Entry(String, i64, String),
        Latest(String),
        Request(String, String),
    }

    impl Thing {
        fn key(&self) -> (String, String) {
            let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
            let job = |task: &TaskName, item: JobsItem<'_>| (job_keys_pk(task), item.sk());
            match self {
                Self::Task(task) => (task_pk(task), TASK.into()),
                Self::Run(task, id) => (runs_pk(task, *id), id.to_string()),
                Self::Id(task, id) => job(task, JobsItem::Id(id)),
                Self::Replay(task, run) => job(task, JobsItem::Replay(*run)),
                Self::Only(task) => job(task, JobsItem::Only),
                Self::Arguments(task, hash) => job(task, JobsItem::Arguments(hash)),
                Self::Key(task, key) => job(task, JobsItem::Key(key)),
                Self::Limit(task, key) => job(task, JobsItem::Limit(key)),
                Self::Hour(task, hours) => (stats_pk(task), hour_sk(at(*hours))),
                Self::Covered(task) => (stats_pk(task), COVERED.into()),
                Self::Notice(task, occasion) => (notices_pk(task), occasion.clone()),
                Self::Pulse(hours) => (PULSE.into(), minute_sk(at(*hours))),
                Self::PulseState => (PULSE.into(), STATE.into()),
                Self::Runner(instance) => (RUNNERS.into(), instance.clone()),
                Self::Entry(ledger, hours, request) => {
                    (ledger_pk(ledger), EntryKey::new(at(*hours), request).to_string())
                }
                Self::Latest(ledger) => (ledger_pk(ledger), LATEST.into()),
                Self::Request(ledger, request) => (request_pk(ledger), request.clone()),
            }
        }
    }

    fn name() -> impl Strategy<Value = TaskName> {
        let odd = ["q", "queues", "state", "latest", "covered", "task", "runs", "jobs", "a", "a-1", "runner"];
        let name = prop_oneof![
            prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
            ("[a-z][a-z0-9]{0,2}", prop::option::of("[0-9a-z]{1,2}")).prop_map(|(first, second)| {
                second.map_or(first.clone(), |second| format!("{first}-{second}"))
            }),
        ];
        name.prop_map(|name| name.parse().unwrap())
    }

    fn run() -> impl Strategy<Value = RunId> {
        (0_i64..3, 0_u128..4, any::<bool>()).prop_map(|(second, random, is_job)| {
            let at = Timestamp::from_second(second).unwrap();
            if is_job { RunId::of_job(at, random << 76) } else { RunId::new(at, random) }
        })
    }

    /// Texts that users choose, some of which look like keys.
    fn text() -> impl Strategy<Value = String> {
        let odd =
            ["", "#", "a#1", "ID#a", "KEY#", "LIMIT#a", "ONLY#", "TASK", "LATEST", "STATE", "COVERED", "q#1"];
        let texts = prop_oneof![
            prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
            run().prop_map(|run| run.to_string()),
            run().prop_map(|run| format!("{REPLAY}{run}")),
            ".{0,3}",
        ];
        (prop::collection::vec(Just(ESCAPE), 0..3), texts)
            .prop_map(|(escapes, text)| escapes.into_iter().collect::<String>() + &text)
    }

    fn thing() -> impl Strategy<Value = Thing> {
        prop_oneof![
            name().prop_map(Thing::Task),
            (name(), run()).prop_map(|(task, run)| Thing::Run(task, run)),
            (name(), text()).prop_map(|(task, id)| Thing::Id(task, id)),
            (name(), run()).prop_map(|(task, run)| Thing::Replay(task, run)),
            name().prop_map(Thing::Only),
            (name(), text()).prop_map(|(task, hash)| Thing::Arguments(task, hash)),
            (name(), text()).prop_map(|(task, key)| Thing::Key(task, key)),
            (name(), text()).prop_map(|(task, key)| Thing::Limit(task, key)),
            (name(), 0_i64..3).prop_map(|(task, hour)| Thing::Hour(task, hour)),
            name().prop_map(Thing::Covered),
            (name(), text()).prop_map(|(task, occasion)| Thing::Notice(task, occasion)),
            (0_i64..3).prop_map(Thing::Pulse),
            Just(Thing::PulseState),
            text().prop_map(Thing::Runner),
            (text(), 0_i64..3, text())
                .prop_map(|(ledger, hour, request)| Thing::Entry(ledger, hour, request)),
            text().prop_map(Thing::Latest),
            (text(), text()).prop_map(|(ledger, request)| Thing::Request(ledger, request)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn two_different_things_never_have_one_key(one in thing(), other in thing()) {
            prop_assert_eq!(one == other, one.key() == other.key(), "{:?} {:?}", one, other);
        }

        /// A role's conditions let it at its own task's partitions and at no other's.
        #[test]
        fn a_tasks_partitions_are_no_other_tasks(task in name(), other in name(), thing in thing(), id in run()) {
            let LeadingKeys { task: own, runs, jobs, messages: [notices, _] } = LeadingKeys::of(&task);
            let runs = runs.strip_suffix('*').unwrap();
            prop_assert_eq!(task == other, runs_pk(&other, id).starts_with(runs));
            let (pk, _) = thing.key();
            let reached = pk == own || pk == jobs || pk == notices || pk.starts_with(runs);
            let is_own = match &thing {
                Thing::Task(of) | Thing::Run(of, _) | Thing::Id(of, _) | Thing::Replay(of, _) | Thing::Only(of)
                | Thing::Arguments(of, _) | Thing::Key(of, _) | Thing::Limit(of, _) | Thing::Notice(of, _) => *of == task,
                _ => false,
            };
            prop_assert_eq!(reached, is_own);
        }

        #[test]
        fn a_jobs_key_is_read_from_its_items(task in name(), run_id in run()) {
            let key = JobKey { task, run_id };
            prop_assert_eq!(job_of_key(&runs_pk(&key.task, run_id), &run_id.to_string()), Some(key));
        }

        /// The queues' partitions of the index are no task's, whatever its name; the old ones are that of one task only.
        #[test]
        fn no_task_stands_in_the_queues_partitions(task in name()) {
            let of_task: BTreeSet<_> = Priority::ALL.iter().map(|it| due_pk_of_runner(&task, *it)).collect();
            prop_assert_eq!(of_task.len(), Priority::ALL.len());
            for shard in 0..SHARDS {
                prop_assert!(!of_task.contains(&due_pk_of_shard(shard)));
                let is_old = of_task.contains(&old_due_pk_of_shard(shard));
                prop_assert!(!is_old || task.as_str() == OLD_QUEUES);
            }
        }
    }
}
