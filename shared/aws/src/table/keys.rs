//! The table's keys: every partition key, sort key and partition of the index `due`, and the patterns of the roles' conditions.
//!
//! No other file spells a key. A fixed word of a key is in capitals, which no task's name has, and a text that users choose
//! comes last. So two different items never have the same key.

use std::fmt;

use jiff::Timestamp;
use lamplighter_core::{
    definition::Priority,
    deployment::EntryKey,
    id::RunId,
    job::{JobKey, Limit},
    name::TaskName,
};

use super::item::{Item, s};

/// The sort key of a ledger's newest state. It sorts after every entry, since those begin with a digit.
pub(crate) const LATEST: &str = "LATEST";
/// The sort key of the pulse's state. It sorts after every record, since those begin with a digit.
pub(crate) const STATE: &str = "STATE";
/// The sort key of the hours that have rollups. It sorts after every hour, since those begin with a digit.
const COVERED: &str = "COVERED";
/// The sort key of a task's own item.
const TASK: &str = "TASK";

/// The number of partitions of the index `due` that hold the jobs which the pulse wakes.
pub(crate) const DUE_SHARDS: u8 = 8;

/// A partition of the table. Its text is the partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partition<'a> {
    /// A task's lock and settings.
    Task(&'a TaskName),
    /// One of the partitions of a task's runs and jobs.
    Runs {
        /// The task.
        task: &'a TaskName,
        /// The shard: that of [`RunId::shard`].
        shard: u8,
    },
    /// The keys that tell a task's jobs apart, and the places of its limits.
    Jobs(&'a TaskName),
    /// A task's rollups.
    Statistics(&'a TaskName),
    /// The messages to people about a task's failures.
    Notices(&'a TaskName),
    /// The messages of all tasks that are not delivered yet.
    Outbox,
    /// A ledger's entries.
    Ledger(&'a str),
    /// The requests that a ledger has received.
    Requests(&'a str),
    /// The tasks as they were last deployed.
    Deployed,
    /// The pulse's records and its state.
    Pulse,
    /// The runners.
    Runners,
}

impl Partition<'_> {
    /// The partition key.
    pub(crate) fn pk(self) -> String {
        self.to_string()
    }

    /// The key of an item that was found in the partition.
    pub(crate) fn key(self, sk: &str) -> Key {
        Key::new(self, sk)
    }
}

impl fmt::Display for Partition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(f, "TASK#{task}"),
            Self::Runs { task, shard } => write!(f, "{RUNS}{task}#{shard}"),
            Self::Jobs(task) => write!(f, "JOBS#{task}"),
            Self::Statistics(task) => write!(f, "STATS#{task}"),
            Self::Notices(task) => write!(f, "NOTICES#{task}"),
            Self::Outbox => f.write_str("OUTBOX"),
            Self::Ledger(ledger) => write!(f, "DEPLOYMENT#{ledger}"),
            Self::Requests(ledger) => write!(f, "REQUEST#{ledger}"),
            Self::Deployed => f.write_str("DEPLOYED"),
            Self::Pulse => f.write_str("PULSE"),
            Self::Runners => f.write_str("RUNNERS"),
        }
    }
}

/// The prefix of the partitions of runs and jobs.
const RUNS: &str = "RUNS#";

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The partition key.
    pub(crate) pk: String,
    /// The sort key.
    pub(crate) sk: String,
}

impl Key {
    fn new(partition: Partition<'_>, sk: impl Into<String>) -> Self {
        Self { pk: partition.pk(), sk: sk.into() }
    }

    /// A task's own item.
    pub(crate) fn task(task: &TaskName) -> Self {
        Self::new(Partition::Task(task), TASK)
    }

    /// The record of a run or job.
    ///
    /// Runs of lifecycle and cron tasks share one partition: they stay far below what a partition takes (1000 writes a
    /// second). Jobs are spread over [`SHARDS`] partitions.
    ///
    /// [`SHARDS`]: lamplighter_core::id::SHARDS
    pub(crate) fn run(task: &TaskName, id: RunId) -> Self {
        Self::new(Partition::Runs { task, shard: id.shard() }, id.to_string())
    }

    /// The names of the deployed tasks.
    pub(crate) fn deployed() -> Self {
        Self::new(Partition::Deployed, STATE)
    }

    /// The definition of a deployed task.
    pub(crate) fn deployed_task(task: &TaskName) -> Self {
        Self::new(Partition::Deployed, format!("TASK#{task}"))
    }

    /// The record of a job.
    pub(crate) fn job(key: &JobKey) -> Self {
        Self::run(&key.task, key.run_id)
    }

    /// An item that tells a task's jobs apart.
    pub(crate) fn unique(task: &TaskName, item: UniqueItem<'_>) -> Self {
        Self::new(Partition::Jobs(task), item.sk())
    }

    /// The places of the jobs with a limit.
    pub(crate) fn places(task: &TaskName, limit: &Limit) -> Self {
        Self::new(Partition::Jobs(task), format!("LIMIT#{}", limit.key))
    }

    /// The rollup of an hour.
    pub(crate) fn hour(task: &TaskName, hour: Timestamp) -> Self {
        Self::new(Partition::Statistics(task), hour_sk(hour))
    }

    /// The hours of a task that have rollups.
    pub(crate) fn covered(task: &TaskName) -> Self {
        Self::new(Partition::Statistics(task), COVERED)
    }

    /// A message to people about a task's failure.
    pub(crate) fn notice(task: &TaskName, occasion: &str) -> Self {
        Self::new(Partition::Notices(task), occasion)
    }

    /// The mark of a message that is not delivered yet.
    pub(crate) fn undelivered(task: &TaskName, occasion: &str) -> Self {
        Self::new(Partition::Outbox, format!("{task}#{occasion}"))
    }

    /// The record of the pulse of a minute.
    pub(crate) fn pulse(at: Timestamp) -> Self {
        Self::new(Partition::Pulse, at.strftime("%Y-%m-%dT%H:%MZ").to_string())
    }

    /// The state that one pulse leaves for the next.
    pub(crate) fn pulse_state() -> Self {
        Self::new(Partition::Pulse, STATE)
    }

    /// A runner.
    pub(crate) fn runner(instance: &str) -> Self {
        Self::new(Partition::Runners, instance)
    }

    /// An entry of a ledger.
    pub(crate) fn entry(ledger: &str, entry: &EntryKey) -> Self {
        Self::new(Partition::Ledger(ledger), entry.as_str())
    }

    /// The newest state of a ledger.
    pub(crate) fn latest(ledger: &str) -> Self {
        Self::new(Partition::Ledger(ledger), LATEST)
    }

    /// A request that a ledger has received.
    pub(crate) fn request(ledger: &str, id: &str) -> Self {
        Self::new(Partition::Requests(ledger), id)
    }

    /// The key that an item has, if it has one.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        let part = |name| item.get(name)?.as_s().ok().cloned();
        Some(Self { pk: part("pk")?, sk: part("sk")? })
    }

    /// The job whose record has this key. `None` if it is the key of something else.
    pub(crate) fn parse_job(&self) -> Option<JobKey> {
        let (task, _) = self.pk.strip_prefix(RUNS)?.rsplit_once('#')?;
        Some(JobKey { task: task.parse().ok()?, run_id: self.sk.parse().ok()? })
    }

    /// The attributes of the key.
    pub(crate) fn attributes(self) -> Item {
        Item::from([("pk".to_owned(), s(self.pk)), ("sk".to_owned(), s(self.sk))])
    }
}

/// As error messages show it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

/// An item that makes a job unique within its task: at most one job has it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UniqueItem<'a> {
    /// The job with an id that its enqueuer chose.
    Id(&'a str),
    /// The job that replays a run.
    Replay(RunId),
    /// The only job of the task.
    Only,
    /// The only job with arguments of that hash.
    Arguments(&'a str),
    /// The only job with that key.
    Key(&'a str),
}

impl UniqueItem<'_> {
    fn sk(self) -> String {
        match self {
            // An id that looks like a replay's is escaped, and so is one that looks escaped.
            Self::Id(id) if id.starts_with(REPLAY) || id.starts_with(ESCAPE) => format!("ID#{ESCAPE}{id}"),
            Self::Id(id) => format!("ID#{id}"),
            Self::Replay(run) => format!("ID#{REPLAY}{run}"),
            Self::Only => "ONLY#".to_owned(),
            Self::Arguments(hash) => format!("ARGUMENTS#{hash}"),
            Self::Key(key) => format!("KEY#{key}"),
        }
    }
}

/// The prefix of a replay's id.
const REPLAY: &str = "replay of ";
/// The prefix of an escaped id.
const ESCAPE: char = '\\';

/// The sort key of an hour's rollup: `2026-11-21T13`.
pub(crate) fn hour_sk(hour: Timestamp) -> String {
    format!("{hour:.0}").chars().take(13).collect()
}

/// A partition of the index `due`. Its text is the index's partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DuePartition<'a> {
    /// Jobs that the pulse wakes.
    Queues {
        /// The shard, below [`DUE_SHARDS`].
        shard: u8,
    },
    /// Jobs that the pulse wakes, as earlier versions stored them. The partitions of a task `q` may be the same ones.
    OldQueues {
        /// The shard, below [`DUE_SHARDS`].
        shard: u8,
    },
    /// A task's jobs of one priority, which a runner starts.
    Runner(&'a TaskName, Priority),
}

impl DuePartition<'_> {
    /// The partition in which the pulse finds a job.
    pub(crate) fn of_queues(id: RunId) -> Self {
        Self::Queues { shard: id.shard() % DUE_SHARDS }
    }

    /// The partition in which earlier versions stored a job for the pulse.
    pub(crate) fn of_old_queues(id: RunId) -> Self {
        Self::OldQueues { shard: id.shard() % DUE_SHARDS }
    }

    /// The index's partition key.
    pub(crate) fn pk(self) -> String {
        self.to_string()
    }

    /// Returns true if the old partitions may hold a task's jobs for a runner.
    pub(crate) fn has_old_name(task: &TaskName) -> bool {
        task.as_str() == OLD_QUEUES
    }
}

impl fmt::Display for DuePartition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queues { shard } => write!(f, "DUE#QUEUES#{shard}"),
            Self::OldQueues { shard } => write!(f, "DUE#{OLD_QUEUES}#{shard}"),
            Self::Runner(task, priority) => write!(f, "DUE#{task}#{}", number(*priority)),
        }
    }
}

/// The name in the keys of the old partitions. A task may have the same name.
const OLD_QUEUES: &str = "q";

/// The number by which a priority is stored.
fn number(priority: Priority) -> u8 {
    match priority {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Medium => 2,
        Priority::Low => 3,
        Priority::Background => 4,
    }
}

/// The partitions of a task, as a role's condition on `dynamodb:LeadingKeys` names them with `StringLike`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadingKeys {
    /// Its lock and settings.
    pub task: String,
    /// Its runs and jobs.
    pub runs: String,
    /// The keys that tell its jobs apart.
    pub jobs: String,
    /// The messages to people about its failures. The second one is shared by all tasks.
    pub messages: [String; 2],
}

impl LeadingKeys {
    /// The partitions of this task, and of no other.
    pub fn of(task: &TaskName) -> Self {
        Self {
            task: Partition::Task(task).pk(),
            runs: format!("{RUNS}{task}#*"),
            jobs: Partition::Jobs(task).pk(),
            messages: [Partition::Notices(task).pk(), Partition::Outbox.pk()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use lamplighter_core::id::SHARDS;
    use proptest::prelude::*;

    use super::*;

    /// Everything that has an item of its own in the table.
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
        Undelivered(TaskName, String),
        Pulse(i64),
        PulseState,
        Runner(String),
        Entry(String, i64, String),
        Latest(String),
        Request(String, String),
    }

    impl Thing {
        fn key(&self) -> Key {
            let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
            match self {
                Self::Task(task) => Key::task(task),
                Self::Run(task, id) => Key::run(task, *id),
                Self::Id(task, id) => Key::unique(task, UniqueItem::Id(id)),
                Self::Replay(task, run) => Key::unique(task, UniqueItem::Replay(*run)),
                Self::Only(task) => Key::unique(task, UniqueItem::Only),
                Self::Arguments(task, hash) => Key::unique(task, UniqueItem::Arguments(hash)),
                Self::Key(task, key) => Key::unique(task, UniqueItem::Key(key)),
                Self::Limit(task, key) => Key::places(task, &Limit { key: key.clone(), at_once: 1 }),
                Self::Hour(task, hours) => Key::hour(task, at(*hours)),
                Self::Covered(task) => Key::covered(task),
                Self::Notice(task, occasion) => Key::notice(task, occasion),
                Self::Undelivered(task, occasion) => Key::undelivered(task, occasion),
                Self::Pulse(hours) => Key::pulse(at(*hours)),
                Self::PulseState => Key::pulse_state(),
                Self::Runner(instance) => Key::runner(instance),
                Self::Entry(ledger, hours, request) => {
                    Key::entry(ledger, &EntryKey::new(at(*hours), request))
                }
                Self::Latest(ledger) => Key::latest(ledger),
                Self::Request(ledger, request) => Key::request(ledger, request),
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
            (name(), text()).prop_map(|(task, occasion)| Thing::Undelivered(task, occasion)),
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
        fn two_different_items_never_share_a_key(one in thing(), other in thing()) {
            prop_assert_eq!(one == other, one.key() == other.key(), "{:?} {:?}", one, other);
        }

        /// Apart from the outbox, which all tasks share, a task's role can access the partitions of this task only.
        #[test]
        fn no_two_tasks_share_a_partition(task in name(), other in name(), thing in thing(), id in run()) {
            let LeadingKeys { task: own, runs, jobs, messages: [notices, _] } = LeadingKeys::of(&task);
            let runs = runs.strip_suffix('*').unwrap();
            prop_assert_eq!(task == other, Key::run(&other, id).pk.starts_with(runs));
            let Key { pk, .. } = thing.key();
            let reached = pk == own || pk == jobs || pk == notices || pk.starts_with(runs);
            let is_own = match &thing {
                Thing::Task(of) | Thing::Run(of, _) | Thing::Id(of, _) | Thing::Replay(of, _) | Thing::Only(of)
                | Thing::Arguments(of, _) | Thing::Key(of, _) | Thing::Limit(of, _) | Thing::Notice(of, _) => *of == task,
                _ => false,
            };
            prop_assert_eq!(reached, is_own);
        }

        #[test]
        fn a_jobs_key_is_parsed_from_its_items(task in name(), run_id in run()) {
            let key = JobKey { task, run_id };
            prop_assert_eq!(Key::job(&key).parse_job(), Some(key.clone()));
            prop_assert_eq!(Key::of(&Key::job(&key).attributes()), Some(Key::job(&key)));
        }

        /// No task shares a partition of the index with the queues. Only a task named `q` may share the old partitions.
        #[test]
        fn no_task_shares_a_partition_with_the_queues(task in name()) {
            let of_task: BTreeSet<_> =
                Priority::ALL.iter().map(|priority| DuePartition::Runner(&task, *priority).pk()).collect();
            prop_assert_eq!(of_task.len(), Priority::ALL.len());
            for shard in 0..SHARDS {
                let queues = DuePartition::Queues { shard }.pk();
                prop_assert!(!of_task.contains(&queues));
                let is_old = of_task.contains(&DuePartition::OldQueues { shard }.pk());
                prop_assert!(!is_old || DuePartition::has_old_name(&task));
            }
        }
    }

    /// Existing tables have these keys, so they must not change.
    #[test]
    fn stored_keys_have_not_changed() {
        let task: TaskName = "send-mail".parse().unwrap();
        let at: Timestamp = "2026-11-21T13:14:15Z".parse().unwrap();
        let (id, job) = (RunId::new(at, 7), RunId::of_job(at, 5 << 76));
        let limit = Limit { key: "a#1".to_owned(), at_once: 1 };
        let entry = EntryKey::new(at, "r");
        for (key, wanted) in [
            (Key::task(&task), "TASK#send-mail / TASK".to_owned()),
            (Key::run(&task, id), format!("RUNS#send-mail#0 / {id}")),
            (Key::run(&task, job), format!("RUNS#send-mail#{} / {job}", job.shard())),
            (Key::unique(&task, UniqueItem::Id("a")), "JOBS#send-mail / ID#a".to_owned()),
            (Key::unique(&task, UniqueItem::Id("\\a")), "JOBS#send-mail / ID#\\\\a".to_owned()),
            (Key::unique(&task, UniqueItem::Replay(id)), format!("JOBS#send-mail / ID#replay of {id}")),
            (Key::unique(&task, UniqueItem::Only), "JOBS#send-mail / ONLY#".to_owned()),
            (Key::unique(&task, UniqueItem::Arguments("f0")), "JOBS#send-mail / ARGUMENTS#f0".to_owned()),
            (Key::unique(&task, UniqueItem::Key("k")), "JOBS#send-mail / KEY#k".to_owned()),
            (Key::places(&task, &limit), "JOBS#send-mail / LIMIT#a#1".to_owned()),
            (Key::hour(&task, at), "STATS#send-mail / 2026-11-21T13".to_owned()),
            (Key::covered(&task), "STATS#send-mail / COVERED".to_owned()),
            (Key::notice(&task, "o"), "NOTICES#send-mail / o".to_owned()),
            (Key::undelivered(&task, "o"), "OUTBOX / send-mail#o".to_owned()),
            (Key::pulse(at), "PULSE / 2026-11-21T13:14Z".to_owned()),
            (Key::pulse_state(), "PULSE / STATE".to_owned()),
            (Key::runner("r"), "RUNNERS / r".to_owned()),
            (Key::entry("shop", &entry), format!("DEPLOYMENT#shop / {entry}")),
            (Key::latest("shop"), "DEPLOYMENT#shop / LATEST".to_owned()),
            (Key::request("shop", "r"), "REQUEST#shop / r".to_owned()),
        ] {
            assert_eq!(key.to_string(), wanted);
        }
        let pk = |priority: &Priority| DuePartition::Runner(&task, *priority).pk();
        let priorities: Vec<_> = Priority::ALL.iter().map(pk).collect();
        let numbers = ["0", "1", "2", "3", "4"].map(|number| format!("DUE#send-mail#{number}"));
        assert_eq!(priorities, numbers, "critical first");
        assert_eq!(DuePartition::of_queues(job).pk(), format!("DUE#QUEUES#{}", job.shard() % 8));
        assert_eq!(DuePartition::of_old_queues(job).pk(), format!("DUE#q#{}", job.shard() % 8));
    }

    /// Only this file spells keys: a string literal elsewhere that begins like one is a mistake.
    #[test]
    fn no_other_file_of_the_workspace_contains_a_key() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let prefixes =
            ["TASK#", "RUNS#", "JOBS#", "STATS#", "NOTICES#", "DEPLOYMENT#", "REQUEST#", "DUE#", "LIMIT#"];
        let words = ["OUTBOX\"", "PULSE\"", "RUNNERS\"", "LATEST\"", "COVERED\""];
        let literals: Vec<_> = prefixes.iter().chain(&words).map(|key| format!("\"{key}")).collect();
        let mut folders: Vec<_> = ["shared", "functions", "cli"].map(|name| root.join(name)).into();
        let (mut read, mut wrong) = (0, Vec::new());
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if ["target", "tests", "examples", "benches", "tests.rs", "keys.rs"].contains(&name) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    read += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap();
                    let spelled = literals.iter().filter(|literal| code.contains(literal.as_str()));
                    wrong.extend(spelled.map(|literal| format!("{}: {literal}", path.display())));
                }
            }
        }
        assert!(read > 100, "the workspace is there");
        assert!(wrong.is_empty(), "use the builders of table/keys.rs: {wrong:?}");
    }
}
