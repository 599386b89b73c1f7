//! The number of PID 1's messages on D-Bus near 2^32, with the date it passes; and PID 1 that no longer answers there. The
//! fault is systemd issue 11809, mended in v242 (pull request 11818) and in some of Red Hat's builds of 219.

use jiff::{SignedDuration, Timestamp};

use super::note::{self, Note, Source, float};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::dbus_cookie::{self, Cookies, LIMIT};
use crate::analyze::tables::{pressure, quantity};
use crate::analyze::view::NodeView;

/// The first version without the fault.
const MENDED: u32 = 242;
/// Days ahead at which a restart of the node has to be planned.
const SOON_DAYS: u64 = 60;
/// Share of 2^32 from which on it is said even if no rate is known.
const NEAR_PERCENT: u64 = 90;
/// Two looks closer than this see mostly the messages that our own steps cause.
const APART_S: f64 = 60.0;

/// Load for each processor at which PID 1 may answer later than the steps wait.
const OVERLOAD: f64 = 10.0;

const FIRST: Source = Source {
    rule: "dbus",
    step: "host/dbus-cookie-1",
    file: "host/dbus-cookie-1.txt",
    says: "whether PID 1 answers on D-Bus and how many messages it has sent",
};
const SECOND: &str = "host/dbus-cookie-2.txt";

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(text) = note::read(view, &FIRST, &mut found) else { return found };
    let clock = note::clock(view);
    let first = dbus_cookie::parse(&text, clock);
    let second = note::text(view, SECOND).map(|text| dbus_cookie::parse(&text, clock));
    let version = version(view);
    let last = second.as_ref().filter(|s| s.answered + s.silent > 0);
    let (answered, silent) = last.map_or((first.answered, first.silent), |s| (s.answered, s.silent));
    let highest = second.as_ref().and_then(|s| s.highest).max(first.highest);
    if silent > 0 && answered == 0 {
        found.push(no_answer(view, version, highest, last.is_some()));
    } else if let Some((cookie, _)) = highest.filter(|_| answered > 0) {
        found.push(counted(view, version, cookie, &first, second.as_ref()));
    } else {
        found.push(note::unreadable(view, &FIRST, "busctl monitor and busctl call"));
    }
    found
}

fn version(view: &NodeView) -> Option<u32> {
    let told = || {
        let text = note::text(view, "host/systemd.txt")?;
        text.lines().find_map(|l| l.strip_prefix("systemd ")?.split([' ', '-']).next()?.parse().ok())
    };
    note::facts(view).and_then(|f| f.systemd_version).or_else(told)
}

/// Says whether the fault is in this version, in words that hold.
fn fault(version: Option<u32>) -> String {
    match version {
        Some(v) if v >= MENDED => format!("systemd {v} does not have the fault of issue 11809"),
        Some(219) => "systemd 219 has the fault of issue 11809 unless Red Hat mended this build".to_owned(),
        Some(v) => format!(
            "systemd {v} is older than {MENDED} and has the fault of issue 11809 unless the distribution mended it"
        ),
        None => format!("systemd before {MENDED} has the fault of issue 11809; the version here is not known"),
    }
}

fn no_answer(view: &NodeView, version: Option<u32>, highest: Option<(u64, u64)>, twice: bool) -> Finding {
    let number = highest.map(|(n, _)| format!(" after message {n}")).unwrap_or_default();
    let looks = if twice { "in both looks" } else { "" };
    // systemctl says nothing of it: with root's rights it has a way to PID 1 of its own.
    let late = is_overloaded(view) && highest.is_none_or(|(n, _)| n < LIMIT / 2);
    let (grave, sentence) = if late {
        let head = format!("PID 1 did not answer within 1 s on D-Bus{number} {looks}");
        let sentence = format!("{}; the load is so high that it may merely be late.", head.trim_end());
        (Severity::Warning, sentence)
    } else {
        let head = format!("PID 1 does not answer on D-Bus{number} {looks}");
        let sentence = format!("{}; {}. runc waits for it without an end.", head.trim_end(), fault(version));
        (Severity::Critical, sentence)
    };
    let next = if late {
        "See first why the load is high (findings memory/… and tasks/…), then look again."
    } else if version.is_some_and(|v| v >= MENDED) {
        "kubelet, docker and runc with systemd cgroups stand still until PID 1 answers, see host/runc.txt; whether PID 1 or \
         dbus-daemon is stuck itself: host/ps.txt and host/stuck.txt."
    } else {
        "systemctl daemon-reexec as root, or a reboot, ends it (by the reports in issue 11809); until then kubelet, docker \
         and runc with systemd cgroups stand still, see host/runc.txt."
    };
    let note = Note::new(view, "dbus/silent", grave, &sentence).cite(FIRST.file, 0);
    let note = if twice { note.cite(SECOND, 0) } else { note };
    note.layer(Layer::Systemd).next(next).signature("PID 1 silent on D-Bus").done()
}

/// Tells whether so much waits for processors or disks that an answer within a second cannot be hoped for.
fn is_overloaded(view: &NodeView) -> bool {
    let load = note::text(view, "host/pressure.txt").and_then(|text| pressure::parse(&text).load);
    let cpus = note::facts(view).and_then(|f| f.cpus).filter(|n| *n > 0);
    load.zip(cpus).is_some_and(|([one, ..], cpus)| one >= f64::from(cpus) * OVERLOAD)
}

fn counted(view: &NodeView, version: Option<u32>, cookie: u64, first: &Cookies, second: Option<&Cookies>) -> Finding {
    let last = second.unwrap_or(first);
    let apart = second.and_then(|s| Some(s.after_boot? - first.after_boot?)).unwrap_or_default();
    let looked = second.filter(|_| apart >= APART_S).and_then(|s| s.rate_since(first));
    let since_boot = last.after_boot.filter(|s| *s >= APART_S).map(|s| float(cookie) / s);
    let (rate, basis) = match (looked, since_boot) {
        (Some(rate), _) if rate > 0.0 => (Some(rate), "seen between two looks"),
        (_, rate) => (rate, "on average since the boot"),
    };
    let left = LIMIT.saturating_sub(cookie);
    let seconds = rate.filter(|r| *r > 0.0).and_then(|r| quantity::whole(float(left) / r));
    let date = seconds.and_then(|s| passes(last.time.or_else(|| note::collected(view))?, s));
    let safe = version.is_some_and(|v| v >= MENDED);
    let soon = seconds.is_some_and(|s| s < SOON_DAYS * 86_400) || cookie.saturating_mul(100) / LIMIT >= NEAR_PERCENT;
    let cite = |note: Note| {
        let note = first.highest.into_iter().fold(note, |n, (_, line)| n.cite(FIRST.file, line));
        second.and_then(|s| s.highest).into_iter().fold(note, |n, (_, line)| n.cite(SECOND, line))
    };
    if cookie >= LIMIT {
        let sentence =
            format!("PID 1 has sent {cookie} messages on D-Bus, past 2^32, and still answers: this build is mended.");
        return cite(Note::new(view, "dbus/well", Severity::Info, &sentence)).done();
    }
    let when = match (date, rate) {
        (Some(date), Some(rate)) if !safe => format!(", at {rate:.2} a second ({basis}) it passes 2^32 on {date}"),
        _ => String::new(),
    };
    let sentence = format!("PID 1 answers on D-Bus; it has sent {cookie} messages of 2^32{when}; {}.", fault(version));
    if safe || !soon {
        return cite(Note::new(view, "dbus/well", Severity::Info, &sentence)).done();
    }
    let next = "PID 1 falls silent then. A systemctl daemon-reexec or a reboot before that starts the number anew; a mended \
                systemd ends it (rpm -q --changelog systemd | grep -i cookie).";
    cite(Note::new(view, "dbus/near-limit", Severity::Warning, &sentence)).layer(Layer::Systemd).next(next).done()
}

fn passes(from: Timestamp, seconds: u64) -> Option<String> {
    let at = from.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string())
}
