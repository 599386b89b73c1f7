//! The form of a step in TOML: one table read into a [`StepSpec`], the same for the built-in catalog and
//! for `[[step]]` in an inventory. Knows nothing of nodes. Used by `catalog.rs`.

use std::time::Duration;

use super::capability::Capability;
use super::changes::MadeBy;
use super::keys::{self, Keys};
use super::step::{Bounds, Phase, StepId};
use super::way::read_way;

pub(crate) use super::way::is_tool_name;
pub use super::way::{How, Way};

/// Where a step was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the built-in catalog, in this file.
    Builtin(&'static str),
    /// In the operator's inventory; line of its `[[step]]`.
    Inventory(usize),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin(file) => write!(f, "built-in catalog {file}"),
            Self::Inventory(line) => write!(f, "inventory line {line}"),
        }
    }
}

/// What is wrong with a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid step {step:?} ({origin}): {problem}")]
pub struct CatalogError {
    /// Its id, as far as it could be read.
    pub step: String,
    /// Where it stands.
    pub origin: Origin,
    /// Key and problem.
    pub problem: String,
}

/// What kind of run a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Profile {
    /// Everything; the default.
    #[default]
    Incident,
    /// Light: for cron.
    Snapshot,
}

/// How fast what a step reads passes away; the order of steps within a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Volatility {
    /// Processes, stacks, connections.
    State,
    /// Counters and summaries.
    #[default]
    Counters,
    /// Configuration.
    Config,
    /// Logs, which keep.
    Logs,
}

/// One step as the catalog describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSpec {
    /// Its name.
    pub id: StepId,
    /// Path in the bundle.
    pub file: String,
    /// What it is read for.
    pub about: String,
    /// When.
    pub phase: Phase,
    /// How soon within the phase.
    pub volatility: Volatility,
    /// In which profiles.
    pub profiles: Vec<Profile>,
    /// Time and size.
    pub bounds: Bounds,
    /// Wants root's rights.
    pub privileged: bool,
    /// Conditions of the node.
    pub requires: Vec<Capability>,
    /// Packed on the node for the wire. Meant for what a busy node prints by tens of kilobytes: below about 10 KB the
    /// packer's two processes cost more time than even a link of 10 Mbit/s saves, and a sick node feels them.
    pub compress: bool,
    /// Exit statuses that count as success.
    pub ok_exit: Vec<i32>,
    /// Stacks are taken when it hits its bound.
    pub stacks_on_timeout: bool,
    /// Costs the node something: one at a time, left out when memory is short.
    pub heavy: bool,
    /// The change that yields it; then it has no ways.
    pub made_by: Option<MadeBy>,
    /// Ways to do it; the first the node allows is taken.
    pub ways: Vec<Way>,
    /// Where it was written.
    pub origin: Origin,
}

const STEP_KEYS: [&str; 16] = [
    "id",
    "file",
    "about",
    "phase",
    "volatility",
    "profiles",
    "timeout",
    "grace",
    "max-bytes",
    "privileged",
    "requires",
    "compress",
    "ok-exit",
    "stacks-on-timeout",
    "heavy",
    "made-by",
];
/// Areas whose files the program itself writes.
const RESERVED_AREAS: [&str; 3] = ["node", "cluster", "meta"];

impl StepSpec {
    /// Reads one `[[step]]` table. `script` looks up built-in scripts by name; a user's step may not name one.
    pub(crate) fn read(
        table: toml::Table,
        origin: Origin,
        script: &dyn Fn(&str) -> Option<&'static str>,
    ) -> Result<Self, CatalogError> {
        let name = table.get("id").and_then(toml::Value::as_str).unwrap_or("without id");
        let name: String = name.chars().take(100).collect();
        read_step(table, origin.clone(), script).map_err(|problem| CatalogError { step: name, origin, problem })
    }
}

fn read_step(
    table: toml::Table,
    origin: Origin,
    script: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<StepSpec, String> {
    let builtin = matches!(origin, Origin::Builtin(_));
    let mut keys = Keys::new(table, "");
    keys.refuse_unknown(&[&STEP_KEYS[..], &["try"][..]].concat())?;
    let id: StepId = keys.text("id")?.ok_or("key `id` is missing")?.parse().map_err(|e| format!("key `id`: {e}"))?;
    if RESERVED_AREAS.contains(&id.area()) {
        return Err(format!("key `id`: the area {:?} is kept for the program's own files", id.area()));
    }
    let file = keys.text("file")?.unwrap_or_else(|| format!("{id}.txt"));
    check_file(&file, id.area())?;
    let about = keys.text("about")?.ok_or("key `about` is missing: say in a line what it is read for")?;
    if about.is_empty() || about.len() > 300 || about.contains(char::is_control) {
        return Err("key `about` must be one line of 1 to 300 bytes".to_owned());
    }
    let phase = keys.choice(
        "phase",
        &[("before", Phase::Before), ("during", Phase::During), ("after", Phase::After)],
        Phase::Before,
    )?;
    let volatility = keys.choice(
        "volatility",
        &[
            ("state", Volatility::State),
            ("counters", Volatility::Counters),
            ("config", Volatility::Config),
            ("logs", Volatility::Logs),
        ],
        Volatility::default(),
    )?;
    let profiles = match keys.texts("profiles")? {
        None => vec![Profile::Incident, Profile::Snapshot],
        Some(names) if names.is_empty() => return Err("key `profiles` is empty: the step would never run".to_owned()),
        Some(names) => names
            .iter()
            .map(|n| keys::one_of("profiles", n, &[("incident", Profile::Incident), ("snapshot", Profile::Snapshot)]))
            .collect::<Result<_, _>>()?,
    };
    let bounds = Bounds {
        timeout: keys.duration("timeout", Duration::from_secs(5), Duration::from_secs(1)..=Duration::from_secs(600))?,
        grace: keys.duration("grace", Duration::from_secs(2), Duration::from_millis(100)..=Duration::from_secs(60))?,
        max_bytes: keys.size("max-bytes", 8_000_000, 1..=1 << 40)?,
    };
    let ok_exit = keys.statuses("ok-exit")?;
    let requires = keys.capabilities()?;
    let privileged = keys.flag("privileged")?;
    let compress = keys.flag("compress")?;
    let stacks_on_timeout = keys.flag("stacks-on-timeout")?;
    let heavy = keys.flag("heavy")?;
    let made_by = match keys.take("made-by") {
        None => None,
        Some(_) if !builtin => {
            return Err("key `made-by` is for built-in steps: say in [[step.try]] what to run".to_owned());
        }
        Some(value) => Some(keys::one_of(
            "made-by",
            value.as_str().unwrap_or_default(),
            &[
                ("dockerd-debug", MadeBy::DockerdDebug),
                ("stack-dump", MadeBy::StackDump),
                ("shim-stack-dump", MadeBy::ShimStackDump),
                ("kubelet-verbosity", MadeBy::KubeletVerbosity),
            ],
        )?),
    };
    let tries = match keys.take("try") {
        None if made_by.is_some() => Vec::new(),
        Some(_) if made_by.is_some() => return Err("`made-by` and [[step.try]] exclude each other".to_owned()),
        Some(toml::Value::Array(tries)) if !tries.is_empty() && tries.len() <= 10 => tries,
        Some(_) => return Err("key `try` must be 1 to 10 tables: [[step.try]]".to_owned()),
        None => return Err("there is no [[step.try]]: nothing says what to run".to_owned()),
    };
    let ways = tries.into_iter().map(|t| read_way(t, builtin, script)).collect::<Result<_, _>>()?;
    Ok(StepSpec {
        id,
        file,
        about,
        phase,
        volatility,
        profiles,
        bounds,
        privileged,
        requires,
        compress,
        ok_exit,
        stacks_on_timeout,
        heavy,
        made_by,
        ways,
        origin,
    })
}

fn check_file(file: &str, area: &str) -> Result<(), String> {
    let part_ok = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let inside = file.strip_prefix(area).is_some_and(|rest| rest.starts_with('/'));
    if file.len() <= 150 && inside && file.split('/').all(part_ok) {
        Ok(())
    } else {
        Err(format!("key `file`: {file:?} must be a relative path below {area}/ of letters, digits, '-', '_' and '.'"))
    }
}
