//! A terminal for a program under test: tests type, and read its output.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// The timeout of an expected output.
const PATIENCE: Duration = Duration::from_secs(120);

/// The character of Ctrl-C.
pub const CTRL_C: &str = "\u{3}";

/// A program on a controlling terminal of its own, so that a typed Ctrl-C is a signal to all processes on it.
#[derive(Debug)]
pub struct Terminal {
    program: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// Starts the command on a new terminal.
    pub fn start(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let controller = openpt(flags).expect("a terminal can be opened");
        grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("it can be used");
        let terminal = File::from(ioctl_tiocgptpeer(&controller, flags).expect("it has another end"));
        let end = || terminal.try_clone().expect("it can be opened twice");
        // A process gets a controlling terminal only in a session of its own.
        let mut started = Command::new("setsid");
        started.arg("--ctty").arg(command.get_program()).args(command.get_args());
        started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            started.current_dir(folder);
        }
        let program =
            started.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid can be started");

        let keyboard = File::from(controller);
        let mut reader = keyboard.try_clone().expect("it can be opened twice");
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error means that no writer is left.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { program, keyboard, screen, shown: String::new() }
    }

    /// Waits until the text is shown, and discards the output up to it.
    pub fn expect(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{error}: `{text}` is not shown: {}", self.shown),
            }
        }
    }

    /// Types the keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Waits for the program's end. Returns its exit code and the remaining output.
    pub fn end(mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.program.try_wait().expect("the program can be waited for") {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "the program does not end: {}", self.shown);
            std::thread::sleep(Duration::from_millis(20));
        };
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_secs(1)) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status.code(), self.shown.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
