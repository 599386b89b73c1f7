//! Moments that tell what is not known: a log that begins after the trouble did, lines left out by a cap or dropped by
//! journald, a journal that has lost what was asked for. And the boots that a log shows.

use jiff::{SignedDuration, Timestamp};

use super::{Found, MomentKind, starts};
use crate::analyze::finding::Severity;
use crate::analyze::history::{FILE, KubeletHistory};
use crate::analyze::log::seams::{Break, Seam, Seams};
use crate::analyze::view::NodeView;
use crate::wording;

/// A log may begin so much after the time from which it was asked for and still be whole: a daemon that is well logs little.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// Trouble at the very beginning of a log began before it.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(10);
/// Two logs that show the same boot have their first lines after it within this.
const SAME_BOOT: SignedDuration = SignedDuration::from_mins(10);

/// Tells where a log has lost lines.
pub(super) fn of_log(found: &mut Found<'_>, name: &str, step: &str, file: &str, seams: &Seams) {
    for seam in &seams.seams {
        one(found, name, file, seam);
    }
    let asked = asked_from(found.view, step);
    let Some(asked) = asked else { return };
    let late = |time: Timestamp, by: SignedDuration| time.duration_since(asked) > by;
    let booted = starts::boot(found.view);
    let young = |time: Timestamp| booted.is_some_and(|boot| time.duration_since(boot) <= QUIET);
    if let Some((begins, line)) = seams.journal_begins.filter(|(time, _)| late(*time, SignedDuration::from_mins(1))) {
        if !young(begins) {
            let text =
                format!("log of {name} is lost before this: the whole journal begins here, {}", ask(begins, asked));
            found.push(MomentKind::Gap, Severity::Warning, (begins, None, 1), Some((file, Some((line, line)))), &text);
        }
        return;
    }
    let Some((first, line)) = seams.first.filter(|(time, _)| late(*time, QUIET) && !young(*time)) else { return };
    if !has_run_since(found.view, name, first) {
        return;
    }
    let text =
        format!("log of {name} begins here: {}; it had nothing to say, or the journal has lost it", ask(first, asked));
    found.push(MomentKind::Gap, Severity::Info, (first, None, 1), Some((file, Some((line, line)))), &text);
}

/// Words how much later than asked for something begins.
fn ask(time: Timestamp, asked: Timestamp) -> String {
    let late = std::time::Duration::try_from(time.duration_since(asked)).unwrap_or_default();
    format!("{} later than asked for", wording::whole_seconds(late))
}

fn one(found: &mut Found<'_>, name: &str, file: &str, seam: &Seam) {
    let cited = Some((file, Some((seam.line, seam.line))));
    let Some(time) = seam.before.or(seam.after) else { return };
    let until = seam.after.filter(|after| *after > time);
    match &seam.what {
        Break::Cut { bytes, at_least } => {
            let least = if *at_least { "at least " } else { "" };
            let text =
                format!("log of {name} has a gap: {least}{} left out by the cap of the step", wording::bytes(*bytes));
            found.push(MomentKind::Gap, Severity::Warning, (time, until, 1), cited, &text);
        }
        Break::Suppressed { lines, unit } => {
            let text = format!("log of {name} has a gap: journald dropped {lines} lines of {unit}");
            found.push(MomentKind::Gap, Severity::Warning, (time, None, 1), cited, &text);
        }
        Break::Boot => {
            let Some(after) = seam.after else { return };
            let boot = starts::boot(found.view);
            let told = boot.is_some_and(|boot| after.duration_since(boot).abs() <= SAME_BOOT)
                || found.moments.iter().any(|moment| {
                    moment.what() == "machine had booted" && moment.time.duration_since(after).abs() <= SAME_BOOT
                });
            if !told {
                let text = format!("machine had booted: before this line of {name}");
                found.push(MomentKind::Start, Severity::Warning, (after, None, 1), cited, &text);
            }
        }
        Break::File { name: path, tail: true } => {
            let Some(after) = seam.after else { return };
            let text = format!("log of {name} begins here: of {path} only the last 8 MiB were read");
            found.push(MomentKind::Gap, Severity::Info, (after, None, 1), cited, &text);
        }
        Break::File { .. } => {}
    }
}

/// Tells that the trouble is older than the kubelet's log.
pub(super) fn under_way(found: &mut Found<'_>, history: &KubeletHistory) {
    let Some((first, line)) = history.seams.first else { return };
    let Some(spell) = history.unhealthy.first() else { return };
    let Some(active) = spell.active else { return };
    let at_once = spell.span.first.is_some_and(|said| said.duration_since(first) <= AT_ONCE);
    if first.duration_since(active) <= AT_ONCE && !at_once {
        return;
    }
    let before = std::time::Duration::try_from(first.duration_since(active)).unwrap_or_default();
    let text = format!(
        "log of kubelet begins after the trouble did: relist was last active {} before its first line",
        wording::whole_seconds(before)
    );
    let cited = Some((FILE, Some((line, line))));
    found.push(MomentKind::Gap, Severity::Warning, (first, None, 1), cited, &text);
}

/// Returns from when on a journal was asked for, by the node's clock.
fn asked_from(view: &NodeView, step: &str) -> Option<Timestamp> {
    let step = view.step(step)?;
    let (_, since) = step.command.split_once("--since=-")?;
    let digits = since.find(|c: char| !c.is_ascii_digit()).unwrap_or(since.len());
    let seconds = since.get(..digits)?.parse().ok()?;
    view.by_node(step.started?)?.checked_sub(SignedDuration::from_secs(seconds)).ok()
}

/// Tells whether a daemon's process began well before a time.
fn has_run_since(view: &NodeView, name: &str, time: Timestamp) -> bool {
    let Some((facts, boot)) = view.facts().zip(starts::boot(view)) else { return false };
    let daemon = match name {
        "dockerd" => &facts.dockerd,
        "containerd" => &facts.containerd,
        "kubelet" => &facts.kubelet,
        _ => &facts.crio,
    };
    let ticks = daemon.as_ref().and_then(|d| d.start_ticks).zip(facts.ticks_per_second.filter(|ticks| *ticks > 0));
    let begun = ticks.and_then(|(start, per_second)| {
        boot.checked_add(SignedDuration::from_secs(i64::try_from(start / u64::from(per_second)).ok()?)).ok()
    });
    begun.is_some_and(|begun| time.duration_since(begun) > QUIET)
}
