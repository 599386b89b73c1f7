//! Moments by the facts of the probe: when the machine booted and its daemons were started. A start that a log tells
//! stands as the log tells it.

use jiff::{SignedDuration, Timestamp};

use super::{BOOTED, Found, MomentKind};
use crate::analyze::finding::Severity;
use crate::analyze::view::NodeView;
use crate::bundle::layout;
use crate::plan::facts::Daemon;

/// A daemon logs its start within this after its process began; hours of boot are known to the second.
const LOGGED: SignedDuration = SignedDuration::from_secs(90);
/// Clocks, whole seconds and ticks together are no farther off.
const BLUR: SignedDuration = SignedDuration::from_secs(5);
/// Where the probe did not tell its time, the first step began so much later at most.
const RECKONED: SignedDuration = SignedDuration::from_mins(2);

/// Returns when the machine booted, by the node's clock, to a second or two. Before the probe told its time, its step was
/// taken for the first one.
pub(super) fn boot(view: &NodeView) -> Option<Timestamp> {
    let facts = view.facts();
    let summary = view.manifest.as_ref().and_then(|m| m.facts.as_ref());
    let up = facts.and_then(|f| f.uptime_s).or_else(|| summary?.uptime_s)?;
    let first = view.steps.iter().filter_map(|step| step.started).min();
    let looked = facts.and_then(|f| f.probed).or_else(|| view.by_node(first?))?;
    looked.checked_sub(SignedDuration::from_secs(i64::try_from(up).ok()?)).ok()
}

pub(super) fn read(found: &mut Found<'_>) {
    let view = found.view;
    let Some(boot) = boot(view) else { return };
    let cited = Some((layout::FACTS, None));
    found.push(MomentKind::Start, Severity::Info, (boot, None, 1), cited, BOOTED);
    let Some(facts) = view.facts() else { return };
    let daemons = [
        ("dockerd", "dockerd", &facts.dockerd),
        ("containerd", "containerd", &facts.containerd),
        ("CRI-O", "crio", &facts.crio),
        ("kubelet", "kubelet", &facts.kubelet),
    ];
    let ticks = facts.ticks_per_second.filter(|ticks| *ticks > 0);
    let begun = |daemon: &Daemon| {
        let milliseconds = daemon.start_ticks?.checked_mul(1000)? / u64::from(ticks?);
        boot.checked_add(SignedDuration::from_millis(i64::try_from(milliseconds).ok()?)).ok()
    };
    let proof = view.manifest.as_ref().and_then(|m| m.restart_proof.as_ref());
    let again = proof.and_then(|p| p.restarted()).unwrap_or_default();
    for (name, key, daemon) in daemons {
        let text = format!("{name} started");
        if let Some(time) = daemon.as_ref().and_then(begun).filter(|time| !is_logged(found, &text, *time)) {
            found.push(MomentKind::Start, Severity::Info, (time, None, 1), cited, &text);
        }
        let after = proof.filter(|_| again.contains(&key)).and_then(|p| p.after.get(key));
        if let Some(time) = after.and_then(begun).filter(|time| !is_logged(found, &text, *time)) {
            let cited = Some((layout::MANIFEST, None));
            let text = format!("{text}: while evidence was collected");
            found.push(MomentKind::Start, Severity::Warning, (time, None, 1), cited, &text);
        }
    }
}

fn is_logged(found: &Found<'_>, text: &str, time: Timestamp) -> bool {
    found.moments.iter().any(|moment| {
        let (from, to) = (moment.time, moment.until.unwrap_or(moment.time));
        let known = found.view.facts().is_some_and(|facts| facts.probed.is_some());
        let before = time.duration_since(to) <= if known { BLUR } else { RECKONED };
        moment.kind == MomentKind::Start
            && moment.what().starts_with(text)
            && before
            && from.duration_since(time) <= LOGGED
    })
}
