//! Containers that the runtime could not remove or start: Dead, Removal In Progress, Created for long, pause containers that
//! ended and stay.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::note::{self, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::crictl::{self, Made};
use crate::analyze::tables::docker_ps::{self, Container, State};
use crate::analyze::view::NodeView;
use crate::wording;

/// A container is started within seconds after it was made; runtime requests of the kubelet end after 2 minutes, twice tried.
const CREATED_LONG: Duration = Duration::from_secs(600);
/// Containers under removal at one moment; one or two are ordinary turnover.
const REMOVING: usize = 3;
/// Pause containers that ended and stand alone: the kubelet keeps the last of each pod that is still there together with
/// its other containers (jobs that are done have many), a few are left by restarts.
const PAUSES: usize = 10;
/// Containers of Kubernetes made and not started. docker leaves one so when its start fails, as with a wrong command.
const CREATED: usize = 3;

const DOCKER: Source =
    Source { rule: "residual", step: "docker/ps", file: "docker/ps.txt", says: "whether containers are left over" };
const CRI: Source =
    Source { rule: "residual", step: "cri/ps", file: "cri/ps.txt", says: "whether containers are left over" };
const PODS: &str = "cri/pods.txt";

/// Left-over containers of one kind: name, and line.
type Left = Vec<(String, u64)>;

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let (docker, cri) = (view.open(DOCKER.file).is_some(), view.open(CRI.file).is_some());
    let mut looked = None;
    if docker && let Some(text) = note::read(view, &DOCKER, &mut found) {
        let before = found.len();
        found.extend(of_docker(view, &docker_ps::parse(&text)));
        looked = (found.len() == before && text.contains("CONTAINER ID")).then_some(DOCKER.file);
    }
    if cri && let Some(text) = note::read(view, &CRI, &mut found) {
        let before = found.len();
        found.extend(of_cri(view, &crictl::containers(&text)));
        looked = looked.or((found.len() == before && text.contains("CONTAINER")).then_some(CRI.file));
    }
    if let Some(text) = note::text(view, PODS) {
        let containers = note::text(view, CRI.file).map(|text| crictl::containers(&text)).unwrap_or_default();
        // Lists may have short ids or whole ones. Without the list of containers nothing is known to stand alone.
        let with: BTreeSet<&str> = containers.iter().filter_map(|c| c.sandbox.get(..13)).collect();
        let now = note::collected(view);
        let old = |s: &crictl::Sandbox| age(s.made, now).is_none_or(|age| age >= CREATED_LONG);
        let alone = |s: &crictl::Sandbox| cri && s.id.get(..13).is_none_or(|id| !with.contains(id));
        let down: Left = crictl::sandboxes(&text)
            .iter()
            .filter(|s| !s.ready && old(s) && alone(s))
            .map(|s| (format!("{}/{}", s.namespace, s.name), s.line))
            .collect();
        found.extend(pauses(view, PODS, &down, false));
    }
    if !docker && !cri {
        // Which of the two there should be is not known: both reasons are told.
        found.extend(note::missing(view, &DOCKER));
        found.extend(note::missing(view, &CRI));
    }
    if let Some(file) = looked {
        let sentence = "No container is left over (Dead, under removal, made and never started).";
        found.push(Note::new(view, "residual/well", Severity::Info, sentence).cite(file, 0).done());
    }
    found
}

fn left(
    view: &NodeView,
    id: &str,
    grave: Severity,
    head: &str,
    file: &str,
    list: &Left,
    next: &str,
) -> Option<Finding> {
    list.first()?;
    let names: Vec<String> = list.iter().map(|(name, _)| name.clone()).collect();
    let noun = if id == "residual/pause" { "pause container" } else { "container" };
    let sentence = format!("{} {head}: {}.", wording::count(list.len(), noun), note::some(&names, 3));
    let note = Note::new(view, id, grave, &sentence).cite_all(file, list.iter().map(|(_, line)| *line));
    Some(if grave == Severity::Info { note.done() } else { note.layer(Layer::Runtime).next(next).done() })
}

fn short(name: &str, id: &str) -> String {
    let named = if name.is_empty() { id } else { name };
    format!("{} ({})", wording::cut(&note::name(named), 48), id.get(..12).unwrap_or(id))
}

fn of_docker(view: &NodeView, list: &[Container]) -> Vec<Finding> {
    let pick = |wanted: &dyn Fn(&Container) -> bool| -> Left {
        list.iter().filter(|c| wanted(c)).map(|c| (short(&c.name, &c.id), c.line)).collect()
    };
    let file = DOCKER.file;
    let dead = pick(&|c| c.state == State::Dead);
    let removing = pick(&|c| c.state == State::Removing);
    let long = |c: &Container| c.state == State::Created && c.age.is_some_and(|age| age >= CREATED_LONG);
    let created = pick(&|c| long(c) && c.kube_name().is_some());
    let by_hand = pick(&|c| long(c) && c.kube_name().is_none());
    let busy = "docker/journal.txt names the error of the removal (device or resource busy: another process holds the mount, \
                host/mounts.txt); where its shim stands: host/stuck.txt.";
    let start = "Their start failed or was not answered: docker/journal.txt has the error, else see the stacks of dockerd and shim.";
    let grave_from = |most: usize, list: &Left| if list.len() < most { Severity::Info } else { Severity::Warning };
    let mut found: Vec<Finding> = [
        left(view, "residual/dead", Severity::Warning, "Dead: removal failed", file, &dead, busy),
        left(
            view,
            "residual/removing",
            grave_from(REMOVING, &removing),
            "under removal at one moment",
            file,
            &removing,
            busy,
        ),
        left(
            view,
            "residual/created",
            grave_from(CREATED, &created),
            "made and not started for 10 minutes and more",
            file,
            &created,
            start,
        ),
        left(
            view,
            "residual/never-started",
            Severity::Info,
            "not of Kubernetes, made and never started",
            file,
            &by_hand,
            start,
        ),
    ]
    .into_iter()
    .flatten()
    .collect();

    let pause = |c: &&Container| c.kube_name().is_some_and(|k| k.container == "POD");
    let up: BTreeSet<&str> =
        list.iter().filter(|c| c.state == State::Up && !pause(c)).filter_map(|c| Some(c.kube_name()?.uid)).collect();
    let new: BTreeSet<&str> =
        list.iter().filter(|c| c.state == State::Up && pause(c)).filter_map(|c| Some(c.kube_name()?.uid)).collect();
    let others: BTreeSet<&str> = list.iter().filter(|c| !pause(c)).filter_map(|c| Some(c.kube_name()?.uid)).collect();
    // A container that runs on without a pause container of its pod has lost its network.
    let is_orphaned = |c: &Container| c.kube_name().is_some_and(|k| up.contains(k.uid) && !new.contains(k.uid));
    let (orphaned, alone): (Vec<&Container>, Vec<&Container>) = list
        .iter()
        .filter(|c| pause(c) && matches!(c.state, State::Exited(_)))
        .filter(|c| c.since.is_none_or(|since| since >= CREATED_LONG))
        .filter(|c| is_orphaned(c) || c.kube_name().is_some_and(|k| !others.contains(k.uid)))
        .partition(|c| is_orphaned(c));
    for (list, orphaned) in [(orphaned, true), (alone, false)] {
        let list: Left = list.into_iter().map(|c| (short(&c.name, &c.id), c.line)).collect();
        found.extend(pauses(view, file, &list, orphaned));
    }
    found
}

fn pauses(view: &NodeView, file: &str, list: &Left, orphaned: bool) -> Option<Finding> {
    let grave = if orphaned || list.len() >= PAUSES { Severity::Warning } else { Severity::Info };
    let head = if orphaned {
        "ended while other containers of the pod run"
    } else {
        "ended and stay alone, without another container of their pods"
    };
    let next = "The kubelet tears these sandboxes down again and again: look for StopPodSandbox and CNI errors in its journal.";
    left(view, "residual/pause", grave, head, file, list, next)
}

fn of_cri(view: &NodeView, list: &[crictl::Container]) -> Vec<Finding> {
    let now = note::collected(view);
    let pick = |state: &str, old: bool| -> Left {
        let wanted = |c: &&crictl::Container| c.state == state && (!old || age(c.made, now) >= Some(CREATED_LONG));
        list.iter().filter(wanted).map(|c| (short(&c.name, &c.id), c.line)).collect()
    };
    let created = pick("Created", true);
    let grave = if created.len() < CREATED { Severity::Info } else { Severity::Warning };
    let unknown = pick("Unknown", false);
    let next = "See containerd/journal.txt, and whether a shim of these containers still runs (host/ps.txt).";
    let warning = Severity::Warning;
    let first =
        left(view, "residual/created", grave, "made and not started for 10 minutes and more", CRI.file, &created, next);
    let second =
        left(view, "residual/unknown", warning, "in a state the runtime does not know", CRI.file, &unknown, next);
    first.into_iter().chain(second).collect()
}

fn age(made: Option<Made>, now: Option<Timestamp>) -> Option<Duration> {
    match made? {
        Made::Ago(age) => Some(age),
        Made::At(time) => Duration::try_from(now?.duration_since(time)).ok(),
    }
}
