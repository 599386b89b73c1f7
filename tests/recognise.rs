//! Causes are recognised: every directory below `tests/fixtures/incidents` is the unpacked bundle of a node in some trouble, or
//! in none, and gives exactly the verdict and the findings of its `expected.txt`. With `PLEGCOLLECT_UPDATE_FIXTURES=1` these
//! files are written anew; read the difference before you commit it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, and functions only they call"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use plegcollect::analyze::finding::{Finding, Severity};
use plegcollect::analyze::gather::gather;
use plegcollect::analyze::node::{NodeAnalysis, analyze};
use plegcollect::analyze::source::sources;
use plegcollect::analyze::verdict::NOTHING;
use plegcollect::bundle::Manifest;
use plegcollect::evidence::Outcome;

fn incidents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/incidents")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(incidents()).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Files that several fixtures have are links to one; of a collection, links that lead out of it are not followed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn analysis(name: &str) -> NodeAnalysis {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join(name);
    copy(&incidents().join(name), &node);
    let mut found = Vec::new();
    let not_read = gather(&[node], |view, _| found.push(analyze(view, name.to_owned())));
    assert_eq!((found.len(), not_read), (1, Vec::new()), "{name}");
    found.remove(0)
}

/// The verdict and each finding in the order of the report.
fn told(node: &NodeAnalysis) -> String {
    let layer = |layer: Option<plegcollect::analyze::finding::Layer>| {
        layer.map_or_else(|| "-".to_owned(), |layer| format!("{layer:?}"))
    };
    let mut text = format!("{}: {}\n\n", layer(node.verdict.layer), node.verdict.sentence);
    for finding in &node.findings {
        text.push_str(&format!("{:?} {} ({})\n", finding.severity, finding.id, layer(finding.layer)));
    }
    text
}

fn finding<'a>(node: &'a NodeAnalysis, id: &str) -> &'a Finding {
    let ids: Vec<&str> = node.findings.iter().map(|f| f.id.as_str()).collect();
    node.findings.iter().find(|f| f.id == id).unwrap_or_else(|| panic!("no {id} among {ids:?}"))
}

#[test]
fn every_fixture_gives_exactly_the_expected_findings() {
    let update = std::env::var_os("PLEGCOLLECT_UPDATE_FIXTURES").is_some();
    let mut wrong = Vec::new();
    for name in names() {
        let told = told(&analysis(&name));
        let file = incidents().join(&name).join("expected.txt");
        if update {
            fs::write(file, told).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != told {
            wrong.push(format!("{name}: {} does not say\n{told}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that a finding says all of these.
fn says(name: &str, id: &str, parts: &[&str]) {
    let node = analysis(name);
    let sentence = &finding(&node, id).sentence;
    for part in parts {
        assert!(sentence.contains(part), "{name} {id}: {part:?} is not in {sentence:?}");
    }
}

#[test]
fn the_genuine_hang_names_the_runtime_relist_and_its_wait_with_their_times() {
    let node = analysis("genuine-pleg-hang");
    assert!(node.verdict.sentence.starts_with("runtime does not answer"), "{}", node.verdict.sentence);
    // Relist was last active when containerd was stopped, and stays so until the log is read.
    says("genuine-pleg-hang", "pleg/unhealthy", &["21:29:09 UTC", "NotReady", "21:31:17 UTC"]);
    says("genuine-pleg-hang", "relist-time/stands", &["21:29:09 UTC"]);
    says("genuine-pleg-hang", "relist/runtime", &["ListPodSandbox", "waitOnHeader"]);
    let relist = finding(&node, "relist/runtime");
    let dump = fs::read_to_string(incidents().join("genuine-pleg-hang/kubelet/goroutine-2.txt")).unwrap();
    let cited = relist.evidence.iter().find(|c| c.file == "kubelet/goroutine-2.txt").unwrap();
    let (first, last) = cited.lines.unwrap();
    let (first, last) = (usize::try_from(first).unwrap(), usize::try_from(last).unwrap());
    let block: Vec<&str> = dump.lines().skip(first - 1).take(last + 1 - first).collect();
    assert!(block[0].starts_with("goroutine 382 [select"), "{block:?}");
    assert!(block.iter().any(|line| line.contains("pleg.(*GenericPLEG).Relist(")), "{block:?}");
    says("genuine-pleg-hang-over", "pleg/unhealthy", &["21:29:09 UTC", "21:37:11 UTC"]);
}

#[test]
fn the_incidents_are_told_with_their_numbers() {
    for (name, id, parts) in [
        ("incident-a", "crowd/descriptors", &["19000 of 1048576", "18214 × socket"] as &[&str]),
        ("incident-a", "secrets/missing-pull-secret", &["shop/reg-cred (1074 ×)", "about 50100 a day"]),
        ("incident-a-cluster", "secrets/missing-pull-secret", &["shop/reg-cred (50000 ×)", "about 50000 a day"]),
        ("incident-a-cluster", "throttling/turned-away", &["121056 requests away"]),
        ("incident-a-residual", "residual/dead", &["2 containers Dead", "order-5d8c9-lw2qp"]),
        ("incident-a-residual", "residual/removing", &["4 containers under removal"]),
        ("incident-a-residual", "residual/created", &["4 containers made and not started"]),
        ("incident-a-residual", "residual/pause", &["12 pause containers ended and stay alone"]),
        ("incident-b", "dbus/silent", &["in both looks", "systemd 219 has the fault of issue 11809"]),
        ("incident-b", "runc/lingers", &["14 runc processes linger", "2h01m", "5 × runc create"]),
        ("incident-c", "crowd/too-many", &["300 containers", "300 pods running"]),
        ("incident-d", "memory/starved", &["83.1 MB of 3.9 GB", "kswapd0 takes 69 %", "load 176 on 2 processors"]),
        ("incident-d", "tasks/zombies", &["9 zombies of health-check (pid 900): 9 × curl"]),
        ("incident-d", "tasks/stuck", &["dockerd in wait_on_page_bit_killable", "etcd in jbd2_log_wait_commit"]),
        (
            "incident-d",
            "control/exited",
            &["kube-apiserver exited and does not run", "etcdserver: request timed out\"."],
        ),
        ("incident-e", "crowd/too-many", &["560 containers", "288 pods running"]),
        ("dbus-cookie-near", "dbus/near-limit", &["2.00 a second", "on 2026-12-20"]),
        ("disk-data-root-full", "disk/full", &["/data 100 %, 22.0 MB left (docker)"]),
        ("hung-nfs-mount", "disk/hung-mount", &["df did not end within 5.0s", "/mnt/data (nfs4 filer1:/export)"]),
        ("hung-nfs-mount", "disk/server-silent", &["1 × filer1"]),
        ("d-state", "tasks/stuck", &["1 × containerd in rtnl_lock, 1 × dockerd in rtnl_lock"]),
        ("zombies", "tasks/zombies", &["43 zombies: 41 of containerd-shim-runc-v2 (pid 5120): 41 × sh"]),
        ("clock-off", "clock/far-off", &["65 s behind"]),
        ("slow-device", "disk/slow", &["sdb busy 100 %, requests wait 810 ms"]),
        ("cgroup-memory", "memory/own-limit", &["14 × worker", "14 times within the last hour"]),
    ] {
        says(name, id, parts);
    }
}

#[test]
fn healthy_nodes_give_no_warning_at_all() {
    let healthy: Vec<String> = names().into_iter().filter(|name| name.starts_with("healthy-")).collect();
    assert!(healthy.len() >= 3, "{healthy:?}");
    for name in healthy {
        let node = analysis(&name);
        let above: Vec<&Finding> = node.findings.iter().filter(|f| f.severity > Severity::Info).collect();
        assert!(above.is_empty(), "{name}: {above:#?}");
        assert_eq!((node.verdict.layer, node.verdict.sentence.as_str()), (None, NOTHING), "{name}");
    }
}

#[test]
fn every_finding_above_info_can_be_acted_on_and_cites_files_that_are_there() {
    for name in names() {
        for finding in analysis(&name).findings.iter().filter(|f| f.severity > Severity::Info) {
            let at = format!("{name}: {finding:#?}");
            assert!(finding.sentence.ends_with('.') && finding.sentence.chars().count() <= 600, "{at}");
            assert!(finding.next.is_some() && !finding.evidence.is_empty(), "{at}");
            for citation in &finding.evidence {
                let file = incidents().join(&name).join(&citation.file);
                let lines = fs::read(&file).map(|bytes| bytes.split(|b| *b == b'\n').count());
                let last = citation.lines.map_or(0, |(_, last)| usize::try_from(last).unwrap());
                assert!(
                    lines.is_ok_and(|lines| last <= lines) || citation.file.starts_with("records/"),
                    "{citation}: {at}"
                );
            }
        }
    }
}

#[test]
fn a_bundle_unpacked_by_hand_keeps_its_name_and_steps_and_one_with_a_broken_manifest_its_files() {
    let node = analysis("incident-a");
    assert_eq!((node.node.as_str(), node.sealed), ("worker-017", true));
    let hung = node.steps.iter().find(|step| step.id == "docker/ps").unwrap();
    assert_eq!((hung.outcome, hung.took_ms), (Outcome::TimedOut, Some(5012)));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("worker-018");
    fs::create_dir_all(copy.join("host")).unwrap();
    fs::copy(incidents().join("zombies/host/ps.txt"), copy.join("host/ps.txt")).unwrap();
    for manifest in ["{", r#"{"format":{"major":9,"minor":0},"node":"other"}"#] {
        fs::write(copy.join("manifest.json"), manifest).unwrap();
        let node = analyze(&sources(&copy).unwrap()[0].view().unwrap(), String::new());
        assert_eq!((node.node.as_str(), node.sealed, node.steps.len()), ("worker-018", false, 0));
        assert!(node.findings.iter().any(|f| f.id == "tasks/zombies"));
    }
}

#[test]
fn the_steps_of_a_fixture_are_those_of_its_files() {
    fn files(dir: &Path, below: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                files(&entry.path(), below, found);
            } else {
                found.insert(entry.path().strip_prefix(below).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    for name in names() {
        let dir = incidents().join(&name);
        let mut there = BTreeSet::new();
        files(&dir, &dir, &mut there);
        for own in ["README.md", "expected.txt", "manifest.json", "node/clock.json", "node/facts.json"] {
            there.remove(own);
        }
        let manifest: Manifest = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
        let told: BTreeSet<String> = manifest.files().map(|file| file.path.clone()).collect();
        assert_eq!(there, told, "{name}");
        let readme = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(!readme.trim().is_empty(), "{name}");
    }
}
