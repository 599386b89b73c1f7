//! Does something to a node at a chosen moment of its debug window, within a millisecond of it: a small program inside
//! the node (node/trigger.py) watches the files of the protocol by inotify.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::state;

/// A watcher inside a node. Dropped, it ends.
pub(crate) struct Trigger {
    child: Child,
    stdin: Option<ChildStdin>,
    words: Receiver<String>,
}

impl Trigger {
    /// Starts it and waits until it watches. `moment` and `action` as node/trigger.py says.
    pub(crate) fn new(node: &str, moment: &str, delay: Duration, action: &str, count: u32) -> Self {
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet"))
            .args(["exec", node, "python3", "-c", include_str!("node/trigger.py"), moment])
            .args([&delay.as_secs_f64().to_string(), action, &count.to_string()])
            .env("PLEGCOLLECT_FLEET_DIR", state())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/fleet starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"), "the watcher on {node} did not start");
        let stdin = child.stdin.take();
        Self { child, stdin, words: follow(lines) }
    }

    /// The moment `after` counts from now.
    pub(crate) fn go(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It may have hit and ended already.
            let _ = stdin.write_all(b"go\n");
        }
    }

    /// Waits until the moment has come; returns the phase the node was in, or `None` if `over` says that
    /// it will not come any more.
    pub(crate) fn hit(&self, limit: Duration, mut over: impl FnMut() -> bool) -> Option<String> {
        let end = std::time::Instant::now() + limit;
        let mut last = false;
        loop {
            match self.words.recv_timeout(Duration::from_millis(20)) {
                Ok(words) => return words.strip_prefix("hit ").map(str::to_owned),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(_) if last || std::time::Instant::now() > end => return None,
                // Once more: the word may have come between the look at the channel and the end of the run.
                Err(_) => last = over(),
            }
        }
    }

    /// Waits until the action is done; returns what the watcher says of it.
    pub(crate) fn done(&self, limit: Duration) -> String {
        match self.words.recv_timeout(limit) {
            Ok(words) => words.strip_prefix("done ").unwrap_or(&words).to_owned(),
            Err(_) => "the watcher said nothing".to_owned(),
        }
    }
}

fn follow(lines: Lines<BufReader<ChildStdout>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Drop for Trigger {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
