//! Read-only and full disks.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::stage::{Stage, until, within};

/// A small disk mounted at the home folder of a stage, for processes in its namespace. Dropping this value unmounts it.
struct Disk {
    holder: std::process::Child,
}

impl Disk {
    /// Mounts a disk. None if this machine does not permit it.
    fn mounted(stage: &Stage, options: &str) -> Option<Self> {
        let home = stage.workspace.path(".lamplighter");
        fs::create_dir_all(&home).unwrap();
        let script = "mount -t tmpfs -o \"$0\" none \"$1\" && echo mounted && exec sleep 1000";
        let mut holder = Command::new("unshare");
        holder.args(["-r", "-m", "sh", "-c", script, options]).arg(&home).stdout(Stdio::piped());
        // The start folder of commands in the namespace.
        holder.current_dir(stage.workspace.path(""));
        let mut holder = holder.stderr(Stdio::null()).spawn().ok()?;
        let mut said = [0; 7];
        let is_mounted = std::io::Read::read_exact(holder.stdout.as_mut()?, &mut said).is_ok();
        let disk = Self { holder };
        if !is_mounted {
            eprintln!("skipped: this machine does not permit to mount a small disk");
        }
        is_mounted.then_some(disk)
    }

    /// The command in the disk's namespace.
    fn within(&self, command: &Command) -> Command {
        let process = self.holder.id().to_string();
        within(&["nsenter", "-t", &process, "-U", "-m", "--preserve-credentials", "-w", "--"], command)
    }

    /// The path of a file of the disk, as this test sees it.
    fn path(&self, stage: &Stage, file: &str) -> std::path::PathBuf {
        let path = stage.workspace.path(".lamplighter").join(file);
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn json_of(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_read_only_home_folder_is_named_and_nothing_starts() {
    let stage = Stage::new().task("tick", "every 1 seconds", "").queue("queue-probe", &json!({}));
    let folder = stage.workspace.path(".lamplighter").display().to_string();
    for (options, reason, advice) in [
        ("ro", "Read-only file system", "make it writable, or name another folder with `--home`"),
        (
            "size=8k",
            "No space left on device",
            "free space on its disk, or name another folder with `--home`",
        ),
    ] {
        let Some(disk) = Disk::mounted(&stage, options) else { return };
        for line in [
            &["up"][..],
            &["start"],
            &["dev"],
            &["run", "tick"],
            &["enqueue", "queue-probe", "{\"mode\": \"\", \"mark\": \"x\"}"],
            &["history"],
            &["disable", "tick"],
        ] {
            let output = disk.within(&stage.command(line, &[])).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
            let last = said.lines().last().unwrap_or_default();
            assert!(
                last.starts_with(&format!("error: cannot write to the folder {folder}")),
                "{line:?}: {said}"
            );
            assert!(last.contains(reason) && last.ends_with(advice), "{line:?}: {said}");
        }
        assert_eq!(
            fs::read_dir(disk.path(&stage, "")).unwrap().count(),
            0,
            "{options}: nothing is half written"
        );
        assert!(
            stage.noted().is_empty() && !stage.workspace.path("target").exists(),
            "nothing was compiled or run"
        );
    }
}

#[test]
fn a_job_that_ends_on_a_full_disk_is_recorded_once_there_is_room() {
    let stage = Stage::new().queue("queue-probe", &json!({}));
    let Some(disk) = Disk::mounted(&stage, "size=6m") else { return };
    let mut runner = Stage::follow(disk.within(&stage.command(&["start", "--json"], &[])));
    let enqueue = |mode: &str, mark: &str| {
        let arguments = json!({ "mode": mode, "mark": mark }).to_string();
        disk.within(&stage.command(&["enqueue", "queue-probe", &arguments], &[])).output().unwrap()
    };
    let enqueued = enqueue("await", "go");
    assert!(enqueued.status.success(), "{enqueued:?}");
    let job = String::from_utf8(enqueued.stdout).unwrap().trim().to_owned();
    assert_eq!(stage.until_noted(1), ["go"]);

    let filler = disk.path(&stage, "filler");
    let fill = || {
        let mut file = fs::File::options().append(true).create(true).open(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    };
    fill();
    let refused = enqueue("", "refused");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("free space on its disk"), "{said}");
    stage.workspace.write("go", "");
    runner.until("warning about the unrecorded job", |line| {
        // Takes the space that the table has left.
        fill();
        line["event"] == "warning" && line["message"].as_str().is_some_and(|text| text.contains(&job))
    });
    // Some time, but less than the lease.
    thread::sleep(Duration::from_secs(3));

    fs::remove_file(&filler).unwrap();
    let over = until("its record", || {
        let answer = json_of(disk.within(&stage.command(&["status", &job, "--json"], &[])));
        (answer["status"] != "RUNNING").then_some(answer)
    });
    assert_eq!((&over["status"], &over["data"]), (&json!("COMPLETED"), &json!("go")), "{over:#}");
    assert_eq!(stage.noted(), ["go"], "its body ran once");
    let another = enqueue("", "another");
    assert!(another.status.success(), "{another:?}");
    stage.until_noted(2);
    runner.signal("TERM");
    let (code, _, said) = runner.ended();
    assert_eq!(code, Some(0), "{said:#?}");
}
