//! runc and crun processes that linger: how many, since when, in what they wait. One lives for less than a second as a rule;
//! one that stays holds a container's lock in containerd, and with it whoever asks for that container.

use super::note::{self, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::stuck::{self, Lingering};
use crate::analyze::view::NodeView;
use crate::wording;
use std::time::Duration;

/// D-Bus calls of runc to systemd end after 25 s by sd-bus' default; what is older waits without an end.
const LINGERS_S: u64 = 30;
/// The kubelet's runtime requests end after 2 minutes by default; a runc older than that has failed one.
const BLOCKS_S: u64 = 120;

const LIST: Source =
    Source { rule: "runc", step: "host/runc", file: "host/runc.txt", says: "whether runc processes linger" };

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(text) = note::read(view, &LIST, &mut found) else { return found };
    let all = stuck::runc(&text);
    let lingers = |r: &&Lingering| r.age_s.is_some_and(|age| age >= LINGERS_S) && !stays_on_purpose(&r.arguments);
    let mut old: Vec<&Lingering> = all.iter().filter(lingers).collect();
    old.sort_by_key(|r| std::cmp::Reverse(r.age_s));
    let Some(oldest) = old.first() else {
        if text.contains("runc or crun processes") && all.iter().all(|r| r.age_s.is_some()) {
            let note = Note::new(view, "runc/well", Severity::Info, "No runc process lingers.");
            found.push(note.cite(LIST.file, 0).done());
        }
        return found;
    };
    let age = oldest.age_s.unwrap_or_default();
    let grave = if age >= BLOCKS_S { Severity::Critical } else { Severity::Warning };
    let verbs = note::counted(old.iter().map(|r| verb(&r.arguments)), 3);
    let waits = note::counted(old.iter().map(|r| waits_for(r)), 3);
    let since = wording::whole_seconds(Duration::from_secs(age));
    let sentence = match old.as_slice() {
        [one] => {
            let (verb, wait) = (verb(&one.arguments), waits_for(one));
            format!("A runc process (pid {}) lingers for {since}: {verb}; it waits in {wait}.", one.pid)
        }
        _ => format!(
            "{} linger, the oldest (pid {}) for {since}: {verbs}; they wait in {waits}.",
            note::processes(old.len(), "runc "),
            oldest.pid,
        ),
    };
    let next = if is_answer(&waits_for(oldest)) {
        "In runc with systemd cgroups this is as a rule the wait for systemd on D-Bus: see the findings dbus/… and \
         host/dbus-cookie-2.txt."
    } else {
        "The kernel stacks in host/runc.txt name the lock or the freezer; who holds it shows in host/stuck.txt and in the \
         call traces of kernel/dmesg.txt."
    };
    let note = Note::new(view, "runc/lingers", grave, &sentence).cite_all(LIST.file, old.iter().map(|r| r.line));
    let signature = format!("runc in {}", waits_for(oldest));
    found.push(note.layer(Layer::Shim).next(next).signature(&signature).done());
    found
}

/// Tells whether this command lives as long as what it started: builds of images run each step so, people their shells.
fn stays_on_purpose(arguments: &str) -> bool {
    let detached = arguments.split_ascii_whitespace().any(|w| matches!(w, "-d" | "--detach" | "--detach=true"));
    match verb(arguments).as_str() {
        "runc run" | "runc exec" => !detached,
        "runc events" => true,
        _ => false,
    }
}

/// The command among runc's arguments: `kill`, `create`, `init`.
fn verb(arguments: &str) -> String {
    const VERBS: [&str; 14] = [
        "create", "start", "run", "exec", "kill", "delete", "state", "init", "update", "pause", "resume", "events",
        "ps", "list",
    ];
    let word = arguments.split_ascii_whitespace().skip(1).find(|w| VERBS.contains(w));
    format!("runc {}", word.unwrap_or("?"))
}

/// Tells whether a Go program that sleeps so waits for another program's answer, or merely for its own threads.
fn is_answer(function: &str) -> bool {
    ["epoll", "ep_poll", "futex", "unix_stream", "sk_wait"].iter().any(|wait| function.contains(wait))
}

fn waits_for(process: &Lingering) -> String {
    // A Go program waits in many threads; what is not its idle wait says more.
    let polls = |f: &String| f.contains("epoll") || f.contains("ep_poll");
    let idle = |f: &String| f.contains("futex") || polls(f);
    let frames: Vec<&String> = process.threads.iter().filter_map(|t| t.stack.first().or(t.wchan.as_ref())).collect();
    let frame = frames.iter().find(|f| !idle(f)).or_else(|| frames.iter().find(|f| polls(f))).or(frames.first());
    frame.map_or_else(|| "an unknown place".to_owned(), |f| note::name(f))
}
