//! Judges whether a node is as it was before the window, from what was looked at. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{GuardState, Look, Operator, Standing};
use crate::change::preflight::kept_by_reload;
use crate::change::{ChangeRecord, DebugTarget};
use crate::evidence::ChangeState;
use crate::printable::printable;

/// What of a file must be the same.
const FILE: &[&str] = &["sha256", "size", "inode", "mtime", "owner", "mode", "label"];

/// Returns the state before the change, by name.
pub(super) fn before(target: &DebugTarget) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(map.insert(name.to_owned(), value));
    set("debug", "false".to_owned());
    set("pid", target.process.pid.to_string());
    set("start", target.process.start_ticks.to_string());
    set("exe", target.process.exe.clone());
    match &target.file {
        None => set("file", "none".to_owned()),
        Some(file) => {
            set("sha256", file.sha256.clone());
            set("size", file.size.to_string());
            set("inode", file.inode.clone());
            set("mtime", file.mtime.clone());
            set("owner", file.owner.clone());
            set("mode", file.mode.clone());
            if let Some(label) = &file.label {
                set("label", label.clone());
            }
        }
    }
    map
}

fn after(look: &Look) -> BTreeMap<String, String> {
    let mut map = look.facts.clone();
    if let Some(debug) = look.debug() {
        map.insert("debug".to_owned(), debug.to_string());
    }
    map
}

/// Fills in the end of the record.
pub(super) fn judge(
    record: &mut ChangeRecord,
    target: &DebugTarget,
    operator: &Operator,
    standing: &Standing,
    look: &Look,
    early: Option<&str>,
) {
    let config = &target.config;
    record.after = after(look);
    let touched = standing.state != GuardState::Refused;
    // What is not as it was and is ours to mend; what somebody else did is a warning.
    let mut wrong = Vec::new();
    let mut foreign = false;
    let sha = look.fact("sha256").unwrap_or_default();
    let was = target.file.as_ref().map_or("", |f| f.sha256.as_str());
    let reload_text = sha != was && (sha == target.on.sha256 || sha == target.off.sha256);
    // Somebody else may have arrived at the very same text, and then the guard has said so.
    if reload_text && standing.state != GuardState::DoneForeign {
        wrong.push(format!("{config} holds the text that was there for the reload"));
    } else {
        for name in FILE {
            let (was, is) = (record.before.get(*name), record.after.get(*name));
            if was != is {
                foreign = true;
                let show = |v: Option<&String>| v.map_or("none", String::as_str).to_owned();
                record.differences.push(format!("{config}: {name} was {}, is {}", show(was), show(is)));
            }
        }
    }
    if foreign {
        record.warnings.push(format!("somebody else changed {config} during the window; it was left as they made it"));
    }
    wrong.extend(look.left.iter().map(|name| format!("{name} is left")));
    if let (Some(dir), None) = (look.fact("dir"), &standing.saved)
        && standing.state.is_final()
    {
        wrong.push(format!("{dir} is left"));
    }
    if let Some(saved) = &standing.saved {
        record.warnings.push(format!("{saved} is what {config} was before somebody replaced it during the reload"));
    }
    // One that has died and was not waited for still has its start time.
    let restarted = standing.state == GuardState::DoneRestarted
        || look.fact("start") != Some(target.process.start_ticks.to_string().as_str());
    match (look.debug(), standing.state) {
        (_, GuardState::DoneForeign) if standing.saved.is_some() => {
            wrong.push(format!(
                "{config} was edited while the text for the reload was there: its \"debug\" may be ours"
            ));
        }
        (Some(true), GuardState::DoneForeign) => {
            record.warnings.push("somebody else switched dockerd's debug on during the window: it was left on".into());
        }
        (Some(true), _) => wrong.push("dockerd's debug is on".to_owned()),
        (Some(false), _) => {}
        // The guard has seen it.
        (None, GuardState::Done | GuardState::DoneRestarted | GuardState::Refused) => {
            record.warnings.push("dockerd did not answer the last question whether debug is off".into());
        }
        (None, _) => wrong.push("dockerd does not answer whether debug is off".to_owned()),
    }
    if let (Some(info), false) = (&look.info, restarted) {
        let now = kept_by_reload(info);
        for (name, was) in &target.info {
            let is = now.get(name).cloned().unwrap_or_default();
            if is != *was {
                let text = format!("dockerd's {name} was {was}, is {is}");
                if foreign { record.warnings.push(printable(&text, 400)) } else { wrong.push(printable(&text, 400)) }
            }
        }
    }
    if !standing.state.is_final() {
        wrong.push("the guard is still at work".to_owned());
    }
    if touched {
        remains(record, target);
    }
    conclude(record, operator, standing, wrong, restarted, early);
}

/// What cannot be put back and was accepted.
fn remains(record: &mut ChangeRecord, target: &DebugTarget) {
    let dir = target.config.rsplit_once('/').map_or("/", |(dir, _)| dir);
    record.remains = vec![
        format!("ctime of {} and mtime of {dir} are those of the reload", target.config),
        "dockerd's environment holds an empty DEBUG= until its next start".to_owned(),
        "the debug lines are in the node's journal and wherever it is shipped to".to_owned(),
    ];
}

fn conclude(
    record: &mut ChangeRecord,
    operator: &Operator,
    standing: &Standing,
    wrong: Vec<String>,
    restarted: bool,
    early: Option<&str>,
) {
    let early = early.map(|why| format!("{why}; ")).unwrap_or_default();
    if !wrong.is_empty() {
        let last = standing.log.last().map(|l| format!(" (guard: {l})")).unwrap_or_default();
        record.state = ChangeState::StillChanged;
        record.text = printable(&format!("{early}the node may still be changed: {}{last}", wrong.join("; ")), 1200);
        record.differences.extend(wrong);
        record.mend = Some(operator.mend());
        return;
    }
    if standing.state == GuardState::Refused {
        record.state = ChangeState::Refused;
        let why = standing.reason().unwrap_or_else(|| "the guard refused".to_owned());
        record.text = printable(&format!("dockerd's debug was not switched on: {early}{why}"), 600);
        return;
    }
    record.reverted = Some(Timestamp::now());
    record.state = if restarted { ChangeState::EndedByRestart } else { ChangeState::Reverted };
    let how = match (record.state, standing.state) {
        (ChangeState::EndedByRestart, GuardState::Done) => {
            "somebody else restarted dockerd meanwhile; debug is off again and the file is the original"
        }
        (ChangeState::EndedByRestart, GuardState::DoneRestarted | GuardState::Gone) => {
            "somebody else restarted dockerd during the window, which ended debug; the file is the original"
        }
        (_, GuardState::DoneForeign) => "our change is undone; debug is on because somebody else switched it on",
        (_, GuardState::Gone) => "debug is off again; the guard had ended the window by itself and cleared up",
        _ if early.is_empty() => &*format!("{}off again; daemon.json is the original", for_about(record)),
        _ => "debug is off again and the file is the original",
    };
    record.text = format!("{early}{how}");
    if !record.differences.is_empty() && standing.state != GuardState::DoneForeign {
        record.text = "debug is off again; the file was changed by somebody else meanwhile and left so".to_owned();
    }
}

/// How long debug was on, rounded so that nodes of one run say the same.
fn for_about(record: &ChangeRecord) -> String {
    match (record.applied, record.reverted) {
        (Some(from), Some(to)) => {
            format!("on for about {} s, ", (to.duration_since(from).as_secs().max(0) + 2) / 5 * 5)
        }
        _ => String::new(),
    }
}
