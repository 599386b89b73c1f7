//! The checks before dockerd's debug is switched on (P1 to P18 and P20; P19 is about stacks): what is seen on the node
//! is collected by two read-only scripts and judged here, each check by itself. Nothing is changed. The window calls
//! [`examine`] and goes on only with [`PreflightOutcome::Ready`].

mod checks;
pub mod daemon_json;
mod file_checks;
pub mod flags;
mod info;
mod node_checks;
mod outcome;
#[cfg(test)]
mod script_tests;
mod seen;
#[cfg(test)]
mod tests;
mod version;

use std::time::Duration;

pub use daemon_json::{ConfigError, DaemonJson};
pub use info::{Info, kept_by_reload};
pub use outcome::{Examined, Leftover, Owner, PreflightOutcome};

pub use version::Version;

use self::checks::Case;
use self::outcome::Lock;
use self::seen::Seen;
use super::{Check, Client, DebugTarget, Edit, FileState, Process, Script, Shell, Verdict};
use crate::evidence::ChangeState;
use crate::plan::facts::{Daemon, Rights};
use crate::plan::placeholder::{is_sound_path, is_unit_name};
use crate::plan::{ChangePolicy, Encoding, NodeFacts};
use crate::printable::printable;

/// A configuration file larger than this is nobody's daemon.json.
const MOST_CONFIG: usize = 256 << 10;
const DEFAULT_CONFIG: &str = "/etc/docker/daemon.json";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

const READ_CONFIG: Script =
    Script { name: "read-config", text: include_str!("../scripts/read-config.sh"), timeout: Duration::from_secs(15) };
/// Its parts are bounded one by one; this is more than their sum where most of them hang.
const PREFLIGHT: Script =
    Script { name: "preflight", text: include_str!("../scripts/preflight.sh"), timeout: Duration::from_secs(120) };

/// The configuration file, as read.
#[derive(Debug, Clone, PartialEq)]
enum ConfigFile {
    Read {
        parsed: Box<DaemonJson>,
        sha256: String,
        on: Edit,
        off: Edit,
    },
    /// It is not there; whether dockerd was told its path.
    Missing(bool),
    /// What is wrong with it, a clause that follows its name.
    Bad(String),
}

/// Makes all checks before dockerd's debug is switched on. Reads only.
///
/// # Cancel safety
/// Dropped early, a script may go on on the node for its bound; it changes nothing.
pub async fn examine(shell: &dyn Shell, facts: &NodeFacts, policy: &ChangePolicy) -> Examined {
    let Some(daemon) = &facts.dockerd else {
        return alone(ChangeState::Skipped, verdict("P1", Verdict::Skip, "the node has no dockerd"));
    };
    if facts.shell.rights == Rights::None {
        let text = "switching debug needs root's rights on the node, and neither root nor sudo is available";
        return alone(ChangeState::Refused, refuse("P1", text));
    }
    let Some(pid) = daemon.pid else {
        let text = daemon.stopped("dockerd").unwrap_or_else(|| "dockerd does not run".to_owned());
        return alone(ChangeState::Refused, refuse("P1", printable(&text, 200)));
    };
    let flags = flags::flags(&daemon.cmdline);
    let given = flags::value(&flags, "config-file");
    let config = given.unwrap_or(DEFAULT_CONFIG);
    let kernel = ["/dev/", "/proc/", "/sys/"].iter().any(|dir| config.starts_with(dir));
    if !is_sound_path(config) || kernel || config.contains(char::is_whitespace) || config.ends_with('/') {
        let text = format!("the configuration file's path {:?} is not one that can be swapped safely", shown(config));
        return alone(ChangeState::Refused, refuse("P13", text));
    }
    let file = match read_config(shell, config, given.is_some()).await {
        Ok(file) => file,
        Err(text) => return alone(ChangeState::Refused, refuse("P10", text)),
    };
    let unit = daemon.unit.as_deref().filter(|unit| is_unit_name(unit)).unwrap_or_default();
    let mut args = vec![pid.to_string(), unit.to_owned(), config.to_owned()];
    args.extend(match file.edits() {
        Some((on, _)) => [on.at.to_string(), on.delete.to_string(), on.insert],
        None => [String::new(), String::new(), String::new()],
    });
    args.extend(questions(&flags, &file));
    let answer = match shell.run(&PREFLIGHT, &args, Encoding::Plain, None).await {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("the checks gave no answer: {error}");
            return alone(ChangeState::Refused, refuse("P1", printable(&text, 400)));
        }
    };
    let Some(seen) = Seen::read(&answer.text()).filter(|seen| seen.ended) else {
        return alone(ChangeState::Refused, refuse("P1", "the checks on the node did not come to their end"));
    };
    // One answer may be luck: both count, and the later one is looked at.
    let [first, second] =
        ["info.1", "info.2"].map(|key| seen.answer(key).filter(|a| a.status == 0).and_then(|a| Info::read(a.text)));
    let info = first.and(second);
    judge(&Subject { daemon, facts, policy, flags: &flags, config, file, seen, info })
}

/// All that was found out.
struct Subject<'a> {
    daemon: &'a Daemon,
    facts: &'a NodeFacts,
    policy: &'a ChangePolicy,
    flags: &'a [flags::Flag],
    config: &'a str,
    file: ConfigFile,
    seen: Seen,
    info: Option<Info>,
}

/// Judges what was seen.
fn judge(subject: &Subject<'_>) -> Examined {
    let case = Case {
        daemon: subject.daemon,
        ticks: subject.facts.ticks_per_second.unwrap_or(100),
        flags: subject.flags,
        config: subject.config,
        file: &subject.file,
        seen: &subject.seen,
        info: subject.info.as_ref(),
        policy: subject.policy,
        systemd: subject.facts.systemd_version,
    };
    let lock = node_checks::lock(&subject.seen);
    let mut checks = checks::checks(&case);
    checks.extend(file_checks::checks(&case));
    checks.extend(node_checks::checks(&case, &lock));
    checks.sort_by_key(|check| check.id.get(1..).and_then(|n| n.parse::<u32>().ok()).unwrap_or(u32::MAX));
    let of = |verdict: Verdict| checks.iter().filter(move |check| check.verdict == verdict);
    let warnings = of(Verdict::Warn).map(|check| check.text.clone()).collect();
    let not = |state, check: &Check| PreflightOutcome::Not { state, text: check.text.clone() };
    // A window that is open makes debug look on: who holds the lock comes before all the rest.
    let refused = of(Verdict::Refuse).next();
    let skipped = of(Verdict::Skip).next();
    let environment = of(Verdict::Refuse).find(|check| check.id == "P7");
    let outcome = match (lock, leftover(subject)) {
        (Lock::Busy(owner), _) => PreflightOutcome::Busy(owner),
        (Lock::Stale(owner), _) => PreflightOutcome::Stale(owner),
        (Lock::Free, Some(leftover)) => PreflightOutcome::Leftover(Box::new(leftover)),
        (Lock::Free, None) => match (environment, skipped, refused) {
            (Some(check), ..) | (None, None, Some(check)) => not(ChangeState::Refused, check),
            (None, Some(check), _) => not(ChangeState::Skipped, check),
            (None, None, None) => match target(subject) {
                Some(target) => PreflightOutcome::Ready(Box::new(target)),
                None => PreflightOutcome::Not {
                    state: ChangeState::Refused,
                    text: "the checks told too little of dockerd and its configuration file".to_owned(),
                },
            },
        },
    };
    Examined { outcome, checks, warnings }
}

impl ConfigFile {
    /// Returns the edits that switch debug on and off.
    fn edits(&self) -> Option<(Edit, Edit)> {
        match self {
            Self::Read { on, off, .. } => Some((on.clone(), off.clone())),
            Self::Missing(_) => {
                let nothing = DaemonJson::read(None).ok()?;
                Some((nothing.edit(true).ok()?, nothing.edit(false).ok()?))
            }
            Self::Bad(_) => None,
        }
    }
}

/// Reads the configuration file. The error is one sentence.
async fn read_config(shell: &dyn Shell, config: &str, given: bool) -> Result<ConfigFile, String> {
    let args = [config.to_owned(), MOST_CONFIG.to_string()];
    let answer = shell.run(&READ_CONFIG, &args, Encoding::Plain, None).await;
    let answer = answer.map_err(|error| printable(&format!("{config} could not be read: {error}"), 400))?;
    let bad = |why: &str| Ok(ConfigFile::Bad(why.to_owned()));
    match answer.status {
        0 => {}
        3 => return Ok(ConfigFile::Missing(given)),
        4 => return bad("is larger than 256 KiB"),
        5 => return bad("is not a regular file, or a link that leads nowhere"),
        _ => return bad("could not be read within 5 s"),
    }
    let read = DaemonJson::read(Some(&answer.out)).and_then(|parsed| {
        let (on, off) = (parsed.edit(true)?, parsed.edit(false)?);
        Ok(ConfigFile::Read { parsed: Box::new(parsed), sha256: daemon_json::sha256(&answer.out), on, off })
    });
    Ok(read.unwrap_or_else(|error| ConfigFile::Bad(error.to_string())))
}

/// Returns what the script is to look for: sockets and plugins.
fn questions(flags: &[flags::Flag], file: &ConfigFile) -> Vec<String> {
    let list = |key: &str| match file {
        ConfigFile::Read { parsed, .. } => parsed.keys.get(key).map(info::texts).unwrap_or_default(),
        ConfigFile::Missing(_) | ConfigFile::Bad(_) => Vec::new(),
    };
    let mut hosts: Vec<String> = flags.iter().filter(|f| f.name == "host").map(|f| f.value.clone()).collect();
    if hosts.is_empty() {
        hosts = list("hosts");
    }
    if hosts.is_empty() {
        hosts.push(format!("unix://{DEFAULT_SOCKET}"));
    }
    let socket = |host: &String| {
        let path = host.trim().strip_prefix("unix://");
        let path = path.map(|path| if path.is_empty() { DEFAULT_SOCKET } else { path });
        match path {
            // The socket goes into commands on the node.
            Some(path) => (is_sound_path(path) && !path.contains(char::is_whitespace)).then(|| format!("unix={path}")),
            None => host.trim().starts_with("fd://").then(|| "fd".to_owned()),
        }
    };
    let plain = |name: &String| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"_./:@-".contains(&b))
            && !name.contains("..")
            && name.len() <= 200
    };
    let plugins = list("authorization-plugins").into_iter().filter(plain).map(|name| format!("plugin={name}"));
    hosts.iter().filter_map(socket).take(16).chain(plugins.take(32)).collect()
}

fn process(subject: &Subject<'_>) -> Option<Process> {
    Some(Process {
        pid: subject.daemon.pid?,
        start_ticks: subject.seen.number("proc.start")?,
        exe: subject.seen.get("proc.exe")?.to_owned(),
        unit: subject.daemon.unit.clone(),
    })
}

fn client(seen: &Seen) -> Option<Client> {
    let path = |key| seen.get(key).filter(|path| is_sound_path(path)).map(ToOwned::to_owned);
    match seen.get("client")? {
        "docker" => path("docker").map(Client::Docker),
        _ => path("curl").map(Client::Curl),
    }
}

fn leftover(subject: &Subject<'_>) -> Option<Leftover> {
    let there = |name: &str| subject.seen.all("leftover").iter().any(|l| l == name);
    let (orig, new) = (there("plegcollect-orig"), there("plegcollect-new"));
    (orig || new).then(|| Leftover {
        config: subject.config.to_owned(),
        orig,
        new,
        process: process(subject),
        socket: subject.seen.get("socket").map(ToOwned::to_owned),
        client: client(&subject.seen),
    })
}

fn target(subject: &Subject<'_>) -> Option<DebugTarget> {
    let seen = &subject.seen;
    let info = subject.info.as_ref()?;
    let (on, off) = subject.file.edits()?;
    let text = |key: &str| seen.get(key).map(ToOwned::to_owned);
    let file = match &subject.file {
        ConfigFile::Read { sha256, .. } => Some(FileState {
            sha256: sha256.clone(),
            size: seen.number("file.size")?,
            inode: text("file.inode")?,
            mtime: text("file.mtime")?,
            owner: text("file.owner")?,
            mode: text("file.mode")?,
            label: text("file.label").filter(|label| label != "?"),
        }),
        ConfigFile::Missing(_) | ConfigFile::Bad(_) => None,
    };
    Some(DebugTarget {
        process: process(subject)?,
        config: subject.config.to_owned(),
        file,
        on,
        off,
        socket: text("socket")?,
        client: client(seen)?,
        info: info.kept_by_reload(),
        version: info.version().to_owned(),
    })
}

fn alone(state: ChangeState, check: Check) -> Examined {
    let outcome = PreflightOutcome::Not { state, text: check.text.clone() };
    Examined { outcome, checks: vec![check], warnings: Vec::new() }
}

/// Text of a node, for a sentence.
fn shown(text: &str) -> String {
    printable(text, 200)
}

fn verdict(id: &str, verdict: Verdict, text: impl Into<String>) -> Check {
    Check { id: id.to_owned(), verdict, text: text.into() }
}

fn pass(id: &str, text: impl Into<String>) -> Check {
    verdict(id, Verdict::Pass, text)
}

fn refuse(id: &str, text: impl Into<String>) -> Check {
    verdict(id, Verdict::Refuse, text)
}
