//! Tests of the reader of the kubelet's log: on a genuine hang, and on the wording of other versions.

use std::time::Duration;

use super::kubelet::{self, ApiProblem, KubeletEvent, RpcFailure};
use super::tests::{each, one};

const HANG: &str = include_str!("../../../tests/fixtures/analyze/kubelet-hang.log");
const KUBELET: &str = include_str!("../../../tests/fixtures/analyze/kubelet-journal.txt");

#[test]
fn the_genuine_hang_is_read_with_its_times() {
    let found = each(HANG, kubelet::read);
    let first = |want: fn(&KubeletEvent) -> bool| found.iter().find(|(_, e)| want(e)).unwrap();
    let (line, event) = first(|e| matches!(e, KubeletEvent::PlegUnhealthy { .. }));
    assert_eq!(*line, 55);
    let seen = Duration::from_secs_f64(182.875_321_419);
    assert_eq!(
        *event,
        KubeletEvent::PlegUnhealthy { last_seen: Some(seen), threshold: Some(Duration::from_secs(180)) }
    );
    assert_eq!(first(|e| *e == KubeletEvent::RuntimeDown).0, 14);
    let RpcFailure { rpc, code, deadline, container, .. } = match &found[0].1 {
        KubeletEvent::Rpc(failure) => failure.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((found[0].0, rpc.as_str(), code.as_deref(), deadline), (2, "ContainerStatus", Some("Canceled"), false));
    assert_eq!(container.as_deref(), Some("59cf1a01d7eed098f0713205a67ebceaee9be7fd85399a46d754c6bc081aa45d"));
    let late = |name: &str| {
        let counts = |e: &KubeletEvent| matches!(e, KubeletEvent::Rpc(f) if f.deadline && f.rpc == name);
        found.iter().filter(|(_, e)| counts(e)).count()
    };
    assert_eq!((late("ListPodSandbox"), late("ListContainers"), late("ExecSync"), late("ListImages")), (2, 11, 2, 1));
    let (line, relist) = first(|e| matches!(e, KubeletEvent::RelistFailed { .. }));
    assert_eq!(*line, 9);
    assert!(matches!(relist, KubeletEvent::RelistFailed { deadline: true, .. }));
    let (line, event) = first(|e| matches!(e, KubeletEvent::NodeNotReady { .. }));
    let (reason, message) = ("KubeletNotReady".to_owned(), "container runtime is down".to_owned());
    assert_eq!((*line, event), (29, &KubeletEvent::NodeNotReady { reason, message }));
    assert!(found.iter().any(|(_, e)| *e == KubeletEvent::NodeReady));
    let slow = Duration::from_secs_f64(120.002);
    assert!(found.iter().any(|(_, e)| *e == KubeletEvent::HousekeepingSlow { took: Some(slow) }));
    let through_the_journal = each(KUBELET, kubelet::read);
    assert!(through_the_journal.iter().any(|(n, e)| *n == 8 && matches!(e, KubeletEvent::RelistFailed { .. })));
}

fn kubelet_says(source: &str, message: &str) -> Vec<KubeletEvent> {
    kubelet::read(&one(&format!("E1120 21:31:11.143909   12938 {source}] {message}")))
}

#[test]
fn old_and_new_wording_of_the_kubelet_mean_the_same() {
    let pleg = |seconds| KubeletEvent::PlegUnhealthy {
        last_seen: Some(Duration::from_secs(seconds)),
        threshold: Some(Duration::from_secs(180)),
    };
    for (message, want) in [
        (
            "skipping pod synchronization - [PLEG is not healthy: pleg was last seen active 58h29m3s ago; threshold is 3m0s]",
            vec![pleg(210_543)],
        ),
        (
            "skipping pod synchronization - PLEG is not healthy: pleg was last seen active 3m7s ago; threshold is 3m0s.",
            vec![pleg(187)],
        ),
        (
            "skipping pod synchronization - [container runtime is down PLEG is not healthy: pleg was last seen active 3m1s ago; threshold is 3m0s]",
            vec![pleg(181), KubeletEvent::RuntimeDown],
        ),
        ("skipping pod synchronization - [container runtime is down]", vec![KubeletEvent::RuntimeDown]),
        (
            "skipping pod synchronization - [container runtime status check may not have completed yet PLEG is not healthy: pleg has yet to be successful]",
            vec![KubeletEvent::PlegUnhealthy { last_seen: None, threshold: None }],
        ),
        (
            "skipping pod synchronization - [container runtime not ready: RuntimeReady=false reason:DockerDaemonNotReady message:docker: operation timeout, container runtime is down]",
            vec![
                KubeletEvent::RuntimeDown,
                KubeletEvent::RuntimeNotReady {
                    network: false,
                    message: "reason:DockerDaemonNotReady message:docker: operation timeout".into(),
                },
            ],
        ),
        (
            r#""Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady message:cni config uninitialized""#,
            vec![KubeletEvent::RuntimeNotReady {
                network: true,
                message: "reason:NetworkPluginNotReady message:cni config uninitialized".into(),
            }],
        ),
        (r#""Recording event message for node" node="w" event="NodeNotReady""#, vec![]),
        ("Recording NodeReady event message for node w", vec![KubeletEvent::NodeReady]),
        ("Recording NodeNotReady event message for node w", vec![]),
        ("FLAG: --v=\"2\"", vec![KubeletEvent::Flag { name: "v".into(), value: "2".into() }]),
        (r#""FLAG: --v=\"2\"""#, vec![KubeletEvent::Flag { name: "v".into(), value: "2".into() }]),
        (r#""Kubelet version" kubeletVersion="v1.36.2""#, vec![KubeletEvent::Starting { version: "v1.36.2".into() }]),
        ("Event channel is full, discard this relist() cycle event", vec![KubeletEvent::EventChannelFull]),
        (r#""event channel is full, discard this relist() cycle event""#, vec![KubeletEvent::EventChannelFull]),
        (
            "GenericPLEG: Unable to retrieve pods: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            vec![KubeletEvent::RelistFailed {
                error: "rpc error: code = DeadlineExceeded desc = context deadline exceeded".into(),
                deadline: true,
            }],
        ),
    ] {
        assert_eq!(kubelet_says("kubelet.go:1829", message), want, "{message}");
    }
    assert_eq!(
        kubelet_says("server.go:416", "Version: v1.16.3"),
        [KubeletEvent::Starting { version: "v1.16.3".into() }]
    );
    assert_eq!(kubelet_says("other.go:416", "Version: v1.16.3"), []);
    let old = "Node became not ready: {Type:Ready Status:False LastHeartbeatTime:2020-08-03 22:33:00.895 +0000 UTC m=+1885571.8 \
        LastTransitionTime:2020-08-03 22:33:00.895 +0000 UTC m=+1885571.8 Reason:KubeletNotReady Message:PLEG is not healthy: \
        pleg was last seen active 3m15s ago; threshold is 3m0s}";
    let message = "PLEG is not healthy: pleg was last seen active 3m15s ago; threshold is 3m0s".to_owned();
    let want = KubeletEvent::NodeNotReady { reason: "KubeletNotReady".into(), message };
    assert_eq!(kubelet_says("setters.go:541", old), [want]);
}

#[test]
fn the_container_or_sandbox_of_a_failed_call_is_found() {
    let id = "e2c5".repeat(16);
    let late = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    let docker = "rpc error: code = Unknown desc = operation timeout: context deadline exceeded";
    for (message, rpc, container, sandbox) in [
        (format!("ContainerStatus \"{id}\" from runtime service failed: {late}"), "ContainerStatus", true, false),
        (format!("StopContainer \"{id}\" from runtime service failed: {docker}"), "StopContainer", true, false),
        (format!("PodSandboxStatus \"{id}\" from runtime service failed: {late}"), "PodSandboxStatus", false, true),
        (
            format!("CreateContainer in sandbox \"{id}\" from runtime service failed: {late}"),
            "CreateContainer",
            false,
            true,
        ),
        (format!("ExecSync {id} '/bin/sh -c true' from runtime service failed: {late}"), "ExecSync", true, false),
        (
            format!("ListContainers with filter &ContainerFilter{{Id:,}} from runtime service failed: {late}"),
            "ListContainers",
            false,
            false,
        ),
        (
            format!("\"StopPodSandbox from runtime service failed\" err=\"{late}\" podSandboxID=\"{id}\""),
            "StopPodSandbox",
            false,
            true,
        ),
    ] {
        let found = kubelet_says("remote_runtime.go:332", &message);
        let [KubeletEvent::Rpc(failure)] = found.as_slice() else { panic!("{message}: {found:?}") };
        assert_eq!((failure.rpc.as_str(), failure.deadline), (rpc, true), "{message}");
        assert_eq!(failure.container.as_deref() == Some(&id), container, "{message}");
        assert_eq!(failure.sandbox.as_deref() == Some(&id), sandbox, "{message}");
    }
}

#[test]
fn failed_steps_of_a_pod_are_named_with_the_pod() {
    let new = r#""Error syncing pod, skipping" err="[failed to \"KillContainer\" for \"app\" with KillContainerError: \"rpc error: code = DeadlineExceeded desc = context deadline exceeded\", failed to \"KillPodSandbox\" for \"eea3\" with KillPodSandboxError: \"rpc error: code = Unknown desc = x\"]" pod="default/web-1" podUID="eea3""#;
    let old = r#"Error syncing pod 9f8a ("web-1_default(9f8a)"), skipping: failed to "KillContainer" for "app" with KillContainerError: "rpc error: code = DeadlineExceeded desc = context deadline exceeded""#;
    let names = |message: &str| -> Vec<(String, String, Option<String>, bool)> {
        let one = |event| match event {
            KubeletEvent::PodSyncFailed { step, about, pod, deadline, .. } => (step, about, pod, deadline),
            other => panic!("{other:?}"),
        };
        kubelet_says("pod_workers.go:1301", message).into_iter().map(one).collect()
    };
    let pod = Some("default/web-1".to_owned());
    let kill = ("KillContainer".to_owned(), "app".to_owned(), pod.clone(), true);
    assert_eq!(names(new), [kill.clone(), ("KillPodSandbox".to_owned(), "eea3".to_owned(), pod, false)]);
    assert_eq!(names(old), [kill]);
}

#[test]
fn trouble_with_the_api_server_and_secrets_is_told_from_trouble_with_registries() {
    let api = |problem| vec![KubeletEvent::ApiServer(problem)];
    for (source, message, want) in [
        (
            "reflector.go:204",
            r#""Failed to watch" err="failed to list *v1.Node: Unauthorized""#,
            api(ApiProblem::Unauthorized),
        ),
        (
            "reflector.go:138",
            "Failed to watch *v1.Service: services is forbidden: User \"x\" cannot list",
            api(ApiProblem::Forbidden),
        ),
        (
            "kubelet_node_status.go:549",
            r#""Error updating node status, will retry" err="error getting node \"vm\": Get \"https://10.0.0.1:6443/x\": dial tcp 10.0.0.1:6443: connect: connection refused""#,
            api(ApiProblem::Unreachable),
        ),
        (
            "controller.go:145",
            r#""Failed to ensure lease exists, will retry" err="Get \"https://x/y\": x509: certificate has expired""#,
            api(ApiProblem::Certificate),
        ),
        ("kuberuntime_image.go:55", r#""Failed to pull image" err="401 Unauthorized""#, vec![]),
        (
            "server.go:310",
            r#""Unable to authenticate the request due to an error" err="[invalid bearer token, Post \"https://x/tokenreviews\": context deadline exceeded]""#,
            vec![KubeletEvent::CallerNotAuthenticated(Some(ApiProblem::Unreachable))],
        ),
        (
            "kubelet_pods.go:880",
            "Unable to retrieve pull secret default/reg for default/web-0 due to secrets \"reg\" not found.  The image pull may not succeed.",
            vec![KubeletEvent::PullSecretMissing { pod: Some("default/web-0".into()), secret: Some("reg".into()) }],
        ),
        (
            "kubelet_pods.go:1012",
            r#""Unable to retrieve pull secret, the image pull may not succeed." pod="default/web-0" secret="" err="secret \"reg\" not found""#,
            vec![KubeletEvent::PullSecretMissing { pod: Some("default/web-0".into()), secret: Some("reg".into()) }],
        ),
        (
            "event.go:389",
            r#""Event occurred" object="w" kind="Node" type="Warning" reason="SystemOOM" message="System OOM encountered, victim process: java, pid: 4711""#,
            vec![KubeletEvent::SystemOom { process: Some("java".into()), pid: Some(4711) }],
        ),
        (
            "eviction_manager.go:369",
            r#""Eviction manager: must evict pod(s) to reclaim" resourceName="memory""#,
            vec![KubeletEvent::Evicting { resource: "memory".into() }],
        ),
    ] {
        assert_eq!(kubelet_says(source, message), want, "{message}");
    }
}
