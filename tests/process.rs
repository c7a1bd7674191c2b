//! The merchant's program as a process of its own, to be killed where a test wants.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

/// Longest wait for a line: several rounds may pass before a point is reached.
const LINE_PATIENCE: Duration = Duration::from_secs(150);

/// A running `forecastle`.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts `program` with `arguments` on a state folder, to stop at the point `stop_at`.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(program: &Path, folder: &Path, arguments: &[&str], stop_at: Option<&str>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::inherit()).env_remove("FORECASTLE_STOP_AT");
        if let Some(point) = stop_at {
            command.env("FORECASTLE_STOP_AT", point);
        }
        let mut child = command.spawn().expect("a program that starts");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that holds `text`.
    ///
    /// # Panics
    /// Where it does not come: the message holds what came instead.
    pub fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = LINE_PATIENCE.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no `{text}` ({error}); instead: {:#?}", self.seen),
            }
        }
    }

    /// Kills it (SIGKILL on Unix): nothing of it runs any more.
    ///
    /// # Panics
    /// Where it has ended by itself before.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().expect("a child's state").is_none(), "it ended by itself: {:#?}", self.seen);
        self.child.kill().expect("a child that can be killed");
        let status = self.child.wait().expect("a child's end");
        assert!(!status.success());
    }

    /// Waits for its end, which must be a success, and returns what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn end(mut self) -> Vec<String> {
        let status = self.child.wait().expect("a child's end");
        let mut lines = std::mem::take(&mut self.seen);
        lines.extend(self.lines.iter());
        assert!(status.success(), "{status}: {lines:#?}");
        lines
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
