//! The form of a step in TOML: one table read into a [`StepSpec`], the same for the built-in catalog and
//! for `[[step]]` in an inventory. Knows nothing of nodes. Used by `catalog.rs`.

use std::time::Duration;

use super::capability::Capability;
use super::changes::MadeBy;
use super::keys::{self, Keys};
use super::placeholder::{self, Template};
use super::step::{Bounds, Phase, StepId};

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

/// One way to do a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is run.
    pub how: How,
    /// Tools it needs, the program itself included.
    pub needs: Vec<String>,
    /// The program must not be busybox's, whose options differ.
    pub not_busybox: bool,
    /// Conditions of the node.
    pub requires: Vec<Capability>,
    /// Paths that must be readable.
    pub files: Vec<String>,
    /// Paths of which one at least must be readable, if there are any.
    pub any_file: Vec<String>,
}

/// What a way runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A program and its arguments.
    Argv(Vec<Template>),
    /// A shell script and its arguments.
    Script {
        /// Its text.
        text: String,
        /// Name of the built-in script; `None` for a user's own.
        name: Option<String>,
        /// `$1`, `$2`, …
        args: Vec<Template>,
    },
    /// Files are printed.
    Read(Vec<Template>),
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
const TRY_KEYS: [&str; 9] =
    ["argv", "script", "script-file", "read", "args", "needs", "not-busybox", "requires", "files"];

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

fn read_way(value: toml::Value, builtin: bool, script: &dyn Fn(&str) -> Option<&'static str>) -> Result<Way, String> {
    let toml::Value::Table(table) = value else { return Err("key `try` must hold tables: [[step.try]]".to_owned()) };
    let mut keys = Keys::new(table, "try.");
    keys.refuse_unknown(&TRY_KEYS)?;
    let argv = keys.templates("argv")?;
    let own = keys.text("script")?;
    let named = keys.take("script-file");
    let read = keys.templates("read")?;
    let args = keys.templates("args")?;
    let mut needs = keys.texts("needs")?.unwrap_or_default();
    if let Some(bad) = needs.iter().find(|n| !is_tool_name(n)) {
        return Err(format!("key `try.needs`: {bad:?} is not the name of a program"));
    }
    let files = keys.texts("files")?.unwrap_or_default();
    if let Some(bad) = files.iter().find(|f| !placeholder::is_sound_path(f)) {
        return Err(format!("key `try.files`: {bad:?} is not an absolute path without '..'"));
    }
    let requires = keys.capabilities()?;
    let not_busybox = keys.flag("not-busybox")?;
    let has_args = args.is_some();
    let how = match (argv, own, named, read) {
        (Some(argv), None, None, None) if !has_args => {
            let program = argv.first().and_then(Template::literal).unwrap_or_default();
            // A path is taken as it stands; a bare name is looked for on the node.
            if is_tool_name(program) {
                needs.insert(0, program.to_owned());
            } else if !placeholder::is_sound_path(program) {
                return Err("key `try.argv` must begin with the name or absolute path of a program".to_owned());
            }
            How::Argv(argv)
        }
        (None, Some(text), None, None) => {
            if text.len() > 60_000 || text.contains('\0') || text.trim().is_empty() {
                return Err("key `try.script` must be text of 1 to 60,000 bytes".to_owned());
            }
            if let Some(name) = placeholder::NAMES.into_iter().find(|n| text.contains(&format!("{{{n}}}"))) {
                return Err(format!(
                    "key `try.script` holds {{{name}}}, which is not replaced in a script: put it into `args` and use \"$1\""
                ));
            }
            How::Script { text, name: None, args: args.unwrap_or_default() }
        }
        (None, None, Some(named), None) if builtin => {
            let names: Vec<String> = match named {
                toml::Value::String(name) => vec![name],
                other => other.try_into().map_err(|_| "key `try.script-file` must be a name or names".to_owned())?,
            };
            let mut text = String::new();
            for name in &names {
                text.push_str(script(name).ok_or_else(|| format!("key `try.script-file`: there is no {name:?}"))?);
            }
            How::Script { text, name: names.last().cloned(), args: args.unwrap_or_default() }
        }
        (None, None, Some(_), None) => {
            return Err("key `try.script-file` is for built-in steps: use `script` and write it out".to_owned());
        }
        (None, None, None, Some(read)) if !has_args && !read.is_empty() => {
            if let Some(bad) = read.iter().find(|t| !t.source().starts_with('/') && t.literal().is_some()) {
                return Err(format!("key `try.read`: {:?} is not an absolute path", bad.source()));
            }
            needs.push("cat".to_owned());
            How::Read(read)
        }
        _ => {
            return Err(
                "a [[step.try]] needs exactly one of `argv`, `script` (with `args` if wanted) and `read`".to_owned()
            );
        }
    };
    Ok(Way { how, needs, not_busybox, requires, files, any_file: Vec::new() })
}

/// A program's bare name, which can be looked for on the node.
pub(crate) fn is_tool_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
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
