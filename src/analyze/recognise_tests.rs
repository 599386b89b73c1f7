//! Genuine files are recognised by their content, and what is not certain is not.

#![expect(clippy::disallowed_methods, reason = "tests write what they read")]

use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::analyze::test_support::fixture;

fn what(path: &Path) -> Result<&'static str, String> {
    recognised(path).map(|found| found.stands_for)
}

#[test]
fn genuine_files_are_what_they_are() {
    for (file, want) in [
        ("analyze/kubelet-hang.log", "kubelet/journal.txt"),
        ("analyze/docker-journal.txt", "docker/journal.txt"),
        ("analyze/containerd-1.6-journal.txt", "containerd/stacks/1.log"),
        ("analyze/dockerd-20.10-convoy-1.log", "docker/stacks/1.log"),
        ("analyze/dockerd-20.10-convoy-2.log", "docker/stacks/2.log"),
        ("analyze/dockerd-20.10-convoy-debug1.txt", "docker/pprof/goroutine-1.txt"),
        ("analyze/containerd-1.6-1.log", "containerd/stacks/1.log"),
        ("kubelet/kubelet-1.36.2/goroutine-debug1.txt", "kubelet/goroutine-groups-1.txt"),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt", "kubelet/goroutine-1.txt"),
        ("kube-apiserver/goroutine-debug1.txt", "cluster/goroutines.txt"),
        ("kubelet/kubelet-1.36.2/metrics.txt", "kubelet/metrics-1.txt"),
        ("kubelet/kubelet-1.21.1-dockershim/metrics.txt", "kubelet/metrics-1.txt"),
        ("kube-apiserver/metrics-excerpt.txt", "cluster/metrics.txt"),
        ("kube-apiserver/nodes.json", "cluster/nodes.jsonl"),
        ("kube-apiserver/readyz-verbose.txt", "cluster/readyz.txt"),
        ("kube-apiserver/livez-verbose.txt", "cluster/livez.txt"),
        ("analyze/dmesg.txt", "kernel/dmesg.txt"),
        ("analyze/docker-ps.txt", "docker/ps.txt"),
        ("analyze/docker-ps.jsonl", "docker/ps.txt"),
        ("analyze/docker-info.json", "docker/info.json"),
        ("analyze/top.txt", "host/top-1.txt"),
        ("analyze/free.txt", "host/free.txt"),
        ("analyze/df.txt", "host/df.txt"),
        ("analyze/df-inodes.txt", "host/df-inodes.txt"),
        ("analyze/ps.txt", "host/ps.txt"),
        ("analyze/meminfo.txt", "host/meminfo.txt"),
        ("analyze/iostat.txt", "host/iostat.txt"),
    ] {
        assert_eq!(what(&fixture(file)).as_deref(), Ok(want), "{file}");
    }
}

#[test]
fn a_journal_names_its_machine() {
    let found = recognised(&fixture("analyze/kubelet-journal.txt")).unwrap();
    assert_eq!(found, Recognised { stands_for: "kubelet/journal.txt", host: Some("worker-006".to_owned()) });
}

#[test]
fn packed_files_and_journald_s_json_are_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let log = fs::read(fixture("analyze/kubelet-hang.log")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&log).unwrap();
    let packed = gzip.finish().unwrap();
    let json = String::from_utf8_lossy(&log)
        .lines()
        .map(|line| {
            let entry = serde_json::json!({"__REALTIME_TIMESTAMP": "1763674148876543", "_HOSTNAME": "w7",
                "SYSLOG_IDENTIFIER": "kubelet", "_PID": "86", "MESSAGE": line});
            format!("{entry}\n")
        })
        .collect::<String>();
    for (name, content, host) in [
        ("a.gz", packed.clone(), None),
        ("cut.gz", packed[..packed.len() / 2].to_vec(), None),
        ("b.zst", zstd::encode_all(log.as_slice(), 1).unwrap(), None),
        ("c.json", json.into_bytes(), Some("w7".to_owned())),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let found = recognised(&path).unwrap();
        assert_eq!((found.stands_for, found.host), ("kubelet/journal.txt", host), "{name}");
    }
}

#[test]
fn what_is_not_certain_is_told_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_ustar();
    head.set_size(1);
    tar.append_data(&mut head, "a", &b"x"[..]).unwrap();
    for (content, says) in [
        (Vec::new(), "it is empty"),
        (b"just some words\n".to_vec(), "nothing that is known"),
        (b"I1120 21:29:09.817441   1 proxier.go:334] \"kube-proxy says\"\n".repeat(9), "nothing that is known"),
        (tar.into_inner().unwrap(), "tar archive"),
        (b"\xfd7zXZ\0....".to_vec(), "xz"),
        (fs::read(fixture("kubelet/kubelet-1.36.2/goroutine.pb.gz")).unwrap(), "form of pprof"),
    ] {
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        let why = what(&path).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
    assert!(what(dir.path()).is_err() && what(&dir.path().join("none")).is_err());
}

#[test]
fn a_kubelet_that_panicked_left_a_log_and_no_dump() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubelet.log");
    let panic = "goroutine 1 [running]:\nk8s.io/kubernetes/pkg/kubelet.Run(0x1)\n\t/src/kubelet.go:1 +0x1\n";
    let log = fs::read_to_string(fixture("analyze/kubelet-hang.log")).unwrap();
    fs::write(&path, format!("{log}{panic}")).unwrap();
    assert_eq!(what(&path).as_deref(), Ok("kubelet/journal.txt"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_are_looked_at_without_harm(begin in 0_usize..8, cut in 0_usize..3000, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let genuine = ["analyze/kubelet-hang.log", "analyze/dmesg.txt", "analyze/docker-ps.jsonl", "analyze/dockerd-20.10-convoy-1.log",
            "kubelet/kubelet-1.36.2/goroutine.pb.gz", "bundle-1.1.tar.zst", "kube-apiserver/nodes.json", "analyze/free.txt"];
        let mut content = fs::read(fixture(genuine[begin])).unwrap();
        content.truncate(cut);
        content.extend(bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        let _ = recognised(&path);
        crate::analyze::gather::gather(&[path], |view, _| { let _ = crate::analyze::rules::findings(view); });
    }
}
