//! How people and other tools call the files that a bundle has, in collections made by hand. Data, and the table of the
//! README made from it. Read by `files.rs`; bundles have their own names and no others.

/// Path in a bundle, and what else it is called, the surest first. Paths are relative to the directory that is given:
/// `kubelet.log` and `kern.log` of a directory of `kops toolbox dump` or the log dump of Kubernetes' own tests,
/// `kubelet/kubelet.log` and `kernel/dmesg.current` of the EKS log collector, `sos_commands/…` of sosreport.
pub const OTHER_NAMES: &[(&str, &[&str])] = &[
    (
        "kubelet/journal.txt",
        &[
            "kubelet.log",
            "kubelet.txt",
            "kubelet-journal.log",
            "kubelet_service.log",
            "kubelet/kubelet.log",
            "var/log/kubelet.log",
            "sos_commands/kubernetes/journalctl_--no-pager_--unit_kubelet",
            "sos_commands/openshift/journalctl_--no-pager_--unit_kubelet",
        ],
    ),
    ("kubelet/goroutine-1.txt", &["goroutine-1.txt", "goroutine.txt", "kubelet-goroutine.txt", "goroutine-debug2.txt"]),
    ("kubelet/goroutine-2.txt", &["goroutine-2.txt"]),
    ("kubelet/goroutine-groups-1.txt", &["goroutine-groups-1.txt", "goroutine-debug1.txt"]),
    ("kubelet/goroutine-groups-2.txt", &["goroutine-groups-2.txt"]),
    ("kubelet/metrics-1.txt", &["metrics-1.txt", "metrics.txt", "kubelet-metrics.txt"]),
    ("kubelet/metrics-2.txt", &["metrics-2.txt"]),
    (
        "docker/journal.txt",
        &["docker.log", "dockerd.log", "docker/docker.log", "sos_commands/docker/journalctl_--no-pager_--unit_docker"],
    ),
    ("docker/stacks/1.log", &["dockerd-stacks.log", "goroutine-stacks.log", "dockerd-stacks-1.log"]),
    ("docker/stacks/2.log", &["dockerd-stacks-2.log"]),
    ("docker/ps.txt", &["sos_commands/docker/docker_ps_-a"]),
    ("containerd/journal.txt", &["containerd.log", "sos_commands/containerd/journalctl_--no-pager_--unit_containerd"]),
    ("containerd/stacks/1.log", &["containerd-stacks.log"]),
    ("cri/ps.txt", &["crictl-ps.txt", "sos_commands/crio/crictl_ps_-a"]),
    ("cri/pods.txt", &["crictl-pods.txt", "sos_commands/crio/crictl_pods"]),
    (
        "kernel/dmesg.txt",
        &[
            "dmesg",
            "dmesg.log",
            "kern.log",
            "kernel/dmesg.human.current",
            "kernel/dmesg.current",
            "sos_commands/kernel/dmesg_-T",
            "sos_commands/kernel/dmesg",
            "var/log/kern.log",
        ],
    ),
    ("host/free.txt", &["free", "sos_commands/memory/free"]),
    ("host/meminfo.txt", &["meminfo", "proc/meminfo"]),
    ("host/vmstat.txt", &["vmstat"]),
    ("host/top-1.txt", &["top.txt", "top"]),
    ("host/df.txt", &["df"]),
    ("host/df-inodes.txt", &["df-i.txt", "storage/inodes.txt"]),
    ("cluster/nodes.jsonl", &["nodes.json", "sos_commands/kubernetes/cluster-info/kubectl_get_-o_json_nodes"]),
    ("cluster/metrics.txt", &["apiserver-metrics.txt"]),
    ("cluster/goroutines.txt", &["apiserver-goroutine.txt", "apiserver-goroutines.txt"]),
];

/// Endings of files that somebody packed, after any of the names.
pub const PACKED: [&str; 3] = ["", ".gz", ".zst"];

/// Returns the names a file of a bundle may have in a collection made by hand, its own first.
#[must_use]
pub fn names(path: &str) -> Vec<String> {
    let mut names = vec![path.to_owned(), path.replace('/', "-")];
    if let Some((_, name)) = path.split_once('/').filter(|(area, _)| matches!(*area, "host" | "kernel")) {
        names.push(name.to_owned());
    }
    let other = OTHER_NAMES.iter().filter(|(known, _)| *known == path).flat_map(|(_, names)| names.iter());
    names.extend(other.map(|name| (*name).to_owned()));
    names
}

/// Returns the table of the README.
#[must_use]
pub fn markdown_table() -> String {
    use std::fmt::Write as _;
    let mut out = String::from("| file of a bundle | also known as |\n|---|---|\n");
    for (path, names) in OTHER_NAMES {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{path}` | {} |", names.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_files() {
        let mut seen = BTreeSet::new();
        for (path, _) in OTHER_NAMES {
            for name in names(path) {
                assert!(seen.insert(name.clone()), "{name} stands for two files, one of them {path}");
                assert!(!name.starts_with('/') && !name.contains(".."), "{name}");
            }
        }
    }

    #[test]
    fn host_files_are_known_without_their_directory() {
        assert_eq!(names("host/df.txt")[..3], ["host/df.txt", "host-df.txt", "df.txt"]);
        assert!(names("kubelet/journal.txt").contains(&"kubelet.log".to_owned()));
        assert_eq!(names("docker/fds.txt"), ["docker/fds.txt", "docker-fds.txt"]);
    }
}
