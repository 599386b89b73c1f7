//! Gauges of the machine: load, memory, disks, pressure, tasks, network.

use super::sheet::Sheet;
use crate::analyze::rules::note::float;
use crate::analyze::tables::{df, memory, pressure, ps, sections, stat, top, traffic};

/// Mounts that are told of.
const MOUNTS: usize = 24;
/// Mounts that come and go with containers, or repeat another: they would only be noise.
const PASSING: [&str; 8] = [
    "/var/lib/docker/overlay2/",
    "/var/lib/docker/containers/",
    "/var/lib/kubelet/pods/",
    "/run/containerd/",
    "/run/user/",
    "/run/netns/",
    "/sys/",
    "/snap/",
];
/// File systems full by nature, or a picture of another.
const PICTURES: [&str; 5] = ["overlay", "shm", "squashfs", "/dev/loop", "/dev/sr"];

/// Writes what the files tell.
pub(super) fn fill(sheet: &mut Sheet<'_>) {
    load(sheet);
    memory(sheet);
    for (file, what) in [("host/df.txt", "disk"), ("host/df-inodes.txt", "inodes")] {
        disks(sheet, file, what);
    }
    tasks(sheet);
    if let Some(text) = sheet.text("host/mounts.txt") {
        sheet.count("mounts", lines(&text));
    }
    network(sheet);
}

fn lines(text: &str) -> u64 {
    let body = sections::sections(text).first().map_or(text, |section| section.body);
    body.lines().filter(|line| !line.trim().is_empty()).count() as u64
}

fn load(sheet: &mut Sheet<'_>) {
    if let Some(text) = sheet.text("host/pressure.txt") {
        let told = pressure::parse(&text);
        if let Some([one, five, _]) = told.load {
            sheet.gauge("load over 1 min", one);
            sheet.gauge("load over 5 min", five);
        }
        for (name, stall) in [("cpu", told.cpu), ("memory", told.memory), ("io", told.io)] {
            if let Some(some) = stall.some {
                sheet.gauge(&format!("pressure {name} over 1 min, %"), some.avg60);
            }
            if let Some(full) = stall.full.filter(|_| name != "cpu") {
                sheet.gauge(&format!("pressure {name} over 1 min, all stalled, %"), full.avg60);
            }
        }
    }
    let Some(text) = sheet.text("host/top-1.txt") else { return };
    let told = top::parse(&text);
    let load = told.load.or_else(|| stat::readings(&text).first()?.load);
    if let Some([one, five, _]) = load {
        sheet.gauge("load over 1 min", one);
        sheet.gauge("load over 5 min", five);
    }
    for (name, value) in [
        ("processors waiting for disks, %", told.wait_percent),
        ("processors taken by the hypervisor, %", told.steal_percent),
    ] {
        value.into_iter().for_each(|value| sheet.gauge(name, value));
    }
    let kswapd = told.rows.iter().filter(|row| row.command.starts_with("kswapd")).map(|row| row.cpu_percent);
    if !told.rows.is_empty() {
        sheet.gauge("processor used by kswapd, %", kswapd.fold(0.0, f64::max));
    }
}

fn memory(sheet: &mut Sheet<'_>) {
    let told = match sheet.text("host/meminfo.txt") {
        Some(text) => memory::memory(&text, false),
        None => sheet.text("host/free.txt").map(|text| memory::memory(&text, true)).unwrap_or_default(),
    };
    if let Some(available) = told.available_kb {
        sheet.count("memory available, KiB", available);
    }
    if let Some(percent) = told.available_percent() {
        sheet.gauge("memory available, %", percent);
    }
    if let (Some(total), Some(free)) = (told.swap_total_kb, told.swap_free_kb) {
        sheet.count("swap used, KiB", total.saturating_sub(free));
    }
    if let Some(text) = sheet.text("host/meminfo.txt") {
        let all = memory::meminfo(sections::sections(&text).first().map_or(text.as_str(), |section| section.body));
        for (key, name) in [("SUnreclaim", "slab that stays, KiB"), ("Dirty", "dirty pages, KiB")] {
            all.get(key).into_iter().for_each(|value| sheet.count(name, *value));
        }
    }
}

fn disks(sheet: &mut Sheet<'_>, file: &str, what: &str) {
    let Some(text) = sheet.text(file) else { return };
    let lasting = |system: &&df::FileSystem| {
        !PASSING.iter().any(|start| system.mount.starts_with(start))
            && !PICTURES.iter().any(|start| system.device.starts_with(start))
    };
    for system in df::parse(&text).iter().filter(lasting).take(MOUNTS) {
        if let Some(percent) = system.used_percent {
            sheet.gauge(&format!("{what} {} used, %", system.mount), f64::from(percent));
        }
    }
}

fn tasks(sheet: &mut Sheet<'_>) {
    let Some(text) = sheet.text("host/ps.txt") else { return };
    let processes = ps::parse(&text);
    if processes.list.is_empty() {
        return;
    }
    let states = processes.states();
    let of = |state: char| states.get(&state).copied().unwrap_or_default() as u64;
    sheet.count("processes", processes.list.len() as u64);
    sheet.count("zombies", of('Z'));
    sheet.count("processes in state D", of('D'));
    sheet.count("processes stopped (T)", of('T'));
}

fn network(sheet: &mut Sheet<'_>) {
    if let Some(text) = sheet.text("net/sockstat.txt") {
        for (line, key, name) in [
            ("sockets", "used", "sockets"),
            ("TCP", "tw", "TCP connections in TIME-WAIT"),
            ("TCP", "orphan", "orphaned TCP connections"),
        ] {
            traffic::sockets(&text, line, key).into_iter().for_each(|value| sheet.count(name, value));
        }
    }
    if let Some(text) = sheet.text("net/conntrack.txt") {
        let tracked = traffic::tracked(&text);
        if let (Some(count), Some(most)) = (tracked.count, tracked.most.filter(|most| *most > 0)) {
            sheet.gauge("tracked connections, % of the most", float(count) * 100.0 / float(most));
        }
    }
    if let Some(text) = sheet.text("net/interfaces.txt") {
        sheet.count("network interfaces", traffic::interfaces(&text).len() as u64);
    }
}
