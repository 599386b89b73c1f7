//! Too many pods or containers for the node, and daemons near their limit of open descriptors.

use super::note::{self, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::metrics::kubelet;
use crate::analyze::tables::{crictl, descriptors, docker_ps};
use crate::analyze::view::NodeView;
use crate::wording;

/// Kubernetes is made for 110 pods a node (its documentation on large clusters); up to 250 is in use with care.
const PODS: usize = 110;
/// Beyond this relist, one call for each changed pod, falls behind on common machines.
const PODS_TOO_MANY: usize = 250;
/// Containers, ended ones too but without those of pods' pause: relist goes through all of them. 600 on one node ended in a
/// blocked relist.
const CONTAINERS: usize = 500;
/// Seconds at the 99th percentile below which relist keeps up with any number; it is begun every second.
const KEEPS_UP_S: f64 = 1.0;
/// Percent of the limit of open descriptors.
const DESCRIPTORS_PERCENT: u64 = 80;
/// Percent at which there is no time left: the next burst of exec or log streams fails.
const DESCRIPTORS_LEFT: u64 = 95;
/// Descriptors that are a leak whatever the limit; a dockerd in trouble had 19,000, a healthy one has some ten a container.
const DESCRIPTORS: u64 = 10_000;
/// Descriptors a container that many containers explain.
const PER_CONTAINER: u64 = 30;

const DOCKER_PS: &str = "docker/ps.txt";
const CRI_PS: &str = "cri/ps.txt";
const CRI_PODS: &str = "cri/pods.txt";
const FDS: [(&str, Layer, Source); 2] = [
    (
        "dockerd",
        Layer::Dockerd,
        Source {
            rule: "crowd",
            step: "docker/fds",
            file: "docker/fds.txt",
            says: "how many descriptors dockerd has open",
        },
    ),
    (
        "containerd",
        Layer::Containerd,
        Source {
            rule: "crowd",
            step: "containerd/fds",
            file: "containerd/fds.txt",
            says: "how many descriptors containerd has open",
        },
    ),
];

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let crowd = Crowd::of(view);
    let mut found: Vec<Finding> = crowd.told(view).into_iter().collect();
    for (daemon, layer, source) in FDS {
        // A node without the daemon has nothing to miss.
        let missed = view.step(source.step).is_some_and(|s| s.outcome == crate::evidence::Outcome::Absent);
        if let Some(text) = (!missed).then(|| note::read(view, &source, &mut found)).flatten() {
            found.extend(open(view, daemon, layer, source.file, &descriptors::parse(&text), &crowd));
        }
    }
    found
}

/// What the runtime has.
struct Crowd {
    pods: usize,
    containers: usize,
    pauses: usize,
    /// The lists that were read.
    files: Vec<&'static str>,
}

impl Crowd {
    fn of(view: &NodeView) -> Self {
        let docker = note::text(view, DOCKER_PS).map(|text| docker_ps::parse(&text)).unwrap_or_default();
        let cri = note::text(view, CRI_PS).map(|text| crictl::containers(&text)).unwrap_or_default();
        let sandboxes = note::text(view, CRI_PODS).map(|text| crictl::sandboxes(&text)).unwrap_or_default();
        let pauses: Vec<&docker_ps::Container> =
            docker.iter().filter(|c| c.kube_name().is_some_and(|k| k.container == "POD")).collect();
        let up = pauses.iter().filter(|c| c.state == docker_ps::State::Up).count();
        // A node with cri-dockerd shows the same containers twice, so the greater number holds.
        let of_docker = docker.len() - pauses.len();
        Self {
            pods: up.max(sandboxes.iter().filter(|s| s.ready).count()),
            containers: of_docker.max(cri.len()),
            pauses: pauses.len().max(sandboxes.len()),
            files: [(DOCKER_PS, docker.is_empty()), (CRI_PS, cri.is_empty()), (CRI_PODS, sandboxes.is_empty())]
                .into_iter()
                .filter_map(|(file, empty)| (!empty).then_some(file))
                .collect(),
        }
    }

    fn told(&self, view: &NodeView) -> Option<Finding> {
        let Self { pods, containers, pauses, .. } = *self;
        if containers + pauses == 0 {
            return None;
        }
        let many = pods > PODS_TOO_MANY || containers > CONTAINERS;
        let pods_of = wording::count(pods, "pod");
        let sentence = if self.files == [CRI_PODS] {
            format!("The runtime has {pods_of} running.")
        } else {
            let containers = wording::count(containers, "container");
            format!("The runtime has {containers}, ended ones counted, and {pods_of} running.")
        };
        let cite = |note: Note| self.files.iter().fold(note, |note, file| note.cite(file, 0));
        let keeps_up = if many { relist_p99(view) } else { None }.filter(|(p99, _)| *p99 < KEEPS_UP_S);
        if let Some((p99, metrics)) = keeps_up {
            let sentence = format!("{sentence} That is much, and relist keeps up with it (p99 {p99:.3} s).");
            return Some(cite(Note::new(view, "crowd/many", Severity::Info, &sentence)).cite(metrics, 0).done());
        }
        if !many {
            let id = if pods > PODS { "crowd/many" } else { "crowd/well" };
            return Some(cite(Note::new(view, id, Severity::Info, &sentence)).done());
        }
        let next = "Move pods to other nodes (maxPods), and remove ended containers (the kubelet's maximum-dead-containers, docker \
                    container prune); how long relist takes: kubelet/metrics-2.txt.";
        let sentence = format!(
            "{sentence} That is more than relist keeps up with on common machines ({PODS_TOO_MANY} pods, {CONTAINERS} containers)."
        );
        let note = Note::new(view, "crowd/too-many", Severity::Warning, &sentence).layer(Layer::Runtime).next(next);
        Some(cite(note).done())
    }
}

/// The 99th percentile of relist by the newest metrics: between the two scrapes, else since the kubelet's start.
fn relist_p99(view: &NodeView) -> Option<(f64, &'static str)> {
    let [first, second] = view.scrapes();
    let (scrape, file) = match (second, first) {
        (Some(second), _) => (second, "kubelet/metrics-2.txt"),
        (None, Some(first)) => (first, "kubelet/metrics-1.txt"),
        (None, None) => return None,
    };
    let all = kubelet::relist(scrape).duration?;
    let before = second.as_ref().and(first.as_ref()).and_then(|s| kubelet::relist(s).duration);
    let added = before.and_then(|b| all.since(&b)).filter(|d| d.count > Some(0.0));
    Some((added.unwrap_or(all).quantile(0.99)?.value, file))
}

fn open(
    view: &NodeView,
    daemon: &str,
    layer: Layer,
    file: &str,
    list: &descriptors::Descriptors,
    crowd: &Crowd,
) -> Option<Finding> {
    let count = list.count?;
    let held = u64::try_from(crowd.containers + crowd.pauses).unwrap_or(u64::MAX);
    let percent = list.used_percent();
    let of = list.limit.map(|l| format!(" of {l}")).unwrap_or_default();
    let grave = match percent {
        Some(p) if p >= DESCRIPTORS_LEFT => Severity::Critical,
        Some(p) if p >= DESCRIPTORS_PERCENT => Severity::Warning,
        _ if count >= DESCRIPTORS && count / PER_CONTAINER >= held => Severity::Warning,
        _ => return None,
    };
    let kinds: Vec<String> = list.kinds.iter().map(|(kind, n)| format!("{n} × {kind}")).collect();
    let each = count.checked_div(held).map(|n| format!(", {n} for each of {held} containers")).unwrap_or_default();
    let sentence = format!("{daemon} has {count}{of} descriptors open{each}: {}.", note::some(&kinds, 3));
    let next = "The most frequent kind says what leaks: sockets are clients that never end (docker logs, exec, stats), \
                init-stdout and init-stderr are containers whose end was missed.";
    let note = Note::new(view, "crowd/descriptors", grave, &sentence).layer(layer).cite(file, list.line);
    Some(note.next(next).signature(&format!("{daemon} descriptors")).done())
}
