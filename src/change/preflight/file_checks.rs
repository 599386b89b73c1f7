//! The checks of dockerd's configuration file (P9 to P11, P13 to P15): can it be read, swapped and put back, and does
//! it hold what dockerd runs with. Pure decisions over what was seen; none quotes a value of the file.

use serde_json::Value;

use super::checks::Case;
use super::info::texts;
use super::seen::{Properties, Seen, clock, property};
use super::version::Version;
use super::{ConfigFile, pass, refuse, shown, verdict};
use crate::change::{Check, Verdict};

/// Least free space beside the file and in /run, KiB.
const LEAST_FREE_KIB: u64 = 64;
/// How much earlier than its time stamp a file may have been read: the start of a process is known to a second, and
/// dockerd reads the file some milliseconds later.
const START_TOLERANCE_S: u64 = 2;

/// Returns the checks P9 to P11 and P13 to P15, those that can be made.
pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let all = [p9(case), Some(p10(case)), p11(case), Some(p13(case)), Some(p14(case)), Some(p15(case))];
    all.into_iter().flatten().collect()
}

fn p9(case: &Case<'_>) -> Option<Check> {
    let ConfigFile::Read { .. } = case.file else { return None };
    Some(match case.key("log-level") {
        None => pass("P9", "log-level is not set"),
        Some(Value::String(level)) if level == "info" => pass("P9", "log-level is info"),
        Some(Value::String(level)) => refuse(
            "P9",
            format!(
                "log-level is {:?} in {}: after debug it would be \"info\" until the next restart",
                shown(level),
                case.config
            ),
        ),
        Some(_) => refuse("P9", format!("log-level in {} is no string", case.config)),
    })
}

fn p10(case: &Case<'_>) -> Check {
    let file = case.config;
    let parsed = match case.file {
        ConfigFile::Bad(why) => return refuse("P10", format!("{file} {why}")),
        ConfigFile::Missing(_) => return pass("P10", format!("{file} is not there: dockerd runs with defaults")),
        ConfigFile::Read { parsed, .. } => parsed,
    };
    if parsed.blank && case.version().is_none_or(|v| v < Version(23, 0)) {
        return refuse("P10", format!("{file} is empty: docker before 23.0 does not read it"));
    }
    if parsed.debug() == Some(true) && case.info.is_some_and(|info| !info.debug()) {
        return refuse(
            "P10",
            format!(
                "{file} has \"debug\": true, which dockerd has not loaded: a SIGHUP would switch debug on for good"
            ),
        );
    }
    if case.key("runtimes").is_some_and(|r| !r.is_object()) {
        return refuse(
            "P10",
            format!("{file} has \"runtimes\" that is not an object: a SIGHUP would kill docker 24 and earlier"),
        );
    }
    match case.key("authorization-plugins") {
        None | Some(Value::Null) => {}
        Some(list @ Value::Array(items)) => {
            let names = texts(list);
            if names.len() != items.len() {
                return refuse("P10", format!("{file} has \"authorization-plugins\" that are not names"));
            }
            if let Some(name) = names.iter().find(|name| !resolves(case.seen, name)) {
                return refuse(
                    "P10",
                    format!(
                        "{file} names the authorization plugin {:?}, which is not to be found on the node: a SIGHUP \
                         would kill dockerd after 15 s",
                        shown(name)
                    ),
                );
            }
        }
        Some(_) => return refuse("P10", format!("{file} has \"authorization-plugins\" that is not a list")),
    }
    match (case.seen.get("validate"), case.version()) {
        (Some("0"), _) => pass("P10", format!("{file} can be edited, and dockerd --validate accepts the result")),
        (Some("none") | None, Some(v)) if v < Version(23, 0) => pass("P10", format!("{file} can be edited")),
        (Some("none" | "124" | "137") | None, _) => verdict(
            "P10",
            Verdict::Warn,
            format!("{file} can be edited; dockerd --validate could not be asked about the result"),
        ),
        (Some(_), _) => refuse(
            "P10",
            format!(
                "dockerd --validate rejects {file} with debug set: run dockerd --validate --config-file={file} on \
                 the node to see why"
            ),
        ),
    }
}

/// Returns whether an authorization plugin is to be found, where dockerd looks for it.
fn resolves(seen: &Seen, name: &str) -> bool {
    let latest = format!("{name}:latest");
    seen.all("plugin.managed").iter().any(|p| p == name || *p == latest)
        || seen.all("plugin.found").iter().any(|p| p == name)
}

fn p11(case: &Case<'_>) -> Option<Check> {
    let info = case.info?;
    let file = case.config;
    let parsed = match case.file {
        ConfigFile::Read { parsed, .. } => parsed,
        ConfigFile::Missing(true) => {
            return Some(refuse(
                "P11",
                format!("{file}, which dockerd was started with, is gone: a SIGHUP would activate that"),
            ));
        }
        ConfigFile::Missing(false) => return Some(pass("P11", "there is no file with changes")),
        ConfigFile::Bad(_) => return None,
    };
    let keys = info.not_loaded(&parsed.keys);
    if !keys.is_empty() {
        return Some(refuse(
            "P11",
            format!(
                "{file} has changes that dockerd has not loaded ({}): a SIGHUP would activate them",
                keys.join(", ")
            ),
        ));
    }
    let (Some(changed), Some((started, _))) = (case.seen.number("file.changed"), case.seen.started(case.ticks)) else {
        return Some(refuse("P11", format!("whether dockerd has loaded {file} cannot be told: its time is not known")));
    };
    if changed <= started + START_TOLERANCE_S {
        return Some(pass("P11", format!("{file} is older than the process")));
    }
    let event = case.seen.number("reload.event");
    // 28.0 and later write the line after a failed reload too, and nobody before 18.02 writes it.
    let trusted = case.version().is_some_and(|v| v >= Version(18, 2) && v < Version(28, 0));
    let journal = case.seen.number("reload.journal").filter(|_| trusted);
    match event.max(journal) {
        Some(reload) if changed <= reload => Some(pass("P11", format!("{file} was loaded at {}", clock(reload)))),
        _ => Some(refuse(
            "P11",
            format!(
                "{file} was changed at {}, after dockerd had loaded it: a SIGHUP would activate what is pending; \
                 reload dockerd first if the file is right",
                clock(changed)
            ),
        )),
    }
}

fn p13(case: &Case<'_>) -> Check {
    let file = case.config;
    let seen = case.seen;
    match seen.get("namespace") {
        Some("same" | "alike") => {}
        Some(_) => {
            return refuse("P13", format!("dockerd sees another {file} than the node does (another mount namespace)"));
        }
        None => return refuse("P13", "dockerd's view of the file system cannot be seen"),
    }
    if seen.get("dir.exists") != Some("1") {
        return refuse("P13", format!("the directory of {file} does not exist"));
    }
    if seen.get("file.mount").is_some() {
        return refuse("P13", format!("{file} is a mount of its own: it cannot be swapped and put back"));
    }
    if seen.get("dir.writable") != Some("1") {
        return refuse("P13", format!("{file} is on a read-only file system"));
    }
    let fixed = |key: &str| seen.get(key).is_some_and(|a| a.contains(['i', 'a']));
    if fixed("file.attributes") {
        return refuse("P13", format!("{file} is immutable (lsattr shows i or a): somebody wants it left alone"));
    }
    if fixed("dir.attributes") {
        return refuse("P13", format!("the directory of {file} is immutable (lsattr shows i or a)"));
    }
    let there = seen.get("file.inode").is_some();
    match case.file {
        ConfigFile::Read { sha256, .. } if seen.get("file.sha256") != Some(sha256.as_str()) => {
            return refuse("P13", format!("{file} changed while it was being looked at"));
        }
        ConfigFile::Missing(_) if there => {
            return refuse("P13", format!("{file} appeared while it was being looked for"));
        }
        _ => {}
    }
    for (key, place) in [("dir.free", "beside it"), ("run.free", "in /run")] {
        match seen.number(key) {
            Some(free) if free < LEAST_FREE_KIB => {
                return refuse("P13", format!("{file} cannot be swapped: only {free} KiB are free {place}"));
            }
            Some(_) => {}
            None => {
                return refuse("P13", format!("{file} cannot be swapped safely: free space {place} cannot be told"));
            }
        }
    }
    match seen.get("file.target") {
        Some(target) => {
            pass("P13", format!("{file} is a symbolic link to {}, and can be swapped and put back", shown(target)))
        }
        None => pass("P13", format!("{file} can be swapped and put back")),
    }
}

fn p14(case: &Case<'_>) -> Check {
    let Some(units) = &case.seen.paths else {
        return refuse("P14", format!("systemd does not say within 5 s whether a .path unit watches {}", case.config));
    };
    let directory =
        |path: &str| path.rsplit_once('/').map(|(dir, _)| if dir.is_empty() { "/" } else { dir }.to_owned());
    let mut names: Vec<String> = vec![case.config.to_owned()];
    names.extend(case.seen.get("file.target").map(ToOwned::to_owned));
    let directories: Vec<String> = names.iter().filter_map(|name| directory(name)).collect();
    let watches = |unit: &Properties| {
        unit.iter().any(|(key, value)| {
            let path = match key.as_str() {
                "Paths" => value.rsplit_once(" (").map_or(value.as_str(), |(path, _)| path),
                // Before systemd 230 or so the property was named after the kind of watch.
                "PathExists" | "PathExistsGlob" | "PathChanged" | "PathModified" | "DirectoryNotEmpty" => value,
                _ => return false,
            };
            let path = path.trim_end_matches('/');
            let globbed =
                path.contains(['*', '?', '[']) && directory(path).is_some_and(|dir| directories.contains(&dir));
            globbed || names.iter().chain(&directories).any(|name| name == path)
        })
    };
    let active = |unit: &&Properties| !matches!(property(unit, "ActiveState"), Some("inactive" | "failed"));
    match units.iter().filter(active).find(|unit| watches(unit)) {
        Some(unit) => {
            let name = shown(property(unit, "Id").unwrap_or("a .path unit"));
            refuse("P14", format!("{name} watches {} and would act on the change", case.config))
        }
        None => pass("P14", format!("no .path unit watches {}", case.config)),
    }
}

fn p15(case: &Case<'_>) -> Check {
    let left = case.seen.all("leftover");
    if left.is_empty() {
        return pass("P15", "nothing is left of an earlier window");
    }
    let names: Vec<String> = left.iter().map(|name| format!("{}.{}", case.config, shown(name))).collect();
    refuse("P15", format!("{} is left of an earlier window: run plegcollect revert first", names.join(" and ")))
}
