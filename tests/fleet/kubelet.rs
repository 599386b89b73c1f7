//! The kubelet of the fleet's nodes: it serves what real kubelets answered, to those who may have it, and fails on demand.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Fault, fleet, on_node, state};

const NODE: &str = "worker-003";

/// Asks from within the node; the token goes by standard input. An empty user sends none.
fn curl(target: &str, user: &str) -> Output {
    let mut config = format!("silent\nshow-error\nmax-time = 10\nurl = \"https://127.0.0.1:10250{target}\"\n");
    config += "cacert = \"/etc/kubernetes/pki/ca.crt\"\nwrite-out = \"%{stderr}%{http_code}\"\n";
    if !user.is_empty() {
        let token = std::fs::read_to_string(fleet(&["path", "kubelet-token", user]).trim()).unwrap();
        config += &format!("header = \"Authorization: Bearer {token}\"\n");
    }
    let mut call = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet"))
        .args(["exec", NODE, "curl", "-K", "-"])
        .env("PLEGCOLLECT_FLEET_DIR", state())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    call.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    call.wait_with_output().unwrap()
}

fn status(target: &str, user: &str) -> String {
    String::from_utf8(curl(target, user).stderr).unwrap()
}

fn recorded(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubelet").join(file)).unwrap()
}

#[test]
#[ignore = "needs the fleet"]
fn a_node_s_kubelet_serves_recordings_and_fails_on_demand() {
    const STACKS: &str = "/debug/pprof/goroutine?debug=2";
    let user = "node-diagnostics";
    assert!(curl(STACKS, user).stdout == recorded("kubelet-1.36.2/goroutine-debug2.txt"));
    assert_eq!(status(STACKS, "no-rights"), "403");
    assert_eq!(status(STACKS, ""), "401");
    assert_eq!(on_node(NODE, "curl -s http://127.0.0.1:10248/healthz"), "ok");
    let asked = on_node(NODE, "cat /run/kubelet-stand-in/requests");
    assert!(asked.contains("system:serviceaccount:kube-system:node-diagnostics"), "{asked}");

    let pid = on_node(NODE, "systemctl show -p MainPID --value kubelet").trim().to_owned();
    {
        let _hang = Fault::new(NODE, &["kubelet-set", "kubelet-1.36.2-pleg-hang"]);
        let samples = [curl(STACKS, user).stdout, curl(STACKS, user).stdout];
        for file in ["goroutine-debug2-t020.txt", "goroutine-debug2-t352.txt"] {
            assert!(samples.contains(&recorded(&format!("kubelet-1.36.2-pleg-hang/{file}"))), "{file}");
        }
        let _off = Fault::new(NODE, &["kubelet-variant", "nowhere"]);
        assert_eq!(status(STACKS, user), "501");
    }
    {
        let _off = Fault::new(NODE, &["kubelet-404"]);
        assert_eq!(status(STACKS, user), "404");
        assert_eq!(status("/configz", user), "200");
    }
    {
        let _foreign = Fault::new(NODE, &["kubelet-self-signed"]);
        assert_eq!(curl("/configz", user).status.code(), Some(60), "the certificate is of another CA");
    }
    assert_eq!(on_node(NODE, "systemctl show -p MainPID --value kubelet").trim(), pid);
    {
        let _down = Fault::new(NODE, &["kubelet-down"]);
        assert_eq!(curl("/configz", user).status.code(), Some(7), "refused");
    }
    assert_eq!(status("/configz", user), "200");
}
