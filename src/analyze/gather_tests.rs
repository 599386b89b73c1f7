//! What is opened, how often, in which order and under which names.

use std::os::unix::fs::symlink;

use super::*;
use crate::analyze::test_support::{Bundled, fixture, laid_out};
use crate::bundle::FormatVersion;

const RUN: &str = "plegcollect-20261120T231507Z";
const LATER: &str = "plegcollect-20261121T040000Z-INC-1";

/// Names as they are told, and the paths that could not be read with the reason.
fn seen(paths: &[PathBuf]) -> (Vec<String>, Vec<String>) {
    let mut names = Vec::new();
    let not_read = gather(paths, |view, _| names.push(view.node.to_string()));
    (names, not_read.into_iter().map(|not| format!("{}: {}", not.path, not.reason)).collect())
}

fn ps(node: &str, run: &str) -> Bundled {
    Bundled::new(node, run, &[("docker/ps.txt", "CONTAINER ID   IMAGE\n"), ("host/df.txt", "Filesystem\n")])
}

#[test]
fn a_bundle_named_twice_or_with_its_directory_is_opened_once() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join(RUN);
    let bundle = ps("worker-001", RUN).write(&run.join("worker-001.tar.zst"));
    ps("worker-002", RUN).write(&run.join("worker-002.tar.zst"));
    symlink("worker-002.tar.zst", run.join("again.tar.zst")).unwrap();
    symlink(&run, out.path().join("latest")).unwrap();
    let partial = Bundled { sealed: false, ..ps("worker-001", RUN) }.write(&out.path().join("copy/w.tar.zst.partial"));
    let copy = ps("worker-001", RUN).write(&out.path().join("copy-2/worker-001.tar.zst"));
    let paths = [partial, run.clone(), bundle, copy, run.clone(), out.path().join("latest")];
    let mut sealed = Vec::new();
    let not_read = gather(&paths, |view, _| sealed.push((view.node.to_string(), view.manifest.is_some())));
    assert_eq!(not_read, []);
    assert_eq!(sealed, [("worker-001".to_owned(), true), ("worker-002".to_owned(), true)]);
    // The directory above: runs in it are found.
    assert_eq!(seen(&[out.path().to_owned()]).0.len(), 2);
}

#[test]
fn one_node_in_two_runs_is_two_and_they_are_told_apart() {
    let out = tempfile::tempdir().unwrap();
    for run in [RUN, LATER] {
        ps("worker-001", run).write(&out.path().join(run).join("worker-001.tar.zst"));
    }
    ps("worker-002", LATER).write(&out.path().join(LATER).join("worker-002.tar.zst"));
    let (names, not_read) = seen(&[out.path().join(RUN), out.path().join(LATER)]);
    assert_eq!(names, ["worker-001_20261120T231507Z", "worker-001_20261121T040000Z-INC-1", "worker-002"]);
    assert_eq!(not_read, [""; 0]);
    for dir in ["a/node", "b/node", "c/n o d e"] {
        laid_out(&out.path().join(dir), &[("kubelet.log", "x\n")]);
    }
    let dirs: Vec<PathBuf> = ["a/node", "b/node", "c/n o d e"].iter().map(|dir| out.path().join(dir)).collect();
    assert_eq!(seen(&dirs).0, ["node_1", "node_2", "node_3"]);
}

#[test]
fn what_is_damaged_or_leads_elsewhere_keeps_nothing_else_from_being_read() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    ps("worker-001", RUN).write(&run.join("worker-001.tar.zst"));
    let newer = FormatVersion { major: 2, minor: 0 };
    Bundled { format: newer, ..ps("worker-002", RUN) }.write(&run.join("worker-002.tar.zst"));
    laid_out(&run, &[("worker-003.tar.zst", "no bundle"), ("worker-004.tar.zst.partial", "")]);
    let outside = ps("worker-005", RUN).write(&out.path().join("elsewhere/worker-005.tar.zst"));
    symlink(&outside, run.join("worker-005.tar.zst")).unwrap();
    symlink("nowhere", run.join("worker-006.tar.zst")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(run.join("worker-007.tar.zst")).status().unwrap().success());
    std::fs::create_dir(run.join("worker-008.tar.zst")).unwrap();
    let (names, not_read) = seen(&[run, out.path().join("none")]);
    assert_eq!(names, ["worker-001"]);
    for (at, says) in [
        ("worker-002", "has bundle format 2.0, this program reads format"),
        ("worker-003", "is no bundle"),
        ("worker-004", "is no bundle"),
        ("worker-005", "a link out of its directory"),
        ("worker-006", "a link that leads nowhere"),
        ("worker-007", "no regular file"),
        ("worker-008", "no regular file"),
        ("none", "No such file"),
    ] {
        assert!(not_read.iter().any(|text| text.contains(at) && text.contains(says)), "{at}: {not_read:#?}");
    }
    assert_eq!(not_read.len(), 8, "{not_read:#?}");
}

#[test]
fn nodes_have_the_cluster_of_their_run_and_no_other() {
    let out = tempfile::tempdir().unwrap();
    let nodes = |name: &str| format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}\n");
    let dir = out.path().join("a");
    ps("aaa", RUN).write(&dir.join("aaa.tar.zst"));
    ps("worker-001", RUN).write(&dir.join("worker-001.tar.zst"));
    Bundled::cluster(RUN, &[("cluster/nodes.jsonl", &nodes("worker-001"))]).write(&dir.join("cluster.tar.zst"));
    // A node may be called so.
    ps("cluster", LATER).write(&out.path().join("b/cluster.tar.zst"));
    ps("worker-001", LATER).write(&out.path().join("b/worker-001.tar.zst"));
    let look = |paths: &[PathBuf]| {
        let mut seen = Vec::new();
        let not_read = gather(paths, |view, _| {
            let cluster = view.cluster.as_ref().filter(|_| !view.is_cluster());
            let found = cluster.map(|cluster| cluster.node_of(view).is_some());
            seen.push((view.name.to_string(), view.is_cluster(), found));
        });
        assert_eq!(not_read, []);
        seen
    };
    let named = |name: &str, cluster, found| (name.to_owned(), cluster, found);
    let all = look(&[dir.clone(), out.path().join("b")]);
    let want = [
        named("cluster", true, None),
        named("aaa", false, Some(false)),
        named("worker-001", false, Some(true)),
        named("cluster", false, None),
        named("worker-001", false, None),
    ];
    assert_eq!(all, want);
    // A bundle alone is held against the cluster that lies beside it, which is not told itself.
    assert_eq!(look(&[dir.join("worker-001.tar.zst")]), [named("worker-001", false, Some(true))]);
    assert_eq!(look(&[out.path().join("b/worker-001.tar.zst")]), [named("worker-001", false, None)]);
    // Not that of another run, nor what a link leads to.
    let other = ps("worker-001", LATER).write(&dir.join("later.tar.zst"));
    assert_eq!(look(&[other]), [named("worker-001", false, None)]);
    let linked = ps("worker-001", RUN).write(&out.path().join("c/worker-001.tar.zst"));
    symlink(dir.join("cluster.tar.zst"), out.path().join("c/cluster.tar.zst")).unwrap();
    assert_eq!(look(&[linked]), [named("worker-001", false, None)]);
}

#[test]
fn single_files_of_a_directory_are_one_node_unless_two_are_of_one_kind() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("analyze/kubelet-hang.log", "kubelet.log"),
        ("analyze/kubelet-hang.log", "other.log"),
        ("analyze/kubelet-journal.txt", "journal-6.txt"),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t020.txt", "g-1.txt"),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt", "g-2.txt"),
        ("analyze/docker-journal.txt", "docker.txt"),
        ("kube-apiserver/nodes.json", "nodes.json"),
    ] {
        std::fs::copy(fixture(from), dir.path().join(to)).unwrap();
    }
    let own = dir.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
    let at = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>();
    for (files, want) in [
        (&["kubelet.log"][..], vec!["kubelet.log"]),
        (&["journal-6.txt"], vec!["worker-006"]),
        (&["kubelet.log", "g-1.txt", "g-2.txt"], vec![own.as_str()]),
        (&["kubelet.log", "g-1.txt", "docker.txt"], vec!["worker-006"]),
        (&["kubelet.log", "other.log", "g-1.txt"], vec!["kubelet.log", "other.log", "g-1.txt"]),
        (&["kubelet.log", "g-1.txt", "nodes.json"], vec!["cluster", own.as_str()]),
        (&["nodes.json"], vec!["nodes.json"]),
    ] {
        let (names, not_read) = seen(&at(files));
        assert_eq!((names, not_read.len()), (want.into_iter().map(str::to_owned).collect(), 0), "{files:?}");
    }
    let mut files = Vec::new();
    gather(&at(&["g-1.txt", "g-2.txt", "kubelet.log"]), |view, source| {
        files = view.files().into_iter().map(|file| file.name).collect();
        assert!(view.open("kubelet/goroutine-2.txt").is_some() && view.open_listed(&view.files()[0]).is_some());
        assert_eq!(source.split(", ").count(), 3, "{source}");
    });
    assert_eq!(files, ["g-1.txt", "g-2.txt", "kubelet.log"]);
}

#[test]
fn a_directory_of_directories_is_a_node_each_and_links_among_them_are_left() {
    let out = tempfile::tempdir().unwrap();
    laid_out(out.path(), &[("w1/kubelet.log", "x\n"), ("w2/kern.log", "x\n"), ("other/README", "x\n")]);
    symlink("/etc", out.path().join("w3")).unwrap();
    assert_eq!(seen(&[out.path().to_owned()]).0, ["w1", "w2"]);
    let (names, not_read) = seen(&[out.path().join("other")]);
    assert!(names.is_empty() && not_read[0].contains("hold bundles or files with the names"), "{not_read:?}");
}

#[test]
fn a_directory_with_evidence_of_both_is_told_as_both() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("vm");
    laid_out(&node, &[("kubelet.log", "x\n")]);
    std::fs::copy(fixture("kube-apiserver/nodes.json"), node.join("nodes.json")).unwrap();
    let mut seen = Vec::new();
    let not_read = gather(&[node], |view, _| {
        let found = view.cluster.as_ref().and_then(|cluster| cluster.node_of(view)).map(|(node, _)| node.name.clone());
        seen.push((view.node.to_string(), view.is_cluster(), found));
    });
    assert_eq!(not_read, []);
    assert_eq!(
        seen,
        [("cluster".to_owned(), true, Some("vm".to_owned())), ("vm".to_owned(), false, Some("vm".to_owned()))]
    );
}

#[test]
fn a_bundle_unpacked_by_hand_is_what_it_was() {
    let out = tempfile::tempdir().unwrap();
    let bundle = ps("worker-009", RUN).write(&out.path().join("b.tar.zst"));
    let dir = out.path().join("any name");
    std::fs::create_dir(&dir).unwrap();
    let packed = std::fs::read(bundle).unwrap();
    let unpacked = zstd::decode_all(packed.as_slice()).unwrap();
    tar::Archive::new(unpacked.as_slice()).unpack(&dir).unwrap();
    let look = |manifest: bool, steps| {
        gather(std::slice::from_ref(&dir), |view, _| {
            assert_eq!(
                (view.node.as_str(), view.manifest.is_some(), view.steps.len()),
                ("worker-009", manifest, steps)
            );
            assert_eq!(view.run.as_deref(), Some(RUN));
        })
    };
    assert_eq!(look(true, 2), []);
    std::fs::remove_file(dir.join("manifest.json")).unwrap();
    assert_eq!(look(false, 2), []);
}

#[test]
fn a_bundle_cut_anywhere_gives_what_is_left_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Bundled { sealed: false, ..ps("worker-001", RUN) }.bytes();
    let path = dir.path().join("worker-001.tar.zst.partial");
    let mut opened = 0;
    for len in (0..=whole.len()).step_by(7) {
        std::fs::File::create(&path).and_then(|mut file| std::io::Write::write_all(&mut file, &whole[..len])).unwrap();
        let not_read = gather(std::slice::from_ref(&path), |view, _| {
            opened += 1;
            assert!(view.unfinished.is_some() && view.altered.is_empty(), "{len}: {:?}", view.altered);
        });
        assert!(not_read.len() <= 1);
    }
    assert!(opened > 50, "{opened}");
}

#[test]
fn what_the_manifest_does_not_vouch_for_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut bundle = ps("worker-001", RUN);
    bundle.told.push(("docker/ps.txt".to_owned(), b"CONTAINER ID   IMAG_\n".to_vec()));
    let path = bundle.write(&dir.path().join("worker-001.tar.zst"));
    let mut altered = Vec::new();
    gather(&[path], |view, _| {
        altered.clone_from(&view.altered);
        let found = crate::analyze::rules::findings(view);
        let finding = found.iter().find(|finding| finding.id == "evidence/altered").unwrap();
        assert!(finding.sentence.contains("docker/ps.txt has been changed: its sha256 differs"), "{finding:?}");
    });
    assert_eq!(altered, ["docker/ps.txt has been changed: its sha256 differs"]);
    let path = ps("worker-002", RUN).write(&dir.path().join("worker-002.tar.zst"));
    gather(std::slice::from_ref(&path), |view, _| {
        let names: Vec<String> = view.files().into_iter().map(|file| format!("{} {}", file.name, file.size)).collect();
        assert_eq!(names[..2], ["docker/ps.txt 21", "host/df.txt 11"]);
    });
    gather(&[path], |view, _| assert!(view.altered.is_empty() && view.unfinished.is_none(), "{:?}", view.altered));
}
