//! The tables of the inventory that are not about nodes: `[limits]`, `[changes]`, `[logs]`, `[redact]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Entry, Section};
use super::error::InventoryError;

/// Whether dockerd's log level may be raised while evidence is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerdDebug {
    /// Where it can be done and undone safely.
    Auto,
    /// Never.
    Off,
}

/// `[changes]`: what may be changed on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// `dockerd-debug`.
    pub dockerd_debug: Option<DockerdDebug>,
    /// `stacks`: SIGUSR1 to dockerd and containerd.
    pub stacks: Option<bool>,
    /// `shim-stacks`: and to shims.
    pub shim_stacks: Option<bool>,
    /// `window`: length of the debug window.
    pub window: Option<Duration>,
    /// `lease`: without a sign of life for so long, the node undoes the change by itself.
    pub lease: Option<Duration>,
    /// `deadline`: after so long it does so in any case.
    pub deadline: Option<Duration>,
    /// `allow-runtime-names`: go on although docker 20.10 forgets the names of built-in runtimes.
    pub allow_runtime_names: Option<bool>,
    /// `max-dump-goroutines`: daemons with more are not sent SIGUSR1.
    pub max_dump_goroutines: Option<u64>,
    /// `sample-gap`: time between the two samples of stacks.
    pub sample_gap: Option<Duration>,
    /// `kubelet-verbosity`: what kubelets log at while changes are in force, 1 to 10.
    pub kubelet_verbosity: Option<u8>,
}

impl Changes {
    /// What a window may be: debug lines fill the journal.
    pub const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
    /// What a lease may be: signs of life come every few seconds.
    pub const LEASE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);
    /// What a deadline may be; window and lease must fit in.
    pub const DEADLINE: RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(3600);
    /// What the time between samples may be: dockerd names its files by the second.
    pub const SAMPLE_GAP: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(120);
}

/// `[logs]`: files the daemons of nodes log to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// dockerd's.
    pub docker: Vec<String>,
    /// containerd's.
    pub containerd: Vec<String>,
    /// The kubelet's.
    pub kubelet: Vec<String>,
}

/// `[limits]`: bounds of a run; flags override them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Nodes at a time.
    pub parallel: Option<usize>,
    /// Time for one node, from its start.
    pub node_deadline: Option<Duration>,
    /// Time for the whole run.
    pub run_deadline: Option<Duration>,
    /// Attempts to connect to a node.
    pub connect_attempts: Option<u32>,
    /// Nodes that may be selected.
    pub max_nodes: Option<usize>,
    /// Bytes of evidence of one node.
    pub max_node_bytes: Option<u64>,
    /// Bytes of evidence of the run.
    pub max_run_bytes: Option<u64>,
}

/// `[redact]`: what is taken out of evidence beyond the built-in rules.
#[derive(Debug, Clone, Default)]
pub struct Redact {
    /// Texts to take out wherever they stand.
    pub literals: Vec<String>,
    /// Rules of one's own.
    pub rules: Vec<RedactRule>,
    /// Names of built-in rules to leave out.
    pub disable: Vec<String>,
}

/// `[[redact.rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactRule {
    /// Its name in the manifest.
    pub name: String,
    /// Regular expression on bytes, known to compile.
    pub pattern: String,
    /// Replacement with `$1`; `None`: the standard mark.
    pub replace: Option<String>,
    /// Where it stands in the file, counted from 1.
    pub line: usize,
}

pub(super) fn read_changes(section: &Section<'_>) -> Result<Changes, InventoryError> {
    let bool = |key: &'static str| section.get(key).map(|e| e.bool()).transpose();
    let duration = |key: &'static str, range: RangeInclusive<Duration>| {
        section.get(key).map(|e| e.duration().and_then(|time| within(&e, time, &range))).transpose()
    };
    let words = [("auto", DockerdDebug::Auto), ("off", DockerdDebug::Off)];
    let changes = Changes {
        dockerd_debug: section.get("dockerd-debug").map(|e| e.one_of(&words)).transpose()?,
        stacks: section.get("stacks").map(|e| e.one_of(&[("auto", true), ("off", false)])).transpose()?,
        shim_stacks: bool("shim-stacks")?,
        window: duration("window", Changes::WINDOW)?,
        lease: duration("lease", Changes::LEASE)?,
        deadline: duration("deadline", Changes::DEADLINE)?,
        allow_runtime_names: bool("allow-runtime-names")?,
        max_dump_goroutines: section.get("max-dump-goroutines").map(|e| e.integer(1..1_000_001)).transpose()?,
        sample_gap: duration("sample-gap", Changes::SAMPLE_GAP)?,
        kubelet_verbosity: section
            .get("kubelet-verbosity")
            .map(|e| e.integer(1..11))
            .transpose()?
            .and_then(|level| u8::try_from(level).ok()),
    };
    section.finish()?;
    Ok(changes)
}

fn within(entry: &Entry<'_>, time: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, InventoryError> {
    if range.contains(&time) {
        return Ok(time);
    }
    let shown = humantime::format_duration;
    Err(entry.fail(&format!("expected {} to {}, got {}", shown(*range.start()), shown(*range.end()), shown(time))))
}

pub(super) fn read_logs(section: &Section<'_>) -> Result<Logs, InventoryError> {
    let what = "the absolute path of a log file on nodes";
    let paths = |key: &'static str| -> Result<Vec<String>, InventoryError> {
        let Some(list) = section.get(key) else { return Ok(Vec::new()) };
        let paths = list.strings(what)?;
        if paths.len() > 20 {
            return Err(list.fail("more than 20 files"));
        }
        paths
            .iter()
            .map(|entry| {
                let path = entry.string(what)?;
                // The kernel's own files may do something when they are opened.
                let kernel = ["/dev/", "/proc/", "/sys/"].iter().any(|dir| path.starts_with(dir));
                let sound = path.starts_with('/')
                    && !kernel
                    && path.len() <= 4096
                    && !path.chars().any(char::is_control)
                    && path.split('/').all(|part| part != "..");
                if sound { Ok(path.to_owned()) } else { Err(entry.fail(&format!("expected {what}, got {path:?}"))) }
            })
            .collect()
    };
    let logs = Logs { docker: paths("docker")?, containerd: paths("containerd")?, kubelet: paths("kubelet")? };
    section.finish()?;
    Ok(logs)
}

pub(super) fn read_limits(section: &Section<'_>) -> Result<Limits, InventoryError> {
    let integer = |key: &'static str, to: u64| section.get(key).map(|e| e.integer(1..to + 1)).transpose();
    let duration = |key: &'static str| section.get(key).map(|e| e.duration()).transpose();
    let size = |key: &'static str| section.get(key).map(|e| e.size()).transpose();
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let limits = Limits {
        parallel: integer("parallel", 10_000)?.map(count),
        node_deadline: duration("node-deadline")?,
        run_deadline: duration("run-deadline")?,
        connect_attempts: integer("connect-attempts", 100)?.and_then(|n| u32::try_from(n).ok()),
        max_nodes: integer("max-nodes", 1_000_000)?.map(count),
        max_node_bytes: size("max-node-bytes")?,
        max_run_bytes: size("max-run-bytes")?,
    };
    section.finish()?;
    Ok(limits)
}

pub(super) fn read_redact(section: &Section<'_>) -> Result<Redact, InventoryError> {
    let strings = |key: &'static str, what: &str| -> Result<Vec<String>, InventoryError> {
        let Some(list) = section.get(key) else { return Ok(Vec::new()) };
        list.strings(what)?.iter().map(|e| e.string(what).map(str::to_owned)).collect()
    };
    let mut redact = Redact {
        literals: strings("literals", "a text to take out")?,
        rules: Vec::new(),
        disable: strings("disable", "the name of a built-in rule")?,
    };
    for rule in section.get("rule").map(|e| e.sections()).transpose()?.unwrap_or_default() {
        let required = |key: &'static str, what: &str| {
            rule.get(key).ok_or_else(|| rule.fail(&format!("this rule has no {key}: add {what}")))
        };
        let pattern = required("pattern", "pattern = 'token=(\\S+)'")?;
        let regex = pattern.string("a regular expression")?;
        if let Err(error) = regex::bytes::Regex::new(regex) {
            let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return Err(pattern.fail(&format!("not a regular expression: {reason}")));
        }
        redact.rules.push(RedactRule {
            name: required("name", "name = \"my-token\"")?.string("a name")?.to_owned(),
            pattern: regex.to_owned(),
            replace: rule.get("replace").map(|e| e.string("a replacement").map(str::to_owned)).transpose()?,
            line: rule.line(),
        });
        rule.finish()?;
    }
    section.finish()?;
    Ok(redact)
}
