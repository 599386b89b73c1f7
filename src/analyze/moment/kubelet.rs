//! Moments by the kubelet's log: PLEG, Ready and not, calls of the runtime, starts of the kubelet.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Found, MomentKind, gaps};
use crate::analyze::finding::Severity;
use crate::analyze::history::{FILE, KubeletHistory, Spell, Thing};
use crate::wording;

/// A kubelet that starts says that PLEG is not healthy until its first relist has ended; that is as it should be.
const FIRST_RELIST: SignedDuration = SignedDuration::from_mins(1);
/// So many starts within one burst are a loop.
const LOOP: u64 = 3;

pub(super) fn read(found: &mut Found<'_>) {
    let Some(history) = found.view.history() else { return };
    pleg(found, history);
    for (thing, bursts) in &history.bursts {
        for burst in bursts.kept() {
            let fresh = |mark: &str| burst.names.iter().any(|(name, _)| name.contains(mark));
            let (kind, severity, what) = match thing {
                Thing::NotReady if fresh("not have completed yet") || fresh("yet to be successful") => {
                    (MomentKind::NotReady, Severity::Info, "node set NotReady by a kubelet that starts")
                }
                Thing::NotReady => (MomentKind::NotReady, Severity::Critical, "node set NotReady"),
                Thing::Ready => (MomentKind::Ready, Severity::Info, "node set Ready"),
                Thing::Deadline => (MomentKind::Deadlines, Severity::Warning, "runtime calls ran out of time"),
                Thing::Relist => (MomentKind::Deadlines, Severity::Critical, "relist failed"),
                Thing::RuntimeDown => (MomentKind::Daemon, Severity::Critical, "kubelet says the runtime is down"),
                Thing::RuntimeNotReady => (MomentKind::Daemon, Severity::Warning, "runtime says it is not ready"),
                Thing::ChannelFull => {
                    (MomentKind::Daemon, Severity::Critical, "relist dropped events, its channel is full")
                }
                Thing::Start if burst.span.count >= LOOP => {
                    (MomentKind::Start, Severity::Warning, "kubelet started again and again")
                }
                Thing::Start => (MomentKind::Start, Severity::Info, "kubelet started"),
                Thing::Oom => (MomentKind::OomKill, Severity::Critical, "killed for want of memory, says the kubelet"),
                Thing::Evicting => (MomentKind::Daemon, Severity::Warning, "kubelet evicted pods to get back"),
                Thing::ApiServer => {
                    (MomentKind::Daemon, Severity::Warning, "kubelet's requests to the API server failed")
                }
                Thing::PodSync => (MomentKind::Deadlines, Severity::Warning, "pods not synchronised, time ran out"),
            };
            found.burst(kind, severity, burst, FILE, what);
        }
    }
    super::daemons::units(found, "kubelet", FILE, &history.units);
    gaps::of_log(found, "kubelet", "kubelet/journal", FILE, &history.seams);
    gaps::under_way(found, history);
}

fn pleg(found: &mut Found<'_>, history: &KubeletHistory) {
    let spells = &history.unhealthy;
    for (at, spell) in spells.iter().enumerate() {
        if starts_only(spell) {
            continue;
        }
        let before = |time: Option<Timestamp>| {
            let ago = time.zip(spell.active).map(|(time, active)| time.duration_since(active));
            ago.and_then(|ago| Duration::try_from(ago).ok()).map(wording::whole_seconds)
        };
        let text = match (before(spell.span.first), spell.span.count) {
            (None, _) => "PLEG unhealthy: relist has not ended since the kubelet's start".to_owned(),
            (Some(first), 1) => format!("PLEG unhealthy: relist last active {first} before"),
            (Some(first), _) => {
                let last = wording::whole_seconds(spell.longest);
                format!("PLEG unhealthy: relist last active {first} before, {last} before the last such line")
            }
        };
        found.span(MomentKind::PlegUnhealthy, Severity::Critical, &spell.span, FILE, &text);
        let (healthy, line, why) = match (spell.over, spells.get(at + 1)) {
            (Some((time, line)), _) => (Some(time), line, "by this line at the latest"),
            // The next spell names another relist that ended, so this one was over by then.
            (None, Some(next)) => (next.active.max(spell.span.last), spell.span.last_line, "another relist ended"),
            (None, None) if history.recovered().is_some() => {
                (spell.span.last, spell.span.last_line, "no line after this one says otherwise")
            }
            (None, None) => continue,
        };
        if let Some(time) = healthy {
            let text = format!("PLEG healthy again: {why}");
            let cited = Some((FILE, Some((line, line))));
            found.push(MomentKind::PlegHealthy, Severity::Info, (time, None, 1), cited, &text);
        }
    }
}

fn starts_only(spell: &Spell) -> bool {
    let lasted = spell.span.first.zip(spell.span.last).map(|(first, last)| last.duration_since(first));
    spell.active.is_none() && lasted.is_none_or(|lasted| lasted <= FIRST_RELIST)
}
