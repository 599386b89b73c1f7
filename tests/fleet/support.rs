//! The fleet as the tests see it: nodes, faults that heal themselves, runs of the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The state directory of the running fleet.
pub(crate) fn state() -> PathBuf {
    let dir = std::env::var("PLEGCOLLECT_FLEET")
        .expect("PLEGCOLLECT_FLEET must name the state directory of a running fleet (scripts/fleet path state)");
    std::fs::canonicalize(&dir).unwrap_or_else(|e| panic!("{dir}: {e}"))
}

/// Calls `scripts/fleet` and returns its standard output; panics with its words if it fails.
pub(crate) fn fleet(args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet");
    let output = Command::new(script)
        .args(args)
        .env("PLEGCOLLECT_FLEET_DIR", state())
        .stdin(Stdio::null())
        .output()
        .expect("scripts/fleet starts");
    assert!(
        output.status.success(),
        "fleet {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command inside a node without SSH; returns its standard output.
pub(crate) fn on_node(node: &str, script: &str) -> String {
    fleet(&["exec", node, "/bin/sh", "-c", script])
}

/// A fault that is healed when it goes out of scope, also when the test fails.
pub(crate) struct Fault(&'static str);

impl Fault {
    pub(crate) fn new(node: &'static str, kind: &[&str]) -> Self {
        let mut args = vec!["fault", node];
        args.extend(kind);
        fleet(&args);
        Self(node)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet");
        let healed = Command::new(script).args(["heal", self.0]).env("PLEGCOLLECT_FLEET_DIR", state()).output();
        if !healed.is_ok_and(|o| o.status.success()) {
            eprintln!("{} could not be healed", self.0);
        }
    }
}

/// A call of the program under test.
pub(crate) struct Plegcollect {
    pub(crate) command: Command,
    pub(crate) out: tempfile::TempDir,
}

/// Returns a call with the fleet's inventory and an output directory of its own.
pub(crate) fn plegcollect(args: &[&str]) -> Plegcollect {
    plegcollect_with(&state().join("inventory.toml"), args)
}

/// Returns a call with another inventory.
pub(crate) fn plegcollect_with(inventory: &Path, args: &[&str]) -> Plegcollect {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plegcollect"));
    command
        .args(args)
        .env("PLEGCOLLECT_INVENTORY", inventory)
        .env("PLEGCOLLECT_OUT", out.path())
        .env("HOME", out.path())
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null());
    Plegcollect { command, out }
}

/// What a finished run left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) output: Output,
    pub(crate) dir: PathBuf,
    pub(crate) record: Value,
    pub(crate) took: Duration,
    /// Keeps the directory until the test ends.
    pub(crate) _out: tempfile::TempDir,
}

impl Plegcollect {
    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Run {
        let clock = Instant::now();
        let output = self.command.output().expect("plegcollect starts");
        let took = clock.elapsed();
        let dir = run_dir(self.out.path());
        let record = dir
            .as_ref()
            .and_then(|d| std::fs::read(d.join("run.json")).ok())
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or(Value::Null);
        Run {
            code: output.status.code().unwrap_or(-1),
            output,
            dir: dir.unwrap_or_default(),
            record,
            took,
            _out: self.out,
        }
    }
}

/// The one run directory below `out`.
pub(crate) fn run_dir(out: &Path) -> Option<PathBuf> {
    std::fs::read_dir(out)
        .ok()?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("plegcollect-")))
}

impl Run {
    /// Everything it printed, for messages of failed assertions.
    pub(crate) fn said(&self) -> String {
        format!(
            "exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr)
        )
    }

    /// The node's entry in run.json.
    pub(crate) fn node(&self, name: &str) -> &Value {
        self.record["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|n| n["node"] == name))
            .unwrap_or_else(|| panic!("{name} is not in run.json: {}", self.said()))
    }

    /// The node's sealed bundle.
    pub(crate) fn bundle(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.tar.zst"))
    }

    /// The manifest of the node's sealed bundle.
    pub(crate) fn manifest(&self, name: &str) -> Value {
        serde_json::from_slice(&self.file(name, "manifest.json")).expect("manifest.json is JSON")
    }

    /// One file of the node's bundle, by plain tar.
    pub(crate) fn file(&self, name: &str, path: &str) -> Vec<u8> {
        let output = Command::new("tar").arg("--zstd").arg("-xOf").arg(self.bundle(name)).arg(path).output().unwrap();
        assert!(output.status.success(), "tar: {path}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The manifest's record of one step.
    pub(crate) fn step(&self, name: &str, id: &str) -> Value {
        self.manifest(name)["steps"]
            .as_array()
            .and_then(|steps| steps.iter().find(|s| s["id"] == id).cloned())
            .unwrap_or_else(|| panic!("{id} is not in the manifest of {name}"))
    }
}

/// Calls `plegcollect verify` and returns exit code and words.
pub(crate) fn verify(path: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plegcollect")).arg("verify").arg(path).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until `done` holds; panics naming `what` after `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Peak and present resident memory of a process, in KiB.
pub(crate) fn memory_kib(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field =
        |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    Some((field("VmHWM:")?, field("VmRSS:")?))
}

/// A small generator, so that a seed repeats a campaign on any machine.
pub(crate) struct Random(u64);

impl Random {
    /// Neighbouring seeds give unlike sequences (the mixing step of splitmix64).
    pub(crate) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    /// A number from 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// One of `choices`.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}: not a number: {v}")))
}
