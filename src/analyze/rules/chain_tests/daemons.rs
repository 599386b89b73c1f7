//! dockerd, containerd, shims: their stacks, and whether they answer.

use std::fs;

use super::*;
use crate::analyze::verdict::{NOTHING, verdict};

#[test]
fn a_lock_convoy_names_its_likely_holder_and_what_that_waits_for() {
    let (_dir, view) = laid_out(&[
        ("analyze/dockerd-20.10-convoy-1.log", "docker/stacks/1.log"),
        ("analyze/dockerd-20.10-convoy-2.log", "docker/stacks/2.log"),
    ]);
    let found = findings(&view);
    assert_eq!(ids(&found), [("dockerd-locks/convoy", Severity::Critical), ("standing/stuck", Severity::Warning)]);
    let sentence = &found[0].sentence;
    assert!(sentence.starts_with("25 goroutines of dockerd wait for one lock, the longest for 5 min"), "{sentence}");
    assert!(sentence.contains("likely held by ContainerStop (5 min), which waits for containerd"), "{sentence}");
    assert_eq!(verdict(&found).sentence, "dockerd lock held by ContainerStop, which waits for containerd");
}

#[test]
fn healthy_daemons_give_no_warning() {
    for files in [
        // Twice the same answer is no relist that stands still.
        vec![
            (format!("{OLD}/metrics.txt"), "kubelet/metrics-1.txt"),
            (format!("{OLD}/metrics.txt"), "kubelet/metrics-2.txt"),
        ],
        vec![("analyze/dockerd-20.10-healthy.log".to_owned(), "docker/stacks/1.log")],
        vec![
            (format!("{IDLE}/metrics.txt"), "kubelet/metrics-1.txt"),
            (format!("{IDLE}/goroutine-debug2.txt"), "kubelet/goroutine-1.txt"),
        ],
        vec![
            (format!("{OLD}/metrics.txt"), "kubelet/metrics-1.txt"),
            (format!("{OLD}/goroutine-debug2.txt"), "kubelet/goroutine-1.txt"),
        ],
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(from, to)| (from.as_str(), *to)).collect();
        let (_dir, view) = laid_out(&files);
        let found = findings(&view);
        assert!(found.iter().all(|f| f.severity == Severity::Info), "{files:?}: {found:#?}");
        assert_eq!(verdict(&found).sentence, NOTHING);
    }
}

#[test]
fn containerd_is_blamed_when_docker_ps_answers_and_docker_info_hangs() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("docker")).unwrap();
    fs::copy(fixture("analyze/hung.txt"), dir.path().join("docker/info.hung.txt")).unwrap();
    for (ps, info, want) in [
        (Outcome::Complete, Outcome::TimedOut, "runtime-hung/containerd"),
        (Outcome::TimedOut, Outcome::TimedOut, "runtime-hung/dockerd"),
        (Outcome::TimedOut, Outcome::Complete, "runtime-hung/dockerd"),
        (Outcome::Complete, Outcome::Complete, "runtime-hung/answers"),
    ] {
        let steps = vec![
            step("docker/ps", ps, &["docker/ps.txt"]),
            step("docker/info", info, &["docker/info.json", "docker/info.hung.txt"]),
        ];
        let view = NodeView::of_dir("worker-001".parse().unwrap(), None, steps, dir.path().to_owned());
        let found = findings(&view);
        let found: Vec<&Finding> = found.iter().filter(|f| !f.id.ends_with("/missing")).collect();
        assert_eq!(found.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), [want]);
        // A client that sleeps for an answer says nothing, yet its list is cited.
        assert!(!found[0].sentence.contains("futex"), "{}", found[0].sentence);
        let hung = |f: &&Finding| f.evidence.iter().any(|c| c.file == "docker/info.hung.txt" && c.lines.is_some());
        assert_eq!(found.iter().any(hung), info == Outcome::TimedOut);
    }
}

#[test]
fn a_client_that_stands_in_the_kernel_is_named() {
    let list = text("analyze/hung.txt");
    let stands = list.replace("state S", "state D").replace("State:\tS (sleeping)", "State:\tD (disk sleep)");
    assert_ne!(list, stands);
    let steps = vec![step("docker/info", Outcome::TimedOut, &["docker/info.json", "docker/info.hung.txt"])];
    let (_dir, view) = written_with(&[("docker/info.hung.txt", stands)], steps);
    assert!(says(&findings(&view), "runtime-hung/dockerd").contains("(state D) waits in "));
}

#[test]
fn a_file_without_a_byte_is_not_cited() {
    for (files, want) in [
        (&["docker/info.json", "docker/info.hung.txt"][..], "docker/info.hung.txt"),
        (&["docker/info.json"][..], "records/docker.info.json"),
    ] {
        let mut hung = step("docker/info", Outcome::TimedOut, files);
        hung.files[0].bytes = 0;
        let texts = [("docker/info.json", String::new()), ("docker/info.hung.txt", text("analyze/hung.txt"))];
        let (_dir, view) = written_with(&texts[..files.len()], vec![hung]);
        let found = findings(&view);
        let cited: Vec<String> = found.iter().flat_map(|f| &f.evidence).map(|c| c.file.clone()).collect();
        assert_eq!(cited, [want]);
    }
}

#[test]
fn container_statistics_alone_are_no_hang() {
    let steps = vec![
        step("docker/ps", Outcome::Complete, &["docker/ps.txt"]),
        step("docker/info", Outcome::Complete, &["docker/info.json"]),
        step("docker/stats", Outcome::TimedOut, &["docker/stats.txt"]),
    ];
    let (_dir, view) = written_with(&[], steps);
    assert_eq!(ids(&findings(&view)), [("runtime-hung/stats", Severity::Warning)]);
}

/// A healthy dump twice is what an idle daemon gives in two samples.
#[test]
fn nothing_stands_in_two_samples_of_healthy_daemons() {
    let (_dir, view) = laid_out(&[
        (&format!("{IDLE}/goroutine-debug2.txt"), "kubelet/goroutine-1.txt"),
        (&format!("{IDLE}/goroutine-debug2.txt"), "kubelet/goroutine-2.txt"),
        ("analyze/dockerd-20.10-healthy.log", "docker/stacks/1.log"),
        ("analyze/dockerd-20.10-healthy.log", "docker/stacks/2.log"),
        ("analyze/containerd-1.6-1.log", "containerd/stacks/1.log"),
        ("analyze/containerd-1.6-2.log", "containerd/stacks/2.log"),
        ("analyze/containerd-1.6-journal.txt", "containerd/shims.txt"),
    ]);
    let found = findings(&view);
    assert_eq!(
        ids(&found),
        ["containerd/free", "dockerd-locks/free", "relist/free", "shim/free", "standing/none"]
            .map(|id| (id, Severity::Info))
    );
    assert!(says(&found, "standing/none").contains("the kubelet, dockerd, containerd"));
    assert!(says(&found, "shim/free").contains("2 shims"));
    for form in ["goroutine-debug2.txt", "goroutine-debug1.txt"] {
        let name = if form.contains('2') { "kubelet/goroutine" } else { "kubelet/goroutine-groups" };
        let file = format!("{OLD}/{form}");
        let (_dir, view) = laid_out(&[(&file, &format!("{name}-1.txt")), (&file, &format!("{name}-2.txt"))]);
        assert_eq!(ids(&findings(&view)), [("relist/free", Severity::Info), ("standing/none", Severity::Info)]);
    }
}

#[test]
fn a_grouped_dump_names_who_may_hold_what_others_wait_for() {
    let (_dir, view) = laid_out(&[("analyze/dockerd-20.10-convoy-debug1.txt", "docker/pprof/goroutine-1.txt")]);
    let found = findings(&view);
    assert_eq!(ids(&found), [("dockerd-locks/waiting", Severity::Warning)]);
    let sentence = says(&found, "dockerd-locks/waiting");
    assert!(
        sentence.contains("25 goroutines of dockerd wait for locks, in daemon.(*Daemon).ContainerInspectCurrent"),
        "{sentence}"
    );
    assert!(sentence.contains("may be held by ContainerStop, which waits for containerd"), "{sentence}");
}

#[test]
fn a_convoy_names_a_holder_that_waits_for_something_else_than_containerd() {
    let daemon = "github.com/docker/docker/daemon.(*Daemon)";
    let lock = |id| {
        let text = goroutine(
            id,
            "semacquire, 3 minutes",
            &["sync.runtime_SemacquireMutex", "sync.(*Mutex).Lock", &format!("{daemon}.ContainerInspectCurrent")],
        );
        text.replacen("0xc000", "0xc000123456, 0x0, 0x1", 1)
    };
    let locks: String = (1..=6).map(lock).collect();
    for (frames, state, want) in [
        (
            [
                "syscall.Syscall",
                "golang.org/x/sys/unix.Unmount",
                "github.com/docker/docker/daemon/graphdriver/overlay2.(*Driver).Put",
            ],
            "syscall, 4 minutes",
            "dockerd lock held by ContainerRm, which waits for the graph driver",
        ),
        (
            ["syscall.Syscall6", "syscall.recvfrom", "github.com/vishvananda/netlink/nl.(*NetlinkSocket).Receive"],
            "syscall, 4 minutes",
            "dockerd lock held by ContainerRm, which waits for the network",
        ),
    ] {
        let own = format!("{daemon}.ContainerRm");
        let text = locks.clone() + &goroutine(9, state, &[frames[0], frames[1], frames[2], &own]);
        let (_dir, view) = written(&[("docker/stacks/1.log", text)]);
        let found = findings(&view);
        assert_eq!(ids(&found), [("dockerd-locks/convoy", Severity::Critical)]);
        assert_eq!(verdict(&found).sentence, want);
    }
}

const DISPATCH: &str = "github.com/containerd/ttrpc.(*Client).dispatch";
const CALL: &str = "github.com/containerd/ttrpc.(*Client).Call";

fn to_shim(id: u64, minutes: u32, client: &str, method: &str) -> String {
    let frame = format!("{client}.{method}");
    goroutine(
        id,
        &format!("select, {minutes} minutes"),
        &[DISPATCH, CALL, &frame, "google.golang.org/grpc.(*Server).handleStream"],
    )
}

#[test]
fn what_containerd_waits_for_is_told_and_running_containers_are_not() {
    use Severity::{Critical, Info, Warning};
    let v2 = "github.com/containerd/containerd/runtime/v2/task.(*taskClient)";
    let v1 = "github.com/containerd/containerd/runtime/v1/shim/v1.(*shimClient)";
    let new = "github.com/containerd/containerd/api/runtime/task/v3.(*ttrpctaskClient)";
    let bolt = |id, minutes| {
        let text = goroutine(
            id,
            &format!("sync.Mutex.Lock, {minutes} minutes"),
            &[
                "internal/sync.runtime_SemacquireMutex",
                "sync.(*Mutex).Lock",
                "go.etcd.io/bbolt.(*DB).beginRWTx",
                "github.com/containerd/containerd/metadata.(*leaseManager).Create",
            ],
        );
        text.replacen("0xc000", "0xc000123456, 0x0, 0x1", 1)
    };
    let commit = goroutine(
        90,
        "syscall, 6 minutes",
        &[
            "syscall.Syscall",
            "syscall.Fdatasync",
            "go.etcd.io/bbolt.(*Tx).Commit",
            "github.com/containerd/containerd/metadata.(*DB).Update",
        ],
    );
    let cni = goroutine(
        91,
        "IO wait, 7 minutes",
        &[
            "internal/poll.runtime_pollWait",
            "os/exec.(*Cmd).Wait",
            "github.com/containernetworking/cni/libcni.(*CNIConfig).AddNetworkList",
            "github.com/containerd/go-cni.(*Network).Attach",
        ],
    );
    for (text, want, part) in [
        (to_shim(5, 90, v2, "Wait") + &to_shim(6, 90, new, "Wait"), vec![("containerd/free", Info)], "2 goroutines"),
        (
            to_shim(5, 12, v2, "State") + &to_shim(6, 3, v2, "State") + &to_shim(7, 9, v2, "Kill"),
            vec![("containerd/shim", Critical)],
            "3 goroutines have waited for up to 12 min: State × 2, Kill × 1",
        ),
        (
            to_shim(5, 1, v1, "State"),
            vec![("containerd/shim", Warning)],
            "1 goroutine has waited for up to 1 min: State × 1",
        ),
        (to_shim(5, 4, new, "Delete"), vec![("containerd/shim", Critical)], "Delete × 1"),
        (
            (1..=6).map(|id| bolt(id, 5)).collect::<String>() + &commit,
            vec![("containerd/disk", Critical), ("containerd/locks", Critical)],
            "6 goroutines of containerd wait for its data base, the longest for 5 min, in metadata.(*leaseManager).Create; it is likely held by the one that waits for the commit of its data base (6 min)",
        ),
        (
            cni,
            vec![("containerd/cni", Warning)],
            "containerd waits for a CNI plug-in: 1 goroutine has waited for up to 7 min: AddNetworkList × 1",
        ),
    ] {
        let (_dir, view) = written(&[("containerd/stacks/1.log", text)]);
        let found = findings(&view);
        assert_eq!(ids(&found), want);
        assert!(found.iter().any(|f| f.sentence.contains(part)), "{part}: {found:#?}");
    }
}

/// One shim stopped, the `runc kill` of another does not end; containerd 1.6.20.
#[test]
fn genuine_stacks_of_a_containerd_with_hung_shims_carry_the_chain_to_runc() {
    use Severity::{Critical, Warning};
    let (_dir, view) = laid_out(&[
        ("analyze/containerd-1.6-hung-1.log", "containerd/stacks/1.log"),
        ("analyze/containerd-1.6-hung-2.log", "containerd/stacks/2.log"),
        ("analyze/containerd-1.6-hung-shims.txt", "containerd/shims.txt"),
    ]);
    let found = findings(&view);
    assert_eq!(
        ids(&found),
        [("containerd/shim", Critical), ("shim/locks", Critical), ("shim/runc", Critical), ("standing/stuck", Warning)]
    );
    for (id, part) in [
        ("containerd/shim", "3 goroutines have waited for up to 2 min: Kill × 2, Exec × 1"),
        ("shim/runc", "1 of 2 shims, for up to 2 min: runc kill × 1"),
        ("shim/locks", "1 of 2 shims, for up to 2 min: process.(*Init).Status"),
        ("standing/stuck", "3 goroutines of containerd stand in the same place in both samples, the longest for 2 min"),
    ] {
        assert!(says(&found, id).contains(part), "{}", says(&found, id));
    }
    assert_eq!(
        verdict(&found).sentence,
        "containerd waits for a shim; goroutines of shims wait for locks; shims wait for runc"
    );
}

#[test]
fn what_shims_wait_for_is_told_by_kind() {
    let main = goroutine(1, "select, 90 minutes", &["github.com/containerd/containerd/runtime/v2/shim.serve"]);
    let service = "github.com/containerd/containerd/runtime/v2/runc/task.(*service)";
    let runc = goroutine(
        2,
        "chan receive, 6 minutes",
        &[
            "github.com/containerd/containerd/sys/reaper.(*Monitor).Wait",
            "github.com/containerd/go-runc.(*Runc).runOrError",
            "github.com/containerd/go-runc.(*Runc).Kill",
            &format!("{service}.Kill"),
        ],
    );
    let lock = goroutine(
        3,
        "semacquire, 5 minutes",
        &[
            "sync.runtime_SemacquireMutex",
            "sync.(*Mutex).Lock",
            "github.com/containerd/containerd/pkg/process.(*Init).Status",
            &format!("{service}.State"),
        ],
    );
    let begin = "=== BEGIN goroutine stack dump ===\n";
    let end = "=== END goroutine stack dump ===\n";
    let well = format!("{begin}{main}{end}");
    let ill = format!("{begin}{main}{runc}{lock}{end}");
    let (_dir, view) = written(&[("containerd/shims.txt", format!("{well}{ill}{well}"))]);
    let found = findings(&view);
    assert_eq!(ids(&found), [("shim/locks", Severity::Critical), ("shim/runc", Severity::Critical)]);
    let sentence = says(&found, "shim/runc");
    assert!(sentence.starts_with("shims wait for runc: 1 of 3 shims, for up to 6 min: runc kill × 1"), "{sentence}");
    let (_dir, view) = written(&[("containerd/shims.txt", well)]);
    assert_eq!(ids(&findings(&view)), [("shim/free", Severity::Info)]);
}
