//! Workspaces with tasks that really run, and runners of them as processes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::fixture::{Workspace, definition};

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A workspace whose tasks are the probe under their names.
pub(crate) struct Stage {
    pub(crate) workspace: Workspace,
    config: String,
}

/// A runner that was started.
pub(crate) struct Runner {
    child: Child,
    lines: Receiver<Value>,
    /// What it said so far.
    pub(crate) said: Vec<Value>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { workspace: Workspace::new(), config: "name = \"shop\"\n".to_owned() }
    }

    /// A cron task of this schedule, which does what `mode` says.
    pub(crate) fn task(mut self, name: &str, schedule: &str, mode: &str) -> Self {
        self.write(name, schedule, "first");
        let journal = self.journal();
        let table = format!("[tasks.{name}.config]\nmode = {mode:?}\njournal = {journal:?}\n");
        self.config.push_str(&table);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// The same workspace, where a webhook is told of failures.
    pub(crate) fn telling(mut self, url: &str) -> Self {
        self.config = format!("{}[notify]\nwebhook = {url:?}\n", self.config);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// A queue task of that name, with further keys of its definition; each of its bodies notes its argument `mark`.
    pub(crate) fn queue(self, name: &str, keys: &Value) -> Self {
        let mut all = json!({
            "kind": "queue", "config": { "journal": "" },
            "arguments_schema": { "type": "object", "required": ["mode", "mark"] },
        });
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let journal = self.journal();
        self.probing(name, all, "queue-probe", &format!("journal = {journal:?}\n"))
    }

    /// A side task of that name, which does what `mode` says.
    pub(crate) fn side(self, name: &str, mode: &str) -> Self {
        let folder = self.workspace.path("").display().to_string();
        let keys = json!({ "kind": "side", "config": { "mode": "", "folder": "" } });
        self.probing(name, keys, "side-probe", &format!("mode = {mode:?}\nfolder = {folder:?}\n"))
    }

    /// A task that another binary of this package is.
    fn probing(mut self, name: &str, keys: Value, probe_name: &str, config: &str) -> Self {
        let program = format!(
            "use std::os::unix::process::CommandExt as _;\n\
             fn main() {{\n\
                 if std::env::args().nth(1).as_deref() == Some(\"describe\") {{\n\
                     println!(\"{{}}\", r####\"{}\"####);\n\
                     return;\n\
                 }}\n\
                 let arguments = std::env::args().skip(1);\n\
                 panic!(\"{{}}\", std::process::Command::new(\"{}\").args(arguments).exec());\n\
             }}\n",
            definition(name, keys),
            probe().with_file_name(probe_name).display(),
        );
        self.workspace.package(&format!("functions/tasks/{name}"), name, &program);
        let table = format!("[tasks.{name}.config]\n{config}");
        self.config.push_str(&table);
        self.workspace.write("lamplighter.toml", &self.config);
        self
    }

    /// Enqueues a job, and gives its name.
    pub(crate) fn enqueue(&self, task: &str, mode: &str, mark: &str, options: &[&str]) -> String {
        let arguments = json!({ "mode": mode, "mark": mark }).to_string();
        let line = [&["enqueue", task, arguments.as_str()], options].concat();
        self.workspace.run(&line).succeeded().trim().to_owned()
    }

    /// The record of a job once it is over.
    pub(crate) fn over(&self, job: &str) -> Value {
        until("the job's end", || {
            let told = self.workspace.run(&["status", job, "--json"]).succeeded();
            let told: Value = serde_json::from_str(&told).unwrap();
            (!["PENDING", "RUNNING"].contains(&told["status"].as_str().unwrap())).then_some(told)
        })
    }

    /// Writes a task's source anew; each of its runs says the word.
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
            probe().display(),
        );
        self.workspace.package(&format!("functions/tasks/{name}"), name, &program);
    }

    /// Changes what a probe is started with, and so its binary.
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

    /// What the bodies have noted.
    pub(crate) fn noted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.journal()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for so many notes.
    pub(crate) fn until_noted(&self, count: usize) -> Vec<String> {
        until("notes", || Some(self.noted()).filter(|notes| notes.len() >= count))
    }

    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamplighter"));
        command
            .args(arguments)
            .current_dir(self.workspace.path(""))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .env("CARGO_NET_OFFLINE", "true")
            .env("LAMPLIGHTER_LOCALE", "en")
            // By which its processes are found.
            .env("PROBE_STAGE", self.workspace.path(""))
            .envs(environment.iter().copied());
        command
    }

    /// Starts a runner and waits until it runs.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Runner {
        Self::follow(self.command(&[arguments, &["--json"]].concat(), environment))
    }

    /// Starts a runner by a command that has it print JSON, and waits until it runs.
    pub(crate) fn follow(mut command: Command) -> Runner {
        // In a group of its own, since the tests send signals.
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
        let told = self.workspace.run(&["history", task, "--json", "--limit", "100"]).succeeded();
        let told: Value = serde_json::from_str(&told).unwrap();
        told["runs"].as_array().unwrap().clone()
    }

    /// The processes of this stage that still live.
    pub(crate) fn processes(&self) -> usize {
        let mark = format!("PROBE_STAGE={}", self.workspace.path("").display());
        let all = fs::read_dir("/proc").unwrap().flatten();
        // Some end meanwhile.
        let environments = all.filter_map(|process| fs::read(process.path().join("environ")).ok());
        environments.filter(|all| all.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())).count()
    }
}

impl Runner {
    /// Waits for a line.
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

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until it has ended, and says how and after how long.
    pub(crate) fn ended(mut self) -> (Option<i32>, Duration, Vec<Value>) {
        let began = Instant::now();
        let status = until("the end of the runner", || self.child.try_wait().unwrap());
        self.said.extend(self.lines.iter());
        (status.code(), began.elapsed(), std::mem::take(&mut self.said))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `examples/runner-probe.rs`, which `cargo test` builds beside the tests.
pub(crate) fn probe() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("examples/runner-probe");
    assert!(binary.exists(), "{} is missing: run a whole `cargo test -p lamplighter-cli`", binary.display());
    binary
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
