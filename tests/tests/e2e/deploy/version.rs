//! A version of the example stack: a copy of its template and packages with a test's changes.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lamplighter_e2e::repository;
use lamplighter_testkit::example;
use serde_json::{Value, json};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The functions that use the application's database.
const WITH_DATABASE: [&str; 5] = [
    "RunMigrationsFunction",
    "SeedDataFunction",
    "PurgeExpiredFunction",
    "RefreshStatisticsFunction",
    "ImportUsersFunction",
];

/// A version that can be deployed. Its folder has the repository's layout.
pub struct Version {
    folder: TempDir,
    template: Value,
}

impl Version {
    /// Copies the repository's version, with the application's database at `database`.
    pub fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("target/lamplighter");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir(folder.path().join("infra")).unwrap();
        for package in fs::read_dir(repository().join("target/lamplighter")).unwrap() {
            let package = package.unwrap();
            if package.path().extension().is_some_and(|extension| extension == "zip") {
                symlink(package.path(), packages.join(package.file_name())).unwrap();
            }
        }
        let template = fs::read_to_string(repository().join("infra/template.yaml")).unwrap();
        let template = serde_yaml_ng::from_str(&template).unwrap();
        let version = Self { folder, template }.sending_batches();
        WITH_DATABASE.iter().fold(version, |version, id| version.with_variable(id, "DATABASE_URL", database))
    }

    /// Lets the site send batches of messages. For AWS they need the permission `sqs:SendMessage`, but the emulator expects one
    /// with the name of the operation, which AWS does not know.
    fn sending_batches(mut self) -> Self {
        let policy = &mut self.template["Resources"]["SiteFunctionEnqueues"]["Properties"]["PolicyDocument"];
        let statements = policy["Statement"].as_array_mut().unwrap().iter_mut();
        let mut lists = statements.map(|statement| statement["Action"].as_array_mut().unwrap());
        let sqs = lists.find(|actions| actions.contains(&json!("sqs:SendMessage"))).unwrap();
        sqs.push(json!("sqs:SendMessageBatch"));
        self
    }

    /// Adds a variable to a function's environment.
    pub fn with_variable(mut self, function: &str, name: &str, value: &str) -> Self {
        self.template["Resources"][function]["Properties"]["Environment"]["Variables"][name] = json!(value);
        self
    }

    /// Sets the URL that `warm-cache` requests. It waits longer for the response than any step takes on a busy machine.
    pub fn warming(self, url: &str) -> Self {
        let settings = json!({ "config": { "urls": [url], "timeout_ms": 90_000 } });
        self.with_variable("WarmCacheFunction", "LAMPLIGHTER_SETTINGS", &settings.to_string())
    }

    /// Makes `warm-cache` a task that writes a secret of its configuration to its log and fails with it.
    pub fn leaking(self, secret: &str) -> Self {
        let package = self.package("warm-cache");
        fs::remove_file(&package).unwrap();
        let mut zip = ZipWriter::new(File::create(&package).unwrap());
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file("bootstrap", options.unix_permissions(0o755)).unwrap();
        zip.write_all(&fs::read(example("dispatcher-probe")).unwrap()).unwrap();
        zip.finish().unwrap();
        let settings = json!({ "config": { "mode": "leak-fail", "secret": secret } });
        self.with_variable("WarmCacheFunction", "PROBE_NAME", "warm-cache").with_variable(
            "WarmCacheFunction",
            "LAMPLIGHTER_SETTINGS",
            &settings.to_string(),
        )
    }

    /// Adds a migration.
    pub fn with_migration(self, name: &str, sql: &str) -> Self {
        self.with_asset("run-migrations", &format!("migrations/{name}.sql"), sql, 0o644)
    }

    /// Adds a file to publish.
    pub fn with_public_file(self, name: &str, text: &str) -> Self {
        self.with_asset("process-assets", &format!("public/{name}"), text, 0o644)
    }

    /// Adds a file with this mode to a task's assets.
    pub fn with_asset(self, task: &str, path: &str, text: &str, mode: u32) -> Self {
        let package = self.package(task);
        if package.is_symlink() {
            let original = fs::canonicalize(&package).unwrap();
            fs::remove_file(&package).unwrap();
            fs::copy(original, &package).unwrap();
        }
        let file = File::options().read(true).write(true).open(&package).unwrap();
        let mut zip = ZipWriter::new_append(file).unwrap();
        let options = SimpleFileOptions::default().unix_permissions(mode);
        zip.start_file(format!("assets/{path}"), options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
        zip.finish().unwrap();
        self
    }

    /// Makes the dispatcher store each event in the folder `events`; see `tests/fixtures/tap`.
    pub fn tapped(self, events: &Path) -> Self {
        let package = self.package("dispatcher");
        let mut original = ZipArchive::new(File::open(&package).unwrap()).unwrap();
        fs::remove_file(&package).unwrap();
        let mut zip = ZipWriter::new(File::create(&package).unwrap());
        zip.raw_copy_file_rename(original.by_name("bootstrap").unwrap(), "dispatcher").unwrap();
        zip.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        zip.write_all(&fs::read(repository().join("tests/fixtures/tap/bootstrap")).unwrap()).unwrap();
        zip.finish().unwrap();
        let tapped = self.with_variable("LamplighterDispatcherFunction", "EVENTS", events.to_str().unwrap());
        tapped.with_variable("LamplighterFallbackFunction", "EVENTS", events.to_str().unwrap())
    }

    /// Removes an action from a role.
    pub fn forbidding(mut self, role: &str, action: &str) -> Self {
        let policy = &mut self.template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"];
        let mut removed = 0;
        for statement in policy["Statement"].as_array_mut().unwrap() {
            let actions = statement["Action"].as_array_mut().unwrap();
            let before = actions.len();
            actions.retain(|allowed| allowed != action);
            removed += before - actions.len();
        }
        assert_eq!(removed, 1, "{role} allows {action} {removed} times");
        self
    }

    /// Adds a topic and an event bus, which both lead to the queue `<stack>-alerts`. The topic gets notifications about
    /// `purge-expired`. The additions are those of `[notify]` in lamplighter.toml; the pulse may use either target.
    pub fn with_notifications(mut self) -> Self {
        let resources =
            fs::read_to_string(repository().join("tests/fixtures/alerts/resources.yaml")).unwrap();
        let resources: Value = serde_yaml_ng::from_str(&resources).unwrap();
        self.template["Resources"].as_object_mut().unwrap().extend(resources.as_object().unwrap().clone());
        let pulse = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:\
                     ${AWS::StackName}-lamplighter-pulse";
        for (role, action, resource) in [
            ("PurgeExpiredRole", "lambda:InvokeFunction", json!({ "Fn::Sub": pulse })),
            ("LamplighterPulseRole", "sns:Publish", json!({ "Ref": "Alerts" })),
            ("LamplighterPulseRole", "events:PutEvents", json!({ "Fn::GetAtt": ["AlertBus", "Arn"] })),
            (
                "LamplighterPulseRole",
                "sqs:GetQueueAttributes",
                json!({ "Fn::GetAtt": ["ImportUsersDeadLetters", "Arn"] }),
            ),
        ] {
            let policy = &mut self.template["Resources"][role]["Properties"]["Policies"][0];
            let statements = policy["PolicyDocument"]["Statement"].as_array_mut().unwrap();
            statements.push(json!({ "Effect": "Allow", "Action": [action], "Resource": [resource] }));
        }
        let destination =
            json!({ "Type": "Lambda", "Destination": { "Fn::GetAtt": ["LamplighterPulseFunction", "Arn"] } });
        let invoked =
            &mut self.template["Resources"]["PurgeExpiredFunction"]["Properties"]["EventInvokeConfig"];
        invoked["DestinationConfig"] = json!({ "OnFailure": destination });
        let pulse = &mut self.template["Resources"]["LamplighterPulseFunction"]["Properties"];
        pulse["Environment"]["Variables"]["LAMPLIGHTER_NOTIFY"] =
            json!({ "Fn::Sub": r#"{"topic":"${Alerts}"}"# });
        self
    }

    /// Writes the template, as JSON, which every YAML parser reads the same way.
    pub fn template(&self) -> PathBuf {
        let path = self.folder.path().join("infra/template.yaml");
        fs::write(&path, self.template.to_string()).unwrap();
        path
    }

    fn package(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("target/lamplighter/{name}.zip"))
    }
}
