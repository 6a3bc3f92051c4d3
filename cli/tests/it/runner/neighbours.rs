//! O06: access to a runner for other users of the machine and for web pages in a browser.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use super::stage::{Runner, Stage, until};

/// A user other than the one of the tests.
const NOBODY: u32 = 65534;
const SIGN: &str = ".lamplighter/table.sqlite.endpoint";
const WAKE_UP: &str = ".lamplighter/wake-up";

/// The address and the key of an endpoint's URL.
fn parts(url: &str) -> (SocketAddr, String) {
    let (address, key) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    (address.parse().unwrap(), key.to_owned())
}

/// The URL of the table server.
fn table_of(stage: &Stage) -> String {
    let sign: Value = serde_json::from_str(&stage.workspace.read(SIGN)).unwrap();
    sign["dynamodb"].as_str().unwrap().to_owned()
}

/// The status and the body of the response to one request; none if nothing listens.
fn ask(at: SocketAddr, line: &str, host: &str, headers: &[&str], body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<Vec<_>>().concat();
    let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

/// The status of a request to list the tables under a path.
fn list_tables(at: SocketAddr, key: &str, host: &str, headers: &[&str]) -> Option<u16> {
    let target = ["x-amz-target: DynamoDB_20120810.ListTables"];
    ask(at, &format!("POST /{key}/"), host, &[&target, headers].concat(), "{}").map(|(status, _)| status)
}

/// The ports on which a process listens.
fn listening(process: u32) -> BTreeSet<SocketAddr> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let links = open.filter_map(|it| Some(fs::read_link(it.path()).ok()?.to_string_lossy().into_owned()));
    let inode = |link: String| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let own: BTreeSet<_> = links.filter_map(inode).collect();
    let mut all = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if words[3] == "0A" && own.contains(words[9]) {
                let (address, port) = words[1].split_once(':').unwrap();
                assert_eq!((table, address), ("tcp", "0100007F"), "it listens on loopback only: {line}");
                all.insert(([127, 0, 0, 1], u16::from_str_radix(port, 16).unwrap()).into());
            }
        }
    }
    all
}

/// The environment of each process of the stage that a runner has started.
fn environments(stage: &Stage) -> Vec<BTreeMap<String, String>> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let read = all.filter_map(|process| fs::read(process.path().join("environ")).ok());
    let parsed = read.map(|all| {
        let text = String::from_utf8_lossy(&all).into_owned();
        let entries = text.split('\0').filter_map(|entry| entry.split_once('='));
        entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    });
    let place = stage.workspace.path("").display().to_string();
    parsed
        .filter(|it| it.get("PROBE_STAGE") == Some(&place) && it.contains_key("AWS_LAMBDA_RUNTIME_API"))
        .collect()
}

/// The keys in a text.
fn keys_in(text: &str) -> Vec<&str> {
    let after = text.match_indices("key-").map(|(at, _)| &text[at..]);
    let ends = |key: &str| key[4..].find(|c: char| !c.is_ascii_hexdigit()).map_or(key.len(), |at| at + 4);
    after.map(|key| &key[..ends(key)]).filter(|key| key.len() > 60).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn end(runner: Runner) -> Vec<Value> {
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
    said
}

#[test]
fn o06_no_port_of_a_runner_answers_a_web_page_or_another_user() {
    let stage = Stage::new().queue("send-mail", &json!({})).task("tick", "@yearly", "");
    let runner = stage.start(&["start"], &[]);
    // The process stays and waits for its next event.
    stage.over(&stage.enqueue("send-mail", "", "one", &[]));
    let ports = listening(runner.id());
    assert!(ports.len() >= 6, "table, bucket, functions, stacks, answers and a process: {ports:?}");
    let noted = stage.noted();
    let invoke = |name: &str| format!("POST /2015-03-31/functions/shop-{name}/invocations");
    let requests = [
        (invoke("tick"), "{}"),
        (invoke("send-mail"), "{}"),
        ("GET /2015-03-31/functions/shop-tick/configuration".to_owned(), ""),
        ("GET /2018-06-01/runtime/invocation/next".to_owned(), ""),
        ("POST /2018-06-01/runtime/init/error".to_owned(), "{}"),
        ("POST /".to_owned(), "Action=DescribeStacks&Version=2010-05-15"),
        ("GET /".to_owned(), ""),
        ("GET /shop-lamplighter/".to_owned(), ""),
        ("PUT /shop-lamplighter/runs/x".to_owned(), "x"),
        ("DELETE /shop-lamplighter".to_owned(), ""),
        ("OPTIONS /".to_owned(), ""),
    ];
    let target = "x-amz-target: DynamoDB_20120810.ListTables";
    let (_, table_key) = parts(&table_of(&stage));
    let as_test = "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
                   SignedHeaders=host, Signature=0";
    for at in &ports {
        let here = at.to_string();
        let foreign = format!("evil.example:{}", at.port());
        for (line, body) in &requests {
            for (host, headers) in [
                // As another user.
                (here.as_str(), &[][..]),
                (&here, &[target]),
                (&here, &[target, as_test, "x-amz-date: 20260101T000000Z"]),
                // As a web page.
                (&here, &["origin: http://evil.example", "content-type: text/plain"]),
                (&here, &["sec-fetch-site: cross-site", "sec-fetch-mode: no-cors"]),
                (&foreign, &[target]),
                ("evil.example", &[]),
            ] {
                let (status, said) = ask(*at, line, host, headers, body).unwrap();
                assert!([401, 403].contains(&status), "{line} at {host} with {headers:?}: {status} {said}");
                assert!(!said.contains(&table_key) && !said.contains("TableNames"), "{said}");
            }
        }
    }
    assert_eq!(stage.noted(), noted, "nothing has run");
    let (at, key) = parts(&table_of(&stage));
    let here = at.to_string();
    assert_eq!(list_tables(at, &key, &here, &[]), Some(200));
    for (host, header) in [
        (here.as_str(), "origin: http://evil.example"),
        (&here, "sec-fetch-site: same-site"),
        ("evil.example", "x-a: b"),
        (&format!("localhost.evil.example:{}", at.port()), "x-a: b"),
    ] {
        assert_eq!(
            list_tables(at, &key, host, &[header]),
            Some(403),
            "the key alone is not enough: {header}"
        );
    }
    end(runner);
}

#[test]
fn o06_commands_find_the_key_and_never_show_it() {
    let stage = Stage::new().queue("send-mail", &json!({})).task("obey", "every 1 seconds", "obey");
    // The most verbose level of its libraries.
    let loud = "[tasks.send-mail.environment]\nLAMPLIGHTER_LOG = \"trace\"\n";
    let config = stage.workspace.read("lamplighter.toml");
    stage.workspace.write("lamplighter.toml", &format!("{config}{loud}"));
    let runner = stage.start(&["start"], &[]);
    let shown = |line: &[&str]| stage.workspace.run(line).succeeded();
    assert_eq!(stage.enqueue("send-mail", "", "told", &["--wait", "60s"]), "\"told\"");
    let large = "x".repeat(110_000);
    let job = stage.enqueue("send-mail", "", &large, &[]);
    assert_eq!(stage.over(&job)["status"], "COMPLETED", "its arguments are in the bucket");
    until("a run to cancel", || stage.noted().iter().any(|note| note.starts_with("obey")).then_some(()));
    let mut said = vec![
        shown(&["cancel", "obey", "--json"]),
        shown(&["history", "--json"]),
        shown(&["history", "send-mail", "--json"]),
        shown(&["status", &job, "--json"]),
        shown(&["jobs", "list", "--json"]),
        shown(&["runner", "status", "--json"]),
        shown(&["runner", "status"]),
        shown(&["tasks"]),
        shown(&["stats", "--json"]),
        shown(&["logs", "send-mail", "--json", "--limit", "1000"]),
    ];
    assert!(said[0].contains("CANCELLED"), "{}", said[0]);
    let log = said.last().unwrap();
    assert!(log.contains("\"level\":\"TRACE\"") && log.contains("[key]"), "{log}");

    let environments = environments(&stage);
    assert!(!environments.is_empty());
    let handed: Vec<_> =
        environments.iter().flat_map(BTreeMap::values).flat_map(|value| keys_in(value)).collect();
    let keys: BTreeSet<_> = handed.iter().map(|key| (*key).to_owned()).collect();
    assert!(
        keys.len() >= 7,
        "the endpoints', the process's own, the wake-ups' and the bucket's: {}",
        keys.len()
    );
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // Some processes end meanwhile.
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!keys.iter().any(|key| line.contains(key)), "{line}");
    }
    said.extend(end(runner).iter().map(ToString::to_string));
    for text in &said {
        assert_eq!(keys_in(text), [""; 0], "{text}");
    }
    let mut folders = vec![stage.workspace.path(".lamplighter")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = fs::read(&path).unwrap();
            let content = String::from_utf8_lossy(&content);
            assert!(!keys.iter().any(|key| content.contains(key)), "{}", path.display());
        }
    }
}

#[test]
fn o06_the_folder_and_the_keys_are_private_and_a_former_runners_key_opens_nothing() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    // As an earlier version left it, readable for everybody.
    stage.workspace.write(".lamplighter/stacks/shop.lock", "");
    stage.workspace.write(SIGN, &json!({ "pid": 1, "dynamodb": "http://127.0.0.1:9" }).to_string());
    stage.workspace.write(WAKE_UP, "127.0.0.1:9");
    let home = stage.workspace.path(".lamplighter");
    for folder in [&stage.workspace.path(""), &home] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let runner = stage.start(&["start"], &[]);
    assert_eq!(mode(&home), 0o700);
    for file in [SIGN, WAKE_UP] {
        assert_eq!(mode(&stage.workspace.path(file)), 0o600, "{file}");
    }
    // Only root can become another user.
    if rustix::process::geteuid().is_root() {
        for (program, path) in [("cat", SIGN), ("cat", WAKE_UP), ("ls", ".lamplighter")] {
            let tried =
                Command::new(program).arg(stage.workspace.path(path)).uid(NOBODY).gid(NOBODY).output();
            let tried = tried.unwrap();
            let said = String::from_utf8_lossy(&tried.stderr).into_owned();
            assert!(!tried.status.success() && said.contains("Permission denied"), "{path}: {said}");
        }
    }
    let (_, former) = parts(&table_of(&stage));
    let former_wake_up = stage.workspace.read(WAKE_UP);
    runner.signal("KILL");
    drop(runner);
    until("its processes are gone", || (stage.processes() == 0).then_some(()));

    let runner = stage.start(&["start"], &[]);
    let (at, key) = parts(&table_of(&stage));
    assert_ne!((&key, stage.workspace.read(WAKE_UP)), (&former, former_wake_up));
    assert_eq!(list_tables(at, &former, &at.to_string(), &[]), Some(403));
    assert_eq!(list_tables(at, &key, &at.to_string(), &[]), Some(200));
    end(runner);
    assert!(
        !stage.workspace.path(SIGN).exists() && !stage.workspace.path(WAKE_UP).exists(),
        "the runner removes both files when it stops"
    );
}

#[test]
fn o06_the_successor_serves_the_table_with_the_same_key() {
    let stage = Stage::new().queue("send-mail", &json!({}));
    let first = stage.start(&["start"], &[]);
    let (at, key) = parts(&table_of(&stage));
    let mut second = stage.start(&["start"], &[]);
    assert_eq!(parts(&table_of(&stage)), (at, key.clone()), "it is a client of the table server");
    first.signal("KILL");
    drop(first);
    second.until("the table", |line| line["event"] == "table-inherited");
    assert_eq!(parts(&table_of(&stage)), (at, key.clone()));
    assert_eq!(mode(&stage.workspace.path(SIGN)), 0o600);
    let here = at.to_string();
    assert_eq!(list_tables(at, &key, &here, &[]), Some(200));
    assert_eq!(list_tables(at, "", &here, &[]), Some(403));
    assert_eq!(list_tables(at, &key, &here, &["origin: null"]), Some(403));
    assert_eq!(stage.enqueue("send-mail", "", "told", &["--wait", "60s"]), "\"told\"");
    end(second);
}

#[test]
fn o06_the_folder_of_another_user_is_refused() {
    let stage = Stage::new().task("tick", "@hourly", "");
    stage.workspace.write(".lamplighter/stacks/shop.lock", "");
    let home = stage.workspace.path(".lamplighter");
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    } else {
        // A folder of another user that always exists.
        fs::remove_dir_all(&home).unwrap();
        std::os::unix::fs::symlink("/", &home).unwrap();
    }
    let before = fs::metadata(&home).unwrap();
    for line in [&["history"][..], &["start"], &["run", "tick"], &["disable", "tick"]] {
        let said = stage.workspace.run(line).failed();
        assert!(
            said.contains("belongs to another user (uid ") && said.contains("--home"),
            "{line:?}: {said}"
        );
    }
    let after = fs::metadata(&home).unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()), "it is left as it is");
    assert!(!home.join("table.sqlite").exists());
}
