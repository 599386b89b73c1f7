//! Three kubelets in one run: a healthy one, one whose runtime hangs, one of an old release. Uses worker-001 to worker-003.

use crate::evidence::{ca, collect, compare, forget_requests};
use crate::support::{Fault, verify};

#[test]
#[ignore = "needs the fleet"]
fn three_kubelets_are_collected_byte_for_byte_one_of_them_in_a_pleg_hang() {
    let nodes = ["worker-001", "worker-002", "worker-003"];
    nodes.iter().for_each(|node| forget_requests(node));
    let _hang = Fault::new("worker-002", &["kubelet-set", "kubelet-1.36.2-pleg-hang"]);
    let _old = Fault::new("worker-003", &["kubelet-set", "kubelet-1.21.1-dockershim"]);
    let run = collect("worker-00[1-3]", "node-diagnostics", &["--kubelet-ca", &ca()]);
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(verify(&run.dir).0, 0);
    for node in nodes {
        compare(&run, node);
        let access = &run.manifest(node)["kubelet"];
        assert_eq!(access["way"], "forward", "{access}");
        assert!(access["trust"].as_str().unwrap().starts_with("ca "), "{access}");
        assert!(access["key"].as_str().unwrap().starts_with("sha256:"), "{access}");
    }
    let hung = String::from_utf8(run.file("worker-002", "kubelet/goroutine-1.txt")).unwrap();
    assert!(hung.contains("GenericPLEG).Relist") && hung.contains("ListPodSandbox"));
    let samples = [1, 2].map(|n| run.file("worker-002", &format!("kubelet/goroutine-{n}.txt")));
    assert!(samples[0] != samples[1], "the two samples are the two recordings");
    assert!(run.step("worker-002", "kubelet/metrics-1")["duration-ms"].as_u64().unwrap() > 100_000);
}
