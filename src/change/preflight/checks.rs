//! The checks of the daemon itself (P1 to P8, P12): is it dockerd, fully started, answering, and can its debug be
//! switched and put back. Pure decisions over what was seen; each says what that was.

use super::flags::{self, Flag};
use super::info::Info;
use super::seen::{Seen, property};
use super::version::Version;
use super::{ConfigFile, pass, refuse, shown, verdict};
use crate::change::{Check, Verdict};
use crate::plan::ChangePolicy;
use crate::plan::facts::Daemon;

/// A younger dockerd may still be on its way to the point where it handles SIGHUP: before it, SIGHUP kills it
/// (moby@v20.10.24:cmd/dockerd/daemon.go:195,236).
const LEAST_UPTIME_S: u64 = 60;

/// All that the checks judge by.
pub(super) struct Case<'a> {
    pub(super) daemon: &'a Daemon,
    /// Clock ticks per second.
    pub(super) ticks: u32,
    pub(super) flags: &'a [Flag],
    /// Path of the configuration file.
    pub(super) config: &'a str,
    pub(super) file: &'a ConfigFile,
    pub(super) seen: &'a Seen,
    pub(super) info: Option<&'a Info>,
    pub(super) policy: &'a ChangePolicy,
    /// First number of systemd's version.
    pub(super) systemd: Option<u32>,
}

impl Case<'_> {
    pub(super) fn version(&self) -> Option<Version> {
        Version::read(self.info?.version())
    }

    /// Returns a key of the configuration file.
    pub(super) fn key(&self, name: &str) -> Option<&serde_json::Value> {
        match self.file {
            ConfigFile::Read { parsed, .. } => parsed.keys.get(name),
            ConfigFile::Missing(_) | ConfigFile::Bad(_) => None,
        }
    }
}

/// Returns the checks P1 to P8 and P12, those that can be made.
pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let all =
        [Some(p1(case)), Some(p2(case)), Some(p3(case)), p4(case), p5(case), p6(case), p7(case), p8(case), p12(case)];
    all.into_iter().flatten().collect()
}

fn p1(case: &Case<'_>) -> Check {
    let Some(unit) = case.daemon.unit.as_deref() else {
        return refuse(
            "P1",
            "dockerd is in no systemd unit: whether it is fully started cannot be told, and a SIGHUP before that \
             would kill it",
        );
    };
    if case.seen.get("uid") != Some("0") {
        return refuse("P1", "switching debug needs root's rights on the node");
    }
    let Some(seen) = &case.seen.unit else {
        return refuse(
            "P1",
            format!(
                "systemd does not say within 5 s whether {unit} is fully started: a SIGHUP before that would kill \
                 dockerd"
            ),
        );
    };
    let word = |name| property(seen, name).unwrap_or("unknown");
    let state = format!("{}/{}", shown(word("ActiveState")), shown(word("SubState")));
    if state != "active/running" {
        return refuse("P1", format!("dockerd is not fully started ({unit} is {state}): a SIGHUP now would kill it"));
    }
    let main = word("MainPID");
    let pid = case.daemon.pid.unwrap_or_default().to_string();
    if main != pid {
        let main = shown(main);
        return refuse(
            "P1",
            format!(
                "the main process of {unit} is {main}, not {pid} as a moment ago: dockerd was restarted, or is not \
                 started by its unit"
            ),
        );
    }
    pass("P1", format!("{unit} is {state}, main process {pid}"))
}

fn p2(case: &Case<'_>) -> Check {
    let pid = case.daemon.pid.unwrap_or_default();
    let seen = case.seen;
    let Some(exe) = seen.get("proc.exe") else {
        return refuse("P2", format!("the program of process {pid} cannot be seen: it may have ended"));
    };
    let (program, deleted) = exe.strip_suffix(" (deleted)").map_or((exe, false), |p| (p, true));
    let name = program.rsplit('/').next().unwrap_or_default();
    // Before 1.12 the client's program was the daemon too.
    let daemon_mode = case.daemon.cmdline.get(1).is_some_and(|arg| matches!(arg.as_str(), "daemon" | "-d"));
    let is_dockerd = matches!(name, "dockerd" | "dockerd-current" | "dockerd-latest")
        || (matches!(name, "docker" | "docker-current") && daemon_mode);
    if !is_dockerd {
        return refuse("P2", format!("process {pid} is {}, not dockerd", shown(exe)));
    }
    if seen.get("proc.uid").is_some_and(|uid| uid != "0") {
        return refuse(
            "P2",
            format!("dockerd (process {pid}) does not run as root: a rootless daemon is not switched"),
        );
    }
    if case.daemon.start_ticks.is_none() || seen.number("proc.start") != case.daemon.start_ticks {
        return refuse(
            "P2",
            format!("process {pid} is not the dockerd that was there a moment ago: it was restarted; run again"),
        );
    }
    let Some(socket) = seen.get("socket") else {
        let looked: Vec<String> = seen
            .all("socket.seen")
            .iter()
            .filter_map(|seen| {
                let mut parts = seen.splitn(3, ' ');
                let (there, own) = (parts.next()?, parts.next()?);
                let path = shown(parts.next()?);
                Some(match (there, own) {
                    ("0", _) => format!("nobody listens on {path}"),
                    (_, "0") => format!("another process listens on {path}"),
                    _ => format!("{} sockets listen on {path}", shown(there)),
                })
            })
            .collect();
        let why = if looked.is_empty() { "it was started without one".to_owned() } else { looked.join(", ") };
        return refuse("P2", format!("dockerd (process {pid}) has no unix socket of its own to be asked by: {why}"));
    };
    let note = if deleted { " (the file on disk was replaced since it started)" } else { "" };
    pass("P2", format!("process {pid} is {}{note} and alone listens on {}", shown(program), shown(socket)))
}

fn p3(case: &Case<'_>) -> Check {
    let Some((_, ran)) = case.seen.started(case.ticks) else {
        return refuse("P3", "how long dockerd has run cannot be told");
    };
    if ran <= LEAST_UPTIME_S {
        return refuse(
            "P3",
            format!(
                "dockerd has run for only {ran} s: within its first {LEAST_UPTIME_S} s a SIGHUP might kill it; try \
                 again later"
            ),
        );
    }
    if case.seen.get("socket").is_none() {
        return refuse("P3", "dockerd cannot be asked without its socket");
    }
    match case.seen.answer("ping") {
        Some(answer) if answer.status == 0 && answer.text.starts_with("OK") => {
            pass("P3", format!("dockerd has run for {ran} s and answers a ping"))
        }
        Some(_) => {
            let stopped = matches!(case.seen.get("proc.state"), Some("T" | "t"));
            let why = if stopped { " (the process is stopped, state T)" } else { "" };
            refuse("P3", format!("dockerd answers no ping within 5 s{why}: debug cannot be switched safely"))
        }
        None => refuse(
            "P3",
            "neither docker nor a curl with --unix-socket is on the node: dockerd cannot be asked whether debug is on",
        ),
    }
}

fn p4(case: &Case<'_>) -> Option<Check> {
    if case.info.is_some() {
        return Some(pass("P4", "dockerd answered /info twice, each time within 5 s"));
    }
    let answer = case.seen.answer("info.2").or_else(|| case.seen.answer("info.1"))?;
    Some(if matches!(answer.status, 124 | 137 | 28) {
        refuse(
            "P4",
            "dockerd does not answer /info within 5 s (does containerd hang?): debug could get stuck on and is not \
             switched",
        )
    } else {
        refuse("P4", "dockerd gives no usable answer to /info: debug cannot be switched safely")
    })
}

fn p5(case: &Case<'_>) -> Option<Check> {
    let version = shown(case.info?.version());
    Some(match case.version() {
        None => refuse("P5", format!("docker calls itself {version:?}: what a SIGHUP does there is not known")),
        Some(v) if v < Version(1, 10) => {
            refuse("P5", format!("docker {version} has no configuration reload: a SIGHUP would kill it"))
        }
        Some(_) => pass("P5", format!("docker {version} reloads its configuration on SIGHUP")),
    })
}

fn p6(case: &Case<'_>) -> Option<Check> {
    Some(if case.info?.debug() {
        verdict("P6", Verdict::Skip, "debug is already on; it will be left on")
    } else {
        pass("P6", "debug is off")
    })
}

fn p7(case: &Case<'_>) -> Option<Check> {
    let debug = case.info?.debug();
    let asked = flags::value(case.flags, "debug").is_some_and(|v| v != "false")
        || case.key("debug").and_then(serde_json::Value::as_bool) == Some(true);
    Some(match case.seen.get("proc.debug") {
        Some("1") if debug && !asked => refuse(
            "P7",
            "DEBUG is set in the environment of dockerd: it reports debug but logs at info; it cannot be switched \
             and put back",
        ),
        Some(_) => pass("P7", "dockerd's environment does not decide on debug"),
        None => refuse("P7", "the environment of dockerd cannot be read within 3 s: its memory map may be locked"),
    })
}

fn p8(case: &Case<'_>) -> Option<Check> {
    if case.daemon.cmdline.is_empty() {
        return Some(refuse("P8", "dockerd's command line cannot be read: what a SIGHUP would reset is not known"));
    }
    let from_24 = case.version().is_none_or(|v| v >= Version(24, 0));
    Some(match flags::reset_by_reload(case.flags, from_24) {
        Some(flag) if flag.starts_with("--debug") => refuse(
            "P8",
            format!(
                "dockerd runs with {}: with a debug key in its file besides, it refuses every reload",
                shown(&flag)
            ),
        ),
        Some(flag) if flag.starts_with("--log-level") => refuse(
            "P8",
            format!("dockerd runs with {}: after debug it would log at info until the next restart", shown(&flag)),
        ),
        Some(flag) => {
            refuse("P8", format!("dockerd runs with {}: a SIGHUP would reset it until the next restart", shown(&flag)))
        }
        None => pass("P8", "no flag of dockerd is reset by a SIGHUP"),
    })
}

fn p12(case: &Case<'_>) -> Option<Check> {
    let info = case.info?;
    // moby@v20.10.24:daemon/reload_unix.go:23. Where a reload happened before, nothing is left to lose.
    let lost = case.version()? >= Version(20, 10)
        && case.version()? < Version(23, 0)
        && case.key("runtimes").is_some()
        && ["io.containerd.runc.v2", "io.containerd.runtime.v1.linux"].iter().any(|name| info.has_runtime(name));
    let what = "the built-in runtime names io.containerd.* will be unknown to docker 20.10 until its next restart, \
    because daemon.json has \"runtimes\"";
    Some(match (lost, case.policy.allow_runtime_names) {
        (false, _) => pass("P12", "no runtime is lost by a reload"),
        (true, true) => verdict("P12", Verdict::Warn, what),
        (true, false) => {
            refuse("P12", format!("{what}; allow-runtime-names = true in [changes] of the inventory allows it"))
        }
    })
}
