//! Workspaces with real tasks, and runners as processes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use lamplighter_aws::{
    clients::local_dynamodb,
    jobs::{Jobs, Waker},
    table::Table,
};
use lamplighter_runner::wake::wake_address;
use lamplighter_testkit::example;
use serde_json::{Value, json};

use crate::fixture::{Workspace, definition};

/// Longer than any step takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A workspace whose tasks all run the probe.
pub(crate) struct Stage {
    pub(crate) workspace: Workspace,
    config: String,
}

/// A started runner.
pub(crate) struct Runner {
    child: Child,
    lines: Receiver<Value>,
    /// The events printed so far.
    pub(crate) said: Vec<Value>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { workspace: Workspace::new(), config: "name = \"shop\"\n".to_owned() }
    }

    /// Adds a cron task with this schedule and the probe's `mode`.
    pub(crate) fn task(mut self, name: &str, schedule: &str, mode: &str) -> Self {
        self.write(name, schedule, "first");
        let journal = self.journal();
        let table = format!("[tasks.{name}.config]\nmode = {mode:?}\njournal = {journal:?}\n");
        self.config.push_str(&table);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// Sets a key of a task in `lamplighter.toml`.
    pub(crate) fn set(mut self, name: &str, line: &str) -> Self {
        let table = format!("[tasks.{name}]\n{line}\n");
        self.config.push_str(&table);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// Adds a webhook for failures.
    pub(crate) fn with_webhook(mut self, url: &str) -> Self {
        self.config = format!("{}[notify]\nwebhook = {url:?}\n", self.config);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// Adds a queue task with further keys in its definition. Each body notes its argument `mark`.
    pub(crate) fn queue(self, name: &str, keys: &Value) -> Self {
        let mut all = json!({
            "kind": "queue", "config": { "journal": "" },
            "arguments_schema": { "type": "object", "required": ["mode", "mark"] },
        });
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let journal = self.journal();
        self.probing(name, all, "queue-probe", &format!("journal = {journal:?}\n"))
    }

    /// Adds a side task with the probe's `mode`.
    pub(crate) fn side(self, name: &str, mode: &str) -> Self {
        let folder = self.workspace.path("").display().to_string();
        let keys = json!({ "kind": "side", "config": { "mode": "", "folder": "" } });
        self.probing(name, keys, "side-probe", &format!("mode = {mode:?}\nfolder = {folder:?}\n"))
    }

    /// Adds a task that runs another binary of this package.
    fn probing(mut self, name: &str, keys: Value, probe_name: &str, config: &str) -> Self {
        let program = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{\n\
                 if std::env::args().nth(1).as_deref() == Some(\"describe\") {{\n\
                     println!(\"{{}}\", r####\"{}\"####);\n\
                     return;\n\
                 }}\n\
                 let mut probe = std::process::Command::new(\"{}\");\n\
                 probe.args(std::env::args().skip(1)).env(\"PROBE_NAME\", {name:?});\n\
                 panic!(\"{{}}\", probe.exec());\n\
             }}\n",
            definition(name, keys),
            example(probe_name).display(),
        );
        self.workspace.package(&format!("functions/tasks/{name}"), name, &program);
        let table = format!("[tasks.{name}.config]\n{config}");
        self.config.push_str(&table);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// The table, through the process that serves it.
    pub(crate) fn table(&self) -> Table {
        let served = self.workspace.read(".lamplighter/table.sqlite.endpoint");
        let served: Value = serde_json::from_str(&served).unwrap();
        Table::new(local_dynamodb(served["dynamodb"].as_str().unwrap()), "shop-lamplighter")
    }

    /// The jobs of the table. A new one wakes the runner.
    pub(crate) fn jobs(&self) -> Jobs {
        Jobs::new(self.table(), Waker::Runner { to: wake_address(&self.workspace.path(".lamplighter")) })
    }

    /// Enqueues a job, and returns its name.
    pub(crate) fn enqueue(&self, task: &str, mode: &str, mark: &str, options: &[&str]) -> String {
        let arguments = json!({ "mode": mode, "mark": mark }).to_string();
        let line = [&["enqueue", task, arguments.as_str()], options].concat();
        self.workspace.run(&line).succeeded().trim().to_owned()
    }

    /// Adds the pulse's function, as `lamplighter pulse execute` runs it.
    pub(crate) fn pulse(self) -> Self {
        let program = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{ panic!(\"{{}}\", std::process::Command::new(\"{}\").exec()); }}\n",
            example("pulse-function").display()
        );
        self.workspace.package("functions/pulse", "pulse", &program);
        self.workspace.dispatcher();
        self
    }

    /// Waits for the end of a job, and returns its record.
    pub(crate) fn over(&self, job: &str) -> Value {
        until("the job's end", || {
            let answer = self.workspace.run(&["status", job, "--json"]).succeeded();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            (!["PENDING", "RUNNING"].contains(&answer["status"].as_str().unwrap())).then_some(answer)
        })
    }

    /// Rewrites a task's source; each of its runs prints the word.
    pub(crate) fn write(&self, name: &str, schedule: &str, word: &str) {
        let keys = json!({
            "kind": "cron", "schedule": schedule, "timezone": "UTC", "priority": "medium",
            "config": { "mode": "", "journal": "" },
        });
        let program = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{\n\
                 if std::env::args().nth(1).as_deref() == Some(\"describe\") {{\n\
                     println!(\"{{}}\", r####\"{}\"####);\n\
                     return;\n\
                 }}\n\
                 let mut probe = std::process::Command::new(\"{}\");\n\
                 panic!(\"{{}}\", probe.env(\"PROBE_NAME\", {name:?}).env(\"PROBE_WORD\", {word:?}).exec());\n\
             }}\n",
            definition(name, keys),
            example("runner-probe").display(),
        );
        self.workspace.package(&format!("functions/tasks/{name}"), name, &program);
    }

    /// Changes the probe's start, and thereby its binary.
    pub(crate) fn change(&self, name: &str) {
        let path = format!("functions/tasks/{name}/src/main.rs");
        let source = self.workspace.read(&path);
        let changed = source.replace(".exec()", ".env(\"PROBE_WORD\", \"second\").exec()");
        assert_ne!(source, changed);
        self.workspace.write(&path, &changed);
    }

    fn journal(&self) -> String {
        self.workspace.path("journal").display().to_string()
    }

    /// The notes of the bodies.
    pub(crate) fn noted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.journal()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a number of notes.
    pub(crate) fn until_noted(&self, count: usize) -> Vec<String> {
        until("notes", || Some(self.noted()).filter(|notes| notes.len() >= count))
    }

    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamplighter"));
        command
            .args(arguments)
            .current_dir(self.workspace.path(""))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("RUSTFLAGS")
            .env("CARGO_NET_OFFLINE", "true")
            .env("LAMPLIGHTER_LOCALE", "en")
            // Marks the processes of this stage.
            .env("PROBE_STAGE", self.workspace.path(""))
            .envs(environment.iter().copied());
        command
    }

    /// Starts a runner and waits for its event `started`.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Runner {
        Self::follow(self.command(&[arguments, &["--json"]].concat(), environment))
    }

    /// Starts a runner by a command that prints JSON, and waits for its event `started`.
    pub(crate) fn follow(mut command: Command) -> Runner {
        // In a process group of its own, since the tests send signals.
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut runner = Runner { child, lines, said: Vec::new() };
        runner.until("started", |line| line["event"] == "started");
        runner
    }

    /// The runs of a task, newest first.
    pub(crate) fn history(&self, task: &str) -> Vec<Value> {
        let answer = self.workspace.run(&["history", task, "--json", "--limit", "100"]).succeeded();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["runs"].as_array().unwrap().clone()
    }

    /// The number of live processes of this stage, without the host's watchdog. That is a shell, which ends a moment after its
    /// host.
    pub(crate) fn processes(&self) -> usize {
        let mark = format!("PROBE_STAGE={}", self.workspace.path("").display());
        let all = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
        let is_watchdog = |process: &Path| fs::read(process.join("comm")).is_ok_and(|name| name == b"sh\n");
        // Some processes end meanwhile.
        let environments = all.filter(|process| !is_watchdog(process));
        let environments = environments.filter_map(|process| fs::read(process.join("environ")).ok());
        environments.filter(|all| all.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())).count()
    }
}

impl Runner {
    /// Waits for an event.
    pub(crate) fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no {what}: {:#?}", self.said) };
            self.said.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits for its end, and returns the exit code and the time that it took.
    pub(crate) fn ended(mut self) -> (Option<i32>, Duration, Vec<Value>) {
        let began = Instant::now();
        let status = until("the end of the runner", || self.child.try_wait().unwrap());
        self.said.extend(self.lines.iter());
        (status.code(), began.elapsed(), std::mem::take(&mut self.said))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A failed test leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `command`, started by the program and arguments `words`, such as `unshare -r`.
pub(super) fn within(words: &[&str], command: &Command) -> Command {
    let mut within = Command::new(words[0]);
    within.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        within.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => within.env(name, value),
            None => within.env_remove(name),
        };
    }
    within
}

pub(crate) fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
