//! What a single file is, by its content: the path in a bundle that it stands for, and the machine it names. Says nothing
//! where it is not certain. Called by `source.rs`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;

use super::files::regular;
use super::journal_json::Plain;
use super::log::{Clock, Form, LogReader};
use super::pprof::Profile;
use crate::bundle::packed::{Packing, unpacking};

/// Looked at to tell what a file is.
const HEAD: u64 = 4 << 20;
/// Lines of a log that are looked at for the machine's name and the program.
const LINES: u32 = 2_000;
/// Lines of the kernel's log that make one certain.
const KERNEL_LINES: usize = 3;

/// Source files whose lines only a kubelet logs; `kubelet.go` and its like, by the start of their names.
const KUBELET_SOURCES: &[&str] =
    &["kubelet", "kuberuntime_", "pod_workers.", "remote_runtime.", "generic.go", "eviction_manager."];

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recognised {
    /// Path in a bundle.
    pub(super) stands_for: &'static str,
    /// The machine a log names in its lines.
    pub(super) host: Option<String>,
}

/// Tells what a file is, or in one sentence why that cannot be told.
pub(super) fn recognised(path: &Path) -> Result<Recognised, String> {
    let file = regular(path).map_err(|e| e.to_string())?;
    let head = head(file).map_err(|e| e.to_string())?;
    if let Some(why) = archive(&head) {
        return Err(why.to_owned());
    }
    let second = is_second(path);
    if let Some(stands_for) = table(&head) {
        return Ok(Recognised { stands_for, host: None });
    }
    let log = log(&head);
    let dump = dump(&head, second);
    // A kubelet's log may hold the stacks of a panic; a journal may hold the dump of a daemon in one line.
    if let Some(log) = log.as_ref().filter(|log| log.stands_for == "kubelet/journal.txt" && log.lines > heads(&head)) {
        return Ok(Recognised { stands_for: log.stands_for, host: log.host.clone() });
    }
    if let Some(stands_for) = dump {
        return Ok(Recognised { stands_for, host: log.and_then(|log| log.host) });
    }
    if let Some(log) = log {
        return Ok(Recognised { stands_for: log.stands_for, host: log.host });
    }
    if let Some(stands_for) = metrics(&head, second) {
        return Ok(Recognised { stands_for, host: None });
    }
    if Profile::read(head.as_slice()).is_ok_and(|profile| !profile.kinds.is_empty()) {
        return Err("it is a profile in the form of pprof, which no rule reads; of goroutines, take /debug/pprof/goroutine?debug=2"
            .to_owned());
    }
    Err("its content is nothing that is known: no bundle, no goroutine dump or log of kubelet, dockerd or containerd, no metrics \
         of kubelet or API server, and no output of dmesg, docker ps, crictl, ps, top, free, df or iostat"
        .to_owned())
}

fn head(file: File) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    // What can be unpacked before damage is looked at.
    let result = Plain::new(unpacking(file)?).take(HEAD).read_to_end(&mut head);
    if head.is_empty() { result.map(|_| head) } else { Ok(head) }
}

/// Tells that it is an archive or packed in a way that is not read here.
fn archive(head: &[u8]) -> Option<&'static str> {
    if is_tar(head) {
        return Some("it is a tar archive; unpack it and name its directory");
    }
    if head.starts_with(b"\xfd7zXZ\0") || head.starts_with(b"BZh") || head.starts_with(b"PK\x03\x04") {
        return Some("it is packed with xz, bzip2 or zip; unpack it and name what is in it");
    }
    head.is_empty().then_some("it is empty")
}

/// Tells whether this is how a tar archive begins.
pub(super) fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Tells whether what is packed in a file is a tar archive, as it is in a bundle.
pub(super) fn holds_tar(path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok(file) = regular(path) else { return false };
    let Ok(unpacked) = unpacking(file) else { return false };
    let _ = unpacked.take(512).read_to_end(&mut head);
    is_tar(&head)
}

/// Tells whether a file is packed with zstd.
pub(super) fn is_zstd(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = regular(path).and_then(|file| file.take(4).read_to_end(&mut head));
    read.is_ok() && Packing::of(&head) == Packing::Zstd
}

fn has(head: &[u8], mark: &str) -> bool {
    memchr::memmem::find(head, mark.as_bytes()).is_some()
}

/// Counts blocks of a dump.
fn heads(head: &[u8]) -> usize {
    memchr::memmem::find_iter(head, b"goroutine ").count()
}

/// Tells whether a name says that it is the second sample: `goroutine-2.txt`, `stacks2.log`.
fn is_second(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.strip_suffix('2').is_some_and(|rest| !rest.ends_with(|c: char| c.is_ascii_digit()))
}

/// Tells whose dump of goroutines it is.
fn dump(head: &[u8], second: bool) -> Option<&'static str> {
    let grouped = has(head, "goroutine profile: total");
    if !(grouped || has(head, "\ngoroutine ") || head.starts_with(b"goroutine ") || has(head, "created by ")) {
        return None;
    }
    // The kubelet and dockerd have packages of containerd in them, and k3s all of them: the outermost comes first.
    let of = |marks: &[&str]| marks.iter().any(|mark| has(head, mark));
    Some(if of(&["k8s.io/kubernetes/pkg/kubelet"]) {
        match (grouped, second) {
            (true, false) => "kubelet/goroutine-groups-1.txt",
            (true, true) => "kubelet/goroutine-groups-2.txt",
            (false, false) => "kubelet/goroutine-1.txt",
            (false, true) => "kubelet/goroutine-2.txt",
        }
    } else if of(&[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kube-aggregator",
        "k8s.io/kubernetes/pkg/controlplane",
    ]) {
        "cluster/goroutines.txt"
    } else if of(&["github.com/docker/docker/", "github.com/moby/moby/"]) {
        match (grouped, second) {
            (true, false) => "docker/pprof/goroutine-1.txt",
            (true, true) => "docker/pprof/goroutine-2.txt",
            (false, false) => "docker/stacks/1.log",
            (false, true) => "docker/stacks/2.log",
        }
    } else if of(&["github.com/containerd/containerd/runtime/v2/shim", "containerd-shim-runc"])
        && !of(&["github.com/containerd/containerd/services"])
    {
        "containerd/shims.txt"
    } else if of(&["github.com/containerd/containerd"]) {
        if second { "containerd/stacks/2.log" } else { "containerd/stacks/1.log" }
    } else {
        return None;
    })
}

/// Tells whose metrics they are.
fn metrics(head: &[u8], second: bool) -> Option<&'static str> {
    if has(head, "\nkubelet_") {
        return Some(if second { "kubelet/metrics-2.txt" } else { "kubelet/metrics-1.txt" });
    }
    let own = ["\napiserver_request_total", "\napiserver_flowcontrol_", "\napiserver_current_inflight_requests"];
    own.iter().any(|name| has(head, name)).then_some("cluster/metrics.txt")
}

/// What a log is.
struct Log {
    stands_for: &'static str,
    host: Option<String>,
    /// Lines of that program.
    lines: usize,
}

fn log(head: &[u8]) -> Option<Log> {
    let mut reader = LogReader::new(head, Clock::utc(Timestamp::now()));
    let (mut kubelet, mut dockerd, mut containerd) = (0_usize, 0_usize, 0_usize);
    let mut host = None;
    for _ in 0..LINES {
        let Ok(Some(line)) = reader.next_line() else { break };
        let klog = matches!(line.form, Form::Klog | Form::KlogStructured);
        match line.identifier {
            Some("kubelet") => kubelet += 1,
            Some("dockerd") => dockerd += 1,
            Some("containerd") => containerd += 1,
            // Alone in its file, or within k3s, which logs for all of its parts.
            _ if klog && line.source.is_some_and(|s| KUBELET_SOURCES.iter().any(|known| s.starts_with(known))) => {
                kubelet += 1;
            }
            _ => continue,
        }
        host = host.or_else(|| line.host.map(str::to_owned));
    }
    let (lines, stands_for) =
        [(kubelet, "kubelet/journal.txt"), (dockerd, "docker/journal.txt"), (containerd, "containerd/journal.txt")]
            .into_iter()
            .max_by_key(|(lines, _)| *lines)?;
    (lines > 0).then_some(Log { stands_for, host, lines })
}

/// Tells what a table or a text of a tool is, by how it begins.
fn table(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head.get(..64 << 10).unwrap_or(head));
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let all = |words: &[&str]| words.iter().all(|word| first.contains(word));
    let docker_json = first.starts_with('{') && all(&["\"Names\":", "\"Image\":", "\"Status\":", "\"Command\":"]);
    let found = if docker_json || (first.starts_with("CONTAINER ID") && all(&["IMAGE", "COMMAND", "STATUS"])) {
        "docker/ps.txt"
    } else if first.starts_with("CONTAINER") && all(&["IMAGE", "STATE", "ATTEMPT", "POD ID"]) {
        "cri/ps.txt"
    } else if first.starts_with("POD ID") && all(&["STATE", "NAMESPACE", "ATTEMPT"]) {
        "cri/pods.txt"
    } else if first.starts_with("top - ") && first.contains("load average:") {
        "host/top-1.txt"
    } else if first.starts_with("Filesystem") && all(&["IUse%", "Mounted on"]) {
        "host/df-inodes.txt"
    } else if first.starts_with("Filesystem") && all(&["Use%", "Mounted on"]) {
        "host/df.txt"
    } else if all(&["total", "used", "free", "shared"]) && text.contains("\nMem:") {
        "host/free.txt"
    } else if first.starts_with("F S UID") && all(&["PID", "PPID", "CMD"])
        || first.starts_with("UID ") && all(&["PPID", "CMD"])
    {
        "host/ps.txt"
    } else if first.starts_with("MemTotal:") && text.contains("\nMemAvailable:") {
        "host/meminfo.txt"
    } else if first.starts_with("Linux ") && text.contains("avg-cpu:") && text.contains("\nDevice") {
        "host/iostat.txt"
    } else if first.starts_with('{') && text.contains("\"ServerVersion\"") && text.contains("\"ContainersRunning\"") {
        "docker/info.json"
    } else if first.starts_with('{') && text.contains("\"nodeInfo\"") && text.contains("\"kubeletVersion\"") {
        "cluster/nodes.jsonl"
    } else if first.starts_with("[+]ping ok") && text.contains("livez check") {
        "cluster/livez.txt"
    } else if first.starts_with("[+]ping ok") && text.contains("readyz check") {
        "cluster/readyz.txt"
    } else {
        return is_kernel_log(&text).then_some("kernel/dmesg.txt");
    };
    Some(found)
}

/// Tells whether most lines begin as those of dmesg do: `[   12.345678] `, `[Fri Nov 20 21:29:08 2026] `.
fn is_kernel_log(text: &str) -> bool {
    const DAYS: [&str; 7] = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
    let stamped = |line: &&str| {
        let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(stamp, _)| stamp.trim());
        stamp
            .is_some_and(|s| DAYS.iter().any(|day| s.starts_with(day)) || (s.contains('.') && s.parse::<f64>().is_ok()))
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(200).collect();
    let found = lines.iter().filter(|line| stamped(line)).count();
    found >= KERNEL_LINES && found * 2 > lines.len()
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
