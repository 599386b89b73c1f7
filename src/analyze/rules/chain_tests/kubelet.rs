//! The kubelet's own evidence: its log, its metrics, where relist stands.

use std::fs;

use super::spells::log;
use super::*;
use crate::analyze::source::sources;
use crate::analyze::verdict::verdict;

const PLEG: &str = "k8s.io/kubernetes/pkg/kubelet/pleg.(*GenericPLEG)";
const INVOKE: &str = "google.golang.org/grpc.(*ClientConn).Invoke";
const SELECT: &str = "google.golang.org/grpc/internal/transport.(*Stream).waitOnHeader";

#[test]
fn the_genuine_hang_is_a_runtime_that_does_not_answer_with_its_times() {
    use Severity::{Critical, Warning};
    let dumps = [format!("{HANG}/goroutine-debug2-t020.txt"), format!("{HANG}/goroutine-debug2-t352.txt")];
    let (_dir, view) = laid_out(&[
        ("analyze/kubelet-hang.log", "kubelet/journal.txt"),
        (&dumps[0], "kubelet/goroutine-1.txt"),
        (&dumps[1], "kubelet/goroutine-2.txt"),
        (&format!("{HANG}/metrics-t086-scrape-took-120s.txt"), "kubelet/metrics-1.txt"),
        (&format!("{HANG}/metrics-t352-scrape-took-120s.txt"), "kubelet/metrics-2.txt"),
    ]);
    let found = findings(&view);
    assert_eq!(
        ids(&found),
        [
            ("operations/failing", Warning),
            ("operations/slow", Warning),
            ("pleg/unhealthy", Warning),
            ("relist-time/slow", Warning),
            ("relist-time/stands", Critical),
            ("relist/runtime", Critical),
            ("runtime-calls/deadline", Warning),
            ("standing/stuck", Warning),
        ]
    );
    let says = |id: &str| says(&found, id);
    let pleg = says("pleg/unhealthy");
    assert!(pleg.contains("Nov 20 21:29:09 UTC to Nov 20 21:37:11 UTC"), "{pleg}");
    assert!(pleg.contains("NotReady once (first at Nov 20 21:31:17 UTC) and Ready again once"), "{pleg}");
    let calls = says("runtime-calls/deadline");
    assert!(calls.contains("ListPodSandbox × 2") && calls.contains("ListContainers × 11"), "{calls}");
    let relist = says("relist/runtime");
    assert!(
        relist.contains("ListPodSandbox") && relist.contains("waitOnHeader (client_stream.go:96) [select"),
        "{relist}"
    );
    let stands = says("standing/stuck");
    assert!(
        stands.starts_with("5 goroutines of the kubelet stand") && stands.contains("call ListPodSandbox"),
        "{stands}"
    );
    let slow = says("operations/slow");
    assert!(slow.contains("between the scrapes: list_containers mean 2m00s of 2 calls"), "{slow}");
    let failing = says("operations/failing");
    assert!(failing.contains("list_podsandbox 4 of 4"), "{failing}");
    assert_eq!(verdict(&found).sentence, "runtime does not answer: relist waits for ListPodSandbox");
}

#[test]
fn a_hang_that_goes_on_at_the_end_of_the_log_is_critical() {
    let whole = fs::read_to_string(fixture("analyze/kubelet-hang.log")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let until = whole.lines().position(|line| line.contains("21:37:")).unwrap();
    fs::write(dir.path().join("kubelet.log"), whole.lines().take(until).collect::<Vec<_>>().join("\n")).unwrap();
    let view = sources(dir.path()).unwrap()[0].view().unwrap();
    let found = findings(&view);
    assert_eq!(ids(&found), [("pleg/unhealthy", Severity::Critical), ("runtime-calls/deadline", Severity::Critical)]);
    assert_eq!(found[0].evidence[0].file, "kubelet.log", "cited by its own name");
    assert_eq!(verdict(&found).sentence, "runtime does not answer");
}

#[test]
fn relist_is_told_from_one_dump_in_each_form_and_version() {
    for (from, to, want) in [
        (
            format!("{HANG}/goroutine-debug2-t352.txt"),
            "kubelet/goroutine-1.txt",
            ("relist/runtime", Severity::Critical),
        ),
        (format!("{HANG}/goroutine-debug2-t020.txt"), "kubelet/goroutine-1.txt", ("relist/runtime", Severity::Warning)),
        (
            format!("{HANG}/goroutine-debug1-t352.txt"),
            "kubelet/goroutine-groups-1.txt",
            ("relist/runtime", Severity::Warning),
        ),
        (format!("{IDLE}/goroutine-debug2.txt"), "kubelet/goroutine-1.txt", ("relist/free", Severity::Info)),
        (format!("{IDLE}/goroutine-debug1.txt"), "kubelet/goroutine-groups-1.txt", ("relist/free", Severity::Info)),
        (format!("{OLD}/goroutine-debug2.txt"), "kubelet/goroutine-1.txt", ("relist/free", Severity::Info)),
        (format!("{OLD}/goroutine-debug1.txt"), "kubelet/goroutine-groups-1.txt", ("relist/free", Severity::Info)),
    ] {
        let (_dir, view) = laid_out(&[(&from, to)]);
        assert_eq!(ids(&findings(&view)), [want], "{from}");
    }
}

#[test]
fn a_relist_in_a_call_in_one_of_two_dumps_is_no_trouble() {
    let (_dir, view) = laid_out(&[
        (&format!("{HANG}/goroutine-debug2-t020.txt"), "kubelet/goroutine-1.txt"),
        (&format!("{IDLE}/goroutine-debug2.txt"), "kubelet/goroutine-2.txt"),
    ]);
    assert_eq!(ids(&findings(&view)), [("relist/free", Severity::Info), ("standing/none", Severity::Info)]);
}

#[test]
fn relist_over_its_channel_and_over_cni_are_told_apart() {
    let pleg = "k8s.io/kubernetes/pkg/kubelet/pleg.(*GenericPLEG)";
    let relist = format!("{pleg}.relist(0xc0)\n\tpkg/kubelet/pleg/generic.go:261 +0x7ea\n");
    let cni = "k8s.io/kubernetes/pkg/kubelet/dockershim/network.(*PluginManager).GetPodNetworkStatus(0xc0)\n\tplugins.go:1 +0x1\n";
    for (text, file, want) in [
        (format!("goroutine 7 [chan send, 900 minutes]:\n{relist}"), "goroutine.txt", "relist/channel-deadlock"),
        (
            format!(
                "goroutine profile: total 1\n1 @ 0x1 0x2\n#\t0x1\t{pleg}.relist+0x7ea\tpkg/kubelet/pleg/generic.go:261\n"
            ),
            "goroutine-debug1.txt",
            "relist/channel-deadlock",
        ),
        (format!("goroutine 7 [select, 3 minutes]:\n{cni}{relist}"), "goroutine.txt", "relist/cni"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), &text).unwrap();
        let view = sources(dir.path()).unwrap()[0].view().unwrap();
        assert_eq!(ids(&findings(&view)), [(want, Severity::Critical)], "{text}");
    }
}

#[test]
fn a_full_channel_is_told_with_the_version_of_the_kubelet() {
    let blocks = goroutine(7, "chan send, 900 minutes", &[&format!("{PLEG}.relist")]);
    let grouped = format!(
        "goroutine profile: total 1\n1 @ 0x1 0x2\n#\t0x1\t{PLEG}.relist+0x7ea\tpkg/kubelet/pleg/generic.go:261\n"
    );
    let log = |version: &str| format!("I1120 21:30:04.936200   12938 server.go:408] Version: {version}\n");
    for (file, dump, version, want, says_so) in [
        (
            "kubelet/goroutine-1.txt",
            &blocks,
            Some("v1.12.4"),
            "relist/channel-deadlock",
            "this kubelet is v1.12.4, and",
        ),
        ("kubelet/goroutine-1.txt", &blocks, Some("v1.14.0"), "relist/channel-deadlock", "which should not do that"),
        ("kubelet/goroutine-1.txt", &blocks, None, "relist/channel-deadlock", "is not in the evidence"),
        (
            "kubelet/goroutine-groups-1.txt",
            &grouped,
            Some("v1.9.6"),
            "relist/channel-deadlock",
            "this kubelet is v1.9.6",
        ),
        // A relist that runs looks the same in this form.
        ("kubelet/goroutine-groups-1.txt", &grouped, Some("v1.21.1"), "relist/working", "is at work"),
    ] {
        let mut files = vec![(file, dump.clone())];
        files.extend(version.map(|version| ("kubelet/journal.txt", log(version))));
        let (_dir, view) = written(&files);
        let sentence = says(&findings(&view), want);
        assert!(sentence.contains(says_so), "{sentence}");
    }
}

#[test]
fn what_dockershim_waits_for_in_the_same_process_is_told() {
    let v1 = "k8s.io/cri-api/pkg/apis/runtime/v1alpha2.(*runtimeServiceClient)";
    let relist = |call: &str| {
        goroutine(7, "select, 1 minutes", &[SELECT, INVOKE, &format!("{v1}.{call}"), &format!("{PLEG}.relist")])
    };
    let shim = "k8s.io/kubernetes/pkg/kubelet/dockershim";
    let http = "net/http.(*persistConn).roundTrip";
    let docker = |id, call: &str| {
        goroutine(
            id,
            "select, 1 minutes",
            &[
                http,
                &format!("{shim}/libdocker.(*kubeDockerClient).{call}"),
                &format!("{shim}.(*dockerService).{call}"),
            ],
        )
    };
    let cni = goroutine(
        9,
        "semacquire, 5 minutes",
        &[
            "sync.runtime_SemacquireMutex",
            "sync.(*Mutex).Lock",
            &format!("{shim}/network.(*PluginManager).GetPodNetworkStatus"),
            &format!("{shim}.(*dockerService).getIPs"),
        ],
    );
    for (dump, want, part) in [
        (
            relist("ListPodSandbox")
                + &docker(8, "ListContainers")
                + &docker(9, "ListContainers")
                + &docker(10, "StartExec"),
            "relist/runtime",
            "dockershim in the same process waits for dockerd: ListContainers × 2.",
        ),
        (relist("PodSandboxStatus") + &cni, "relist/cni", "GetPodNetworkStatus"),
        (relist("ListPodSandbox") + &cni, "relist/runtime", "ListPodSandbox has not been answered"),
    ] {
        let (_dir, view) = written(&[("kubelet/goroutine-1.txt", dump)]);
        let sentence = says(&findings(&view), want);
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn grouped_dumps_tell_the_same_of_dockershim() {
    let group = |count: u32, frames: &[&str]| {
        let lines: String = frames.iter().map(|frame| format!("#\t0x1\t{frame}+0x1\tsome/file.go:7\n")).collect();
        format!("{count} @ 0x1 0x2\n{lines}\n")
    };
    let v1 = "k8s.io/kubernetes/vendor/k8s.io/cri-api/pkg/apis/runtime/v1alpha2.(*runtimeServiceClient)";
    let shim = "k8s.io/kubernetes/pkg/kubelet/dockershim";
    let relist = |call: &str| group(1, &[SELECT, INVOKE, &format!("{v1}.{call}"), &format!("{PLEG}.relist")]);
    let title = "goroutine profile: total 9\n".to_owned();
    let docker = group(
        3,
        &["net/http.(*persistConn).roundTrip", &format!("{shim}/libdocker.(*kubeDockerClient).InspectContainer")],
    );
    let cni = group(
        1,
        &[
            "sync.runtime_SemacquireMutex",
            "sync.(*Mutex).Lock",
            &format!("{shim}/network.(*PluginManager).GetPodNetworkStatus"),
        ],
    );
    for (dump, want, part) in [
        (relist("ContainerStatus") + &docker, "relist/runtime", "ContainerStatus has not been answered"),
        (relist("ContainerStatus") + &docker, "relist/runtime", "dockerd: InspectContainer × 3"),
        (relist("PodSandboxStatus") + &cni, "relist/cni", "network plug-in"),
    ] {
        let (_dir, view) = written(&[("kubelet/goroutine-groups-1.txt", format!("{title}{dump}"))]);
        let sentence = says(&findings(&view), want);
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_relist_found_in_a_call_is_weighed_by_what_else_is_known() {
    use Severity::{Critical, Info, Warning};
    let young = text(&format!("{HANG}/goroutine-debug2-t020.txt"));
    let metrics = |seen: u32, count: u32| {
        format!(
            "kubelet_pleg_last_seen_seconds {seen}\nkubelet_pleg_relist_duration_seconds_bucket{{le=\"0.005\"}} {count}\n\
             kubelet_pleg_relist_duration_seconds_bucket{{le=\"+Inf\"}} {count}\nkubelet_pleg_relist_duration_seconds_sum 1\n\
             kubelet_pleg_relist_duration_seconds_count {count}\n"
        )
    };
    let well = log(&[], 30);
    let hangs = log(&[(20, 30)], 30).replace("event=\"NodeReady\"", "event=\"Other\"");
    let (one, two) = ("kubelet/goroutine-1.txt", "kubelet/goroutine-2.txt");
    let scrapes = |seen, count| {
        vec![("kubelet/metrics-1.txt", metrics(1_795_210_100, 50)), ("kubelet/metrics-2.txt", metrics(seen, count))]
    };
    for (dumps, others, want) in [
        (vec![one], vec![], ("relist/runtime", Warning)),
        (vec![one, two], vec![], ("relist/runtime", Critical)),
        (vec![one], vec![("kubelet/journal.txt", well.clone())], ("relist/busy", Info)),
        (vec![one, two], vec![("kubelet/journal.txt", well)], ("relist/runtime", Warning)),
        (vec![one], vec![("kubelet/journal.txt", hangs)], ("relist/runtime", Critical)),
        (vec![one, two], scrapes(1_795_210_130, 80), ("relist/busy", Info)),
        (vec![one], scrapes(1_795_210_100, 51), ("relist/runtime", Critical)),
    ] {
        let mut files: Vec<(&str, String)> = dumps.iter().map(|file| (*file, young.clone())).collect();
        let known: Vec<&str> = others.iter().map(|(file, _)| *file).collect();
        files.extend(others.clone());
        let (_dir, view) = written(&files);
        let found = findings(&view);
        let got = found.iter().find(|f| f.id.starts_with("relist/")).map(|f| (f.id.as_str(), f.severity));
        assert_eq!(got, Some(want), "{dumps:?} {known:?}");
    }
}
