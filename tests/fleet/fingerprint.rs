//! The state of a node that must be the same before and after, as facts of one line each, and how two states differ.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{on_node, state};

/// Facts of a node. Equal before and after a run that left the node as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(BTreeSet<String>);

/// Facts that dockerd's restart changes, and nothing else may.
const OF_DOCKERDS_START: [&str; 2] = ["process docker:", "container:"];

impl Fingerprint {
    /// Takes it, in about half a second.
    pub(crate) fn of(node: &str) -> Self {
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet"))
            .args(["exec", node, "/bin/sh", "-s"])
            .env("PLEGCOLLECT_FLEET_DIR", state())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/fleet starts");
        child.stdin.take().unwrap().write_all(include_bytes!("node/fingerprint.sh")).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the fingerprint of {node}: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("\ndockerd log: "), "the fingerprint of {node} is cut short:\n{text}");
        Self(text.lines().map(|l| l.trim_end().to_owned()).collect())
    }

    /// Returns how `after` differs, readable, or nothing if it does not. With `restarted`, dockerd may be
    /// another process and its containers may have ended.
    pub(crate) fn difference(&self, after: &Self, restarted: bool) -> Option<String> {
        let counts = |fact: &&&String| !(restarted && OF_DOCKERDS_START.iter().any(|start| fact.starts_with(start)));
        let gone = self.0.difference(&after.0).collect::<Vec<_>>();
        let new = after.0.difference(&self.0).collect::<Vec<_>>();
        let lines: Vec<String> = gone
            .iter()
            .filter(counts)
            .map(|fact| format!("  before  {fact}"))
            .chain(new.iter().filter(counts).map(|fact| format!("  now     {fact}")))
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Returns whether some fact contains `words`.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.0.iter().any(|fact| fact.contains(words))
    }

    /// Waits until the node is as it was, at most `limit`; returns how long that took.
    ///
    /// # Errors
    /// What is still different then.
    pub(crate) fn wait(&self, node: &str, limit: Duration, restarted: bool) -> Result<Duration, String> {
        let clock = Instant::now();
        loop {
            let now = Self::of(node);
            let took = clock.elapsed();
            match self.difference(&now, restarted) {
                None => return Ok(took),
                Some(difference) if took > limit => return Err(difference),
                Some(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }
}

/// Waits until debug may be switched on the node at all: dockerd answers, is older than a minute, and has never been
/// found at debug level; returns its fingerprint.
pub(crate) fn rested(node: &str) -> Fingerprint {
    crate::support::wait_until("dockerd to be older than a minute", Duration::from_secs(90), || {
        let age = on_node(
            node,
            "pid=$(systemctl show -p MainPID docker.service); up=$(cut -d. -f1 /proc/uptime); \
             start=$(sed 's/^.*) //' /proc/${pid#MainPID=}/stat | cut -d' ' -f20); echo $((up - start / $(getconf CLK_TCK)))",
        );
        age.trim().parse::<u64>().is_ok_and(|seconds| seconds > 61)
    });
    let fingerprint = Fingerprint::of(node);
    assert!(fingerprint.says("\"Debug\":false"), "{node} does not start at rest: {fingerprint:?}");
    fingerprint
}

/// A fingerprint that sees nothing would make every test of this directory pass.
#[test]
#[ignore = "needs the fleet"]
fn what_is_left_on_a_node_is_seen() {
    let node = "worker-009";
    let before = Fingerprint::of(node);
    // What is left, how it is taken away, and the fact that tells of it.
    let config = "/etc/docker/daemon.json";
    let mtime = on_node(node, &format!("stat -c %y {config}"));
    for (leave, take, fact) in [
        ("touch /tmp/left-file", "rm /tmp/left-file", "in /tmp: left-file"),
        ("mkdir /run/plegcollect", "rmdir /run/plegcollect", "in /run: plegcollect"),
        ("mkdir /run/plegcollect-kubelet", "rmdir /run/plegcollect-kubelet", "in /run: plegcollect-kubelet"),
        (
            "touch /run/docker/goroutine-stacks-1.log",
            "rm /run/docker/goroutine-stacks-1.log",
            "in /run/docker: goroutine-stacks-1.log",
        ),
        (
            "ln /etc/docker/daemon.json /etc/docker/daemon.json.plegcollect-orig",
            "rm /etc/docker/daemon.json.plegcollect-orig",
            "links 2",
        ),
        ("chmod 600 /etc/docker/daemon.json", "chmod 644 /etc/docker/daemon.json", "mode 600"),
        ("touch /etc/docker/daemon.json", &format!("touch -d '{}' {config}", mtime.trim()), "mtime"),
        (
            "cp -p /etc/docker/daemon.json /etc/docker/kept && mv /etc/docker/daemon.json /etc/docker/first && mv /etc/docker/kept /etc/docker/daemon.json",
            "mv -f /etc/docker/first /etc/docker/daemon.json",
            "inode",
        ),
        (
            "systemd-run --quiet --unit=plegcollect-test sleep 60",
            "systemctl stop plegcollect-test.service",
            "left over process",
        ),
    ] {
        on_node(node, leave);
        let now = Fingerprint::of(node);
        on_node(node, take);
        let difference = before.difference(&now, false).unwrap_or_else(|| panic!("nothing was seen of: {leave}"));
        assert!(difference.contains(fact), "{leave}:\n{difference}");
    }
    before.wait(node, Duration::from_secs(5), false).unwrap_or_else(|d| panic!("{d}"));
}
