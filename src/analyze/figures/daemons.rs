//! Gauges of the runtime and the daemons: containers, pods, descriptors, memory, goroutines by their own count.

use super::sheet::Sheet;
use crate::analyze::metrics::kubelet;
use crate::analyze::rules::note;
use crate::analyze::tables::{crictl, descriptors, docker_info, docker_ps, ps, stuck};

/// Name, and how its process is called. dockerd's `containerd` is the same program.
const DAEMONS: [&str; 5] = ["kubelet", "dockerd", "containerd", "crio", "cri-dockerd"];

/// Writes what the files tell.
pub(super) fn fill(sheet: &mut Sheet<'_>) {
    containers(sheet);
    for daemon in ["dockerd", "containerd"] {
        let file = format!("{}/fds.txt", if daemon == "dockerd" { "docker" } else { daemon });
        let count = sheet.text(&file).and_then(|text| descriptors::parse(&text).count);
        count.into_iter().for_each(|count| sheet.count(&format!("descriptors of {daemon}"), count));
    }
    of_kubelet(sheet);
    processes(sheet);
    if let Some(facts) = note::facts(sheet.view).filter(|facts| !facts.partial && !facts.kernel.is_empty()) {
        sheet.count("shims", u64::from(facts.shims));
    }
    if let Some(text) = sheet.text("host/runc.txt") {
        sheet.count("runc processes that linger", stuck::runc(&text).len() as u64);
    }
}

fn containers(sheet: &mut Sheet<'_>) {
    let docker = sheet.text("docker/ps.txt").map(|text| docker_ps::parse(&text)).unwrap_or_default();
    let cri = sheet.text("cri/ps.txt").map(|text| crictl::containers(&text)).unwrap_or_default();
    let sandboxes = sheet.text("cri/pods.txt").map(|text| crictl::sandboxes(&text)).unwrap_or_default();
    if !docker.is_empty() {
        sheet.count("containers", docker.len() as u64);
        let of = |state: &dyn Fn(&docker_ps::Container) -> bool| docker.iter().filter(|c| state(c)).count() as u64;
        sheet.count("containers running", of(&|c| c.state == docker_ps::State::Up));
        sheet.count("containers left over", of(&docker_ps::Container::is_residual));
        sheet.count("containers made and not started", of(&|c| c.state == docker_ps::State::Created));
        sheet.count(
            "pods",
            of(&|c| c.state == docker_ps::State::Up && c.kube_name().is_some_and(|name| name.container == "POD")),
        );
    } else if !cri.is_empty() {
        sheet.count("containers", cri.len() as u64);
        sheet.count("containers running", cri.iter().filter(|c| c.state == "Running").count() as u64);
    }
    if !sandboxes.is_empty() {
        sheet.count("pods", sandboxes.iter().filter(|pod| pod.ready).count() as u64);
        sheet.count("pod sandboxes not ready", sandboxes.iter().filter(|pod| !pod.ready).count() as u64);
    }
    let Some(info) = sheet.text("docker/info.json").and_then(|text| docker_info::parse(&text)) else { return };
    for (name, value) in [
        ("containers", info.containers),
        ("containers running", info.running),
        ("containers paused", info.paused),
        ("images", info.images),
        ("descriptors of dockerd", info.descriptors),
    ] {
        value.into_iter().for_each(|value| sheet.count(name, value));
    }
}

fn of_kubelet(sheet: &mut Sheet<'_>) {
    let [first, second] = sheet.view.scrapes();
    let Some(scrape) = second.as_ref().or(first.as_ref()) else { return };
    let one = |name: &str| scrape.one(name, &[]).map(|series| series.value);
    let running = scrape.one("kubelet_running_containers", &[("container_state", "running")]).map(|s| s.value);
    for (name, value) in [
        ("pods", kubelet::running_pods(scrape)),
        ("containers", kubelet::containers(scrape)),
        ("containers running", running),
        ("descriptors of kubelet", one("process_open_fds")),
        ("memory of kubelet, KiB", one("process_resident_memory_bytes").map(|bytes| bytes / 1024.0)),
        ("goroutines of kubelet", one("go_goroutines")),
    ] {
        value.into_iter().for_each(|value| sheet.gauge(name, value));
    }
}

/// Memory by the process list, the largest process of each name: dockerd's containerd and one of its own are both so called.
fn processes(sheet: &mut Sheet<'_>) {
    let Some(text) = sheet.text("host/ps.txt") else { return };
    let list = ps::parse(&text).list;
    for daemon in DAEMONS {
        let name = format!("memory of {daemon}, KiB");
        let of = list.iter().filter(|process| program(&process.command) == daemon).filter_map(|process| process.rss_kb);
        if let Some(most) = of.max().filter(|_| !sheet.has(&name)) {
            sheet.count(&name, most);
        }
    }
}

/// `/usr/bin/dockerd -H fd://` is dockerd.
pub(super) fn program(command: &str) -> &str {
    let path = command.split(' ').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}
