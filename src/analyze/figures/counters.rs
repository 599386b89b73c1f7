//! Counters, with the time they were read and whose they are, and rates where one look read them twice.

use super::daemons::program;
use super::sheet::Sheet;
use crate::analyze::metrics::{Scrape, increase, kubelet};
use crate::analyze::rules::note::float;
use crate::analyze::tables::{pressure, ps, stat, traffic, vmstat};

/// Counters of /proc/vmstat, and their names in the report. Several of one name are added up.
const VMSTAT: &[(&str, &str)] = &[
    ("oom_kill", "oom kills"),
    ("pgmajfault", "major page faults"),
    ("pswpin", "pages swapped in"),
    ("pswpout", "pages swapped out"),
    ("allocstall", "allocations that stalled"),
    ("pgscan_direct", "pages scanned for want of memory"),
];
/// Counters of TCP.
const TCP: &[(&str, &str)] = &[
    ("TcpExt.ListenDrops", "connections dropped by full listen queues"),
    ("TcpExt.TCPTimeouts", "TCP timeouts"),
    ("Tcp.RetransSegs", "TCP segments sent again"),
];
/// Series of the kubelet that are one counter, by their names of all versions.
const SERIES: &[(&str, &[&str])] = &[
    ("kubelet cpu, s", &["process_cpu_seconds_total"]),
    ("relist events thrown away", &["kubelet_pleg_discard_events", "kubelet_pleg_discard_events_total"]),
    ("containers started", &["kubelet_started_containers_total"]),
    ("containers not started for errors", &["kubelet_started_containers_errors_total"]),
    ("pods started", &["kubelet_started_pods_total"]),
    ("pods not started for errors", &["kubelet_started_pods_errors_total"]),
];

/// Writes what the files tell.
pub(super) fn fill(sheet: &mut Sheet<'_>) {
    of_kubelet(sheet);
    of_kernel(sheet);
    of_network(sheet);
    of_daemons(sheet);
}

/// Returns the counters of one scrape.
fn of_scrape(scrape: &Scrape) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    for (name, series) in SERIES {
        let value = series.iter().find_map(|series| scrape.sum(series));
        found.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    let relist = kubelet::relist(scrape).duration;
    found.extend(relist.as_ref().and_then(|d| d.count).map(|count| ("relists".to_owned(), count)));
    found.extend(relist.and_then(|d| d.sum).map(|sum| ("time in relists, s".to_owned(), sum)));
    let operations = kubelet::operations(scrape);
    if !operations.is_empty() {
        found.push(("runtime calls".to_owned(), operations.iter().filter_map(|o| o.count).sum()));
        found.push(("runtime calls that failed".to_owned(), operations.iter().map(|o| o.errors).sum()));
        let time = operations.iter().filter_map(|o| o.latency.as_ref()?.sum).sum();
        found.push(("time in runtime calls, s".to_owned(), time));
        let failed = operations.iter().filter(|o| o.errors > 0.0);
        found.extend(failed.map(|o| (format!("runtime calls that failed: {}", o.kind), o.errors)));
    }
    found
}

fn of_kubelet(sheet: &mut Sheet<'_>) {
    let [first, second] = sheet.view.scrapes();
    let (last, step) = match (first, second) {
        (_, Some(scrape)) => (scrape, "kubelet/metrics-2"),
        (Some(scrape), None) => (scrape, "kubelet/metrics-1"),
        (None, None) => return,
    };
    let started = kubelet::started(last);
    let of = started.map(|time| format!("kubelet started at {time}"));
    let now = of_scrape(last);
    for (name, value) in &now {
        sheet.counter(name, *value, step, of.as_deref());
    }
    // Scrapes that agree in everything are one and the same answer.
    let (Some(before), true) = (first, second.is_some() && first != second) else { return };
    let apart = sheet.time("kubelet/metrics-1").zip(sheet.time(step)).map(|(a, b)| b.duration_since(a).as_secs_f64());
    let one = kubelet::started(before).is_none_or(|time| started.is_none_or(|now| now == time));
    let Some(apart) = apart.filter(|s| *s >= 1.0 && one) else { return };
    let was = of_scrape(before);
    for (name, value) in now {
        // A series of failures is not there before the first one.
        let earlier = was.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value);
        if let Some(grown) = increase(earlier, value) {
            sheet.rate(&name, grown / apart);
        }
    }
}

fn of_kernel(sheet: &mut Sheet<'_>) {
    if let Some(text) = sheet.text("host/vmstat.txt") {
        let all = vmstat::parse(&text);
        for (key, name) in VMSTAT {
            // Newer kernels count by zone: `allocstall_normal`, and throttling apart.
            let parts = all.iter().filter(|(k, _)| {
                k.strip_prefix(key)
                    .is_some_and(|rest| rest.is_empty() || (rest.starts_with('_') && *key == "allocstall"))
            });
            let parts: Vec<u64> = parts.map(|(_, value)| *value).collect();
            if !parts.is_empty() {
                sheet.counter(name, parts.into_iter().map(float).sum(), "host/vmstat", None);
            }
        }
    }
    if let Some(text) = sheet.text("host/pressure.txt") {
        let told = pressure::parse(&text);
        for (name, stall) in [("cpu", told.cpu), ("memory", told.memory), ("io", told.io)] {
            if let Some(some) = stall.some.filter(|some| some.total_us > 0) {
                sheet.counter(&format!("stalled for {name}, s"), float(some.total_us) / 1e6, "host/pressure", None);
            }
        }
    }
    for step in ["host/sar-cpu", "host/top-2", "host/top-1"] {
        let Some(text) = sheet.text(&format!("{step}.txt")) else { continue };
        let readings = stat::readings(&text);
        let [first, second] = readings.as_slice() else { continue };
        let apart = first.after_boot.zip(second.after_boot).map(|(a, b)| b - a).filter(|s| *s >= 0.1);
        for (name, was, now) in [
            ("context switches", first.switches, second.switches),
            ("processes and threads made", first.forks, second.forks),
        ] {
            let (Some(was), Some(now)) = (was, now) else { continue };
            sheet.counter(name, now, step, None);
            if let (Some(grown), Some(apart)) = (increase(was, now), apart) {
                sheet.rate(name, grown / apart);
            }
        }
    }
}

fn of_network(sheet: &mut Sheet<'_>) {
    if let Some(text) = sheet.text("net/sockstat.txt") {
        let all = traffic::protocols(&text);
        for (key, name) in TCP {
            all.get(*key).into_iter().for_each(|value| sheet.counter(name, float(*value), "net/sockstat", None));
        }
    }
    if let Some(text) = sheet.text("net/interfaces.txt") {
        // Those of pods come and go, and their counters with them.
        let lasting = traffic::interfaces(&text).into_iter().filter(|i| !i.paired && i.name != "lo");
        let lost: Vec<u64> = lasting.map(|i| i.lost).collect();
        if !lost.is_empty() {
            let all = lost.into_iter().map(float).sum();
            sheet.counter("packets lost by interfaces", all, "net/interfaces", None);
        }
    }
    if let Some(dropped) = sheet.text("net/conntrack.txt").and_then(|text| traffic::tracked(&text).dropped) {
        sheet.counter("packets lost by connection tracking", float(dropped), "net/conntrack", None);
    }
}

/// Processor time by the process list, in whole seconds.
fn of_daemons(sheet: &mut Sheet<'_>) {
    let Some(text) = sheet.text("host/ps.txt") else { return };
    let list = ps::parse(&text).list;
    for daemon in ["kubelet", "dockerd", "containerd"] {
        let of = list.iter().filter(|process| program(&process.command) == daemon);
        let most = of.filter_map(|process| Some((seconds(process.time.as_deref()?)?, process.pid)));
        if let Some((time, pid)) = most.max() {
            let name = format!("{daemon} cpu by ps, s");
            sheet.counter(&name, float(time), "host/ps", Some(&format!("{daemon} of pid {pid}")));
        }
    }
}

/// Reads processor time of ps: `00:00:27`, `1-02:03:04`.
fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let mut all: u64 = 0;
    for part in rest.split(':') {
        all = all.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    days.parse::<u64>().ok()?.checked_mul(86_400)?.checked_add(all)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn processor_time_is_read_in_all_its_forms() {
        for (text, want) in [
            ("00:00:27", Some(27)),
            ("1-02:03:04", Some(86_400 + 7_384)),
            ("12:03", Some(723)),
            ("-", None),
            ("x", None),
            ("99999999999999999999:1:1", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
