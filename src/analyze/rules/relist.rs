//! Where relist stands, by the kubelet's goroutine dumps. Matches frames and never minutes: in a runtime hang each relist
//! ends after 2 minutes and the next begins, so that its goroutine looks young (seen with kubelet 1.36.2).

use super::Rule;
use super::note::{self, Source, some};
use super::relist_time::{self, Pace};
use super::since::{self, Since};
use super::waits::{Kind, waits};
use crate::analyze::about::about;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::goroutine::{Dump, Form, Stack, Wait};
use crate::analyze::view::NodeView;
use crate::printable::printable;

/// Dumps with states first: they tell more.
const FILES: &[&str] = &[
    "kubelet/goroutine-2.txt",
    "kubelet/goroutine-1.txt",
    "kubelet/goroutine-groups-2.txt",
    "kubelet/goroutine-groups-1.txt",
];

pub(super) const RULE: Rule = Rule { id: "relist", about: "where relist stands", reads: FILES, check };

const DUMP: Source =
    Source { rule: RULE.id, step: "kubelet/goroutine-1", file: "kubelet/goroutine-1.txt", says: "where relist stands" };

/// The first minor version of Kubernetes 1 whose relist does not wait for room in its channel (kubernetes#72709).
const MENDED: u32 = 14;

/// relist at work, as a dump has it.
struct Seen {
    finding: Finding,
    /// It has waited for a minute or more.
    long: bool,
    /// Of the later sample.
    later: bool,
}

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut free: Option<(&str, u64)> = None;
    let mut seen: Vec<Seen> = Vec::new();
    for file in FILES {
        for dump in view.dumps(file).iter() {
            let at_work = dump.stacks.iter().find_map(|stack| Some((stack, standing(view, file, stack, dump)?)));
            match at_work {
                Some((stack, finding)) => {
                    seen.push(Seen { finding, long: stack.longest > 0, later: file.contains("-2.") });
                }
                None => free = free.or_else(|| idle(dump).map(|line| (*file, line))),
            }
        }
    }
    let (both, long) =
        (seen.iter().any(|seen| seen.later) && seen.iter().any(|seen| !seen.later), seen.iter().any(|seen| seen.long));
    let worst = seen
        .into_iter()
        .map(|seen| seen.finding)
        .reduce(|worst, next| if next.severity > worst.severity { next } else { worst });
    match (worst, free) {
        // What cannot pass by itself counts in one dump of several, too.
        (Some(finding), _) if matches!(finding.id.as_str(), "relist/channel-deadlock" | "relist/working") => {
            vec![finding]
        }
        (Some(finding), None) => vec![weighed(view, finding, both, long)],
        (_, Some((file, line))) => {
            let sentence = "relist is not blocked: a goroutine dump shows it outside any call of the runtime.";
            vec![Finding::new(&view.node, "relist/free", Severity::Info, sentence).cites(file, line, line)]
        }
        (None, None) => note::missing(view, &DUMP).into_iter().collect(),
    }
}

/// Weighs a relist that was found in a call: on a busy node it is found there now and then.
fn weighed(view: &NodeView, finding: Finding, both: bool, long: bool) -> Finding {
    let pace = relist_time::pace(view);
    let logged = view.history().map(|history| {
        since::of_pleg(history) == Some(Since::Now)
            || (history.relist_deadlines.count > 0
                && since::of_calls(history, history.relist_deadlines.last) == Since::Now)
    });
    let stands = long || matches!(pace, Pace::Stands(..)) || logged == Some(true);
    let (severity, says) = match (both, logged) {
        _ if stands => return finding,
        _ if pace == Pace::Moves => (Severity::Info, "The kubelet's metrics show that relist goes on all the same."),
        (true, None) => return finding,
        (true, Some(_)) => {
            (Severity::Warning, "It is so in both samples, and the kubelet's log does not call PLEG unhealthy (yet).")
        }
        (false, Some(_)) => {
            (Severity::Info, "It is so in one dump, and the kubelet's log does not call PLEG unhealthy.")
        }
        (false, None) => (Severity::Warning, "There is one dump alone: a second one would tell whether it stands."),
    };
    let id = if severity == Severity::Info { "relist/busy".to_owned() } else { finding.id.clone() };
    Finding { id, severity, sentence: format!("{} {says}", finding.sentence), ..finding }
}

/// Returns the line of an idle relist; 0 where the form of the dump does not show it.
fn idle(dump: &Dump) -> Option<u64> {
    let shown = dump.stacks.iter().find(|stack| {
        // Old kubelets show it by its creator alone.
        stack.created_by.as_ref().is_some_and(|frame| frame.function.contains("pleg.(*GenericPLEG).Start"))
            || stack.frame("pleg.(*GenericPLEG)").is_some()
    });
    // Grouped dumps have no creators: there, an idle relist of old kubelets is one of many `wait.Until`.
    let hidden = || dump.form == Form::Grouped && dump.in_function("k8s.io/kubernetes/pkg/kubelet").next().is_some();
    shown.map(|stack| stack.lines.first).or_else(|| hidden().then_some(0))
}

/// Says where a stack stands if it is relist at work.
fn standing(view: &NodeView, file: &str, stack: &Stack, dump: &Dump) -> Option<Finding> {
    let relist = ["GenericPLEG).Relist", "GenericPLEG).relist"].into_iter().find(|name| stack.frame(name).is_some())?;
    let (from, _) = stack.frame(relist)?;
    let place = stack.place().map_or_else(|| "an unknown place".to_owned(), |frame| printable(&frame.to_string(), 120));
    let state = stack.states.first().map_or_else(String::new, |(state, _)| match stack.longest {
        0 => format!(" [{}]", printable(state, 60)),
        minutes => format!(" [{}, {minutes} minutes]", printable(state, 60)),
    });
    let finding = |id: &str, severity, sentence: &str, layer| {
        let lines = if dump.form == Form::Blocks { stack.longest_lines } else { stack.lines };
        Finding::new(&view.node, id, severity, sentence).blames(layer).cites(file, lines.first, lines.last)
    };
    // Before 1.14 relist sent its events without looking whether there is room (kubernetes#72709).
    // Grouped dumps tell no states; a relist with nothing above it can only wait for its channel, or runs.
    let version = version(view);
    let mended = version.as_deref().and_then(minor).is_some_and(|minor| minor >= MENDED);
    let sends = stack.wait() == Wait::ChannelSend && from == first_of_kubelet(stack);
    let on_top = dump.form == Form::Grouped && from == 0 && relist.ends_with(".relist");
    if sends || (on_top && !mended) {
        let which = match version {
            Some(version) if mended => format!("this kubelet is {version}, which should not do that"),
            Some(version) => format!("this kubelet is {version}, and Kubernetes before 1.14 does that"),
            None => "Kubernetes before 1.14 does that; the version of this kubelet is not in the evidence".to_owned(),
        };
        let sentence = format!(
            "relist is deadlocked: it waits to send an event into its full channel at {place}{state}; {which} (kubernetes#72709)."
        );
        return Some(
            finding("relist/channel-deadlock", Severity::Critical, &sentence, Layer::Kubelet)
                .alike("relist: chan send")
                .then("Only a restart of the kubelet ends it; 1.14 has the fix. Why nobody takes events: the goroutine of syncLoop in the same dump."),
        );
    }
    let network = |stack: &Stack| stack.frame("GetPodNetworkStatus").is_some();
    let call = waits(stack).filter(|waits| matches!(waits.kind, Kind::Grpc | Kind::Docker));
    // dockershim serves the call in a goroutine of its own.
    let through_shim =
        || call.as_ref().is_some_and(|c| c.what == "PodSandboxStatus") && dump.stacks.iter().any(network);
    if network(stack) || stack.calls(relist, "cni.") || through_shim() {
        let sentence = format!("relist waits for the network plug-in (CNI) at {place}{state}: GetPodNetworkStatus.");
        return Some(
            finding("relist/cni", Severity::Critical, &sentence, Layer::Cni)
                .alike("relist: GetPodNetworkStatus")
                .then("What the CNI plug-in of the pod does: its processes and its logs."),
        );
    }
    if let Some(call) = call {
        let call = call.what;
        let mut sentence =
            format!("relist waits for the runtime: {call} has not been answered; it stands at {place}{state}.");
        let docker = by_dockershim(dump);
        if !docker.is_empty() {
            let end = format!("; dockershim in the same process waits for dockerd: {}.", some(&docker, 4));
            sentence.truncate(sentence.trim_end_matches('.').len());
            sentence.push_str(&end);
        }
        return Some(
            finding("relist/runtime", Severity::Critical, &sentence, Layer::Runtime)
                .alike(&format!("relist waits for {call}"))
                .then("What the runtime does: its own stacks, and whether docker or crictl answer."),
        );
    }
    let sentence = format!("relist is at work at {place}{state}; it waits neither for the runtime nor for CNI.");
    Some(finding("relist/working", Severity::Info, &sentence, Layer::Kubelet))
}

/// Returns what the kubelet's own dockershim waits for: `ListContainers × 2`.
fn by_dockershim(dump: &Dump) -> Vec<String> {
    let mut calls: Vec<(String, u64)> = Vec::new();
    for stack in dump.in_function("libdocker.(*kubeDockerClient).") {
        let Some(waits) = waits(stack).filter(|waits| waits.kind == Kind::Docker && waits.patience().is_some()) else {
            continue;
        };
        match calls.iter_mut().find(|(call, _)| *call == waits.what) {
            Some((_, count)) => *count += stack.count,
            None => calls.push((waits.what, stack.count)),
        }
    }
    calls.into_iter().map(|(call, count)| format!("{call} × {count}")).collect()
}

/// Returns the kubelet's version as far as the evidence has it: `v1.12.3`.
fn version(view: &NodeView) -> Option<String> {
    let logged = view.history().and_then(|history| history.version.clone());
    logged.or_else(|| about(view).kubelet).map(|version| printable(&version, 40))
}

/// Returns the minor version of Kubernetes 1.
fn minor(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the place of the innermost frame of the kubelet's own.
fn first_of_kubelet(stack: &Stack) -> usize {
    stack.frames.iter().position(|frame| frame.package().contains("pkg/kubelet")).unwrap_or(usize::MAX)
}
