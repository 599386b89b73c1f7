//! The tables of the inventory that are not about nodes: `[limits]`, `[changes]`, `[redact]`.

use std::time::Duration;

use super::document::Section;
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
    let words = [("auto", DockerdDebug::Auto), ("off", DockerdDebug::Off)];
    let changes = Changes { dockerd_debug: section.get("dockerd-debug").map(|e| e.one_of(&words)).transpose()? };
    section.finish()?;
    Ok(changes)
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
