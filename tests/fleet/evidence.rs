//! What kubelets answer, as it stands in bundles: byte for byte, whatever the way; and what is said of kubelets that do not
//! answer, with the rest of the node's evidence complete. Uses worker-001.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::{Fault, Run, fleet, on_node, plegcollect, state, verify};

/// Requests of an incident run to the authenticated port.
const STEPS: [&str; 12] = [
    "kubelet/healthz",
    "kubelet/goroutine-groups-1",
    "kubelet/goroutine-1",
    "kubelet/configz",
    "kubelet/pods",
    "kubelet/metrics-1",
    "kubelet/heap",
    "kubelet/profile",
    "kubelet/goroutine-groups-2",
    "kubelet/goroutine-2",
    "kubelet/metrics-2",
    "kubelet/healthz-local",
];

/// The file with a user's token.
pub(crate) fn token_file(user: &str) -> String {
    fleet(&["path", "kubelet-token", user]).trim().to_owned()
}

/// The authority of the kubelets' certificates.
pub(crate) fn ca() -> String {
    fleet(&["path", "kubelet-ca"]).trim().to_owned()
}

/// A run of everything that changes nothing, as a user with rights for all of it.
pub(crate) fn collect(nodes: &str, user: &str, trust: &[&str]) -> Run {
    let token = token_file(user);
    let mut args = vec!["--nodes", nodes, "--read-only", "--kubelet-token-file", &token];
    args.extend(trust);
    plegcollect(&args).run()
}

/// The kubelet's log of requests since the mark, as JSON lines.
fn requests(node: &str) -> Vec<Value> {
    on_node(node, "cat /run/kubelet-stand-in/requests").lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

pub(crate) fn forget_requests(node: &str) {
    on_node(node, ": >/run/kubelet-stand-in/requests");
}

/// Every kubelet file of a bundle is one that was served, byte for byte.
pub(crate) fn compare(run: &Run, node: &str) {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubelet");
    let served = requests(node);
    let mut files = BTreeSet::new();
    for id in STEPS {
        let step = run.step(node, id);
        if step["outcome"] == "skipped" {
            assert!(id == "kubelet/metrics-2", "{node}: {step}");
            assert!(step["detail"].as_str().unwrap().contains("the runtime hangs"), "{step}");
            continue;
        }
        assert_eq!(step["outcome"], "complete", "{node}: {step}");
        assert_eq!(step["files"][0]["redactions"], 0, "{node}: {step}");
        let path = step["files"][0]["path"].as_str().unwrap();
        let got = run.file(node, path);
        assert!(!got.is_empty(), "{node}: {path} is empty");
        if id == "kubelet/healthz-local" {
            assert_eq!(got, b"ok", "{node}");
            continue;
        }
        let target = step["command"].as_str().unwrap();
        let from = served.iter().filter_map(|r| {
            let path = r["path"].as_str()?;
            target.contains(path).then(|| r["file"].as_str().map(ToOwned::to_owned))?
        });
        let same = from.into_iter().find(|file| std::fs::read(recordings.join(file)).is_ok_and(|bytes| bytes == got));
        files.insert(same.unwrap_or_else(|| panic!("{node}: {path} is none of the answers to {target}: {served:?}")));
    }
    let of = |word: &str| files.iter().any(|f| f.contains(word));
    assert!(of("goroutine-debug1") && of("goroutine-debug2") && of("metrics") && of("heap"), "{files:?}");
}

#[test]
#[ignore = "needs the fleet"]
fn where_forwarding_is_forbidden_curl_on_the_node_brings_the_same_bytes() {
    forget_requests("worker-001");
    let _off = Fault::new("worker-001", &["no-forwarding"]);
    let run = collect("worker-001", "node-diagnostics", &["--kubelet-ca", &ca()]);
    assert_eq!(run.code, 0, "{}", run.said());
    compare(&run, "worker-001");
    let access = &run.manifest("worker-001")["kubelet"];
    assert_eq!(access["way"], "curl", "{access}");
    assert!(access["refused-ways"][0].as_str().unwrap().starts_with("forward: "), "{access}");
}

/// A fault of worker-001 and what a run says of it.
struct Row {
    fault: &'static [&'static str],
    user: &'static str,
    trust: &'static [&'static str],
    /// Step, outcome, words of its sentence.
    said: &'static [(&'static str, &'static str, &'static [&'static str])],
}

const CA: &[&str] = &["--kubelet-ca", "CA"];
const INSECURE: &[&str] = &["--kubelet-insecure"];

#[test]
#[ignore = "needs the fleet"]
fn each_trouble_has_its_outcome_and_its_sentence_and_the_rest_is_complete() {
    let all = "node-diagnostics";
    let rows = [
        Row {
            fault: &["kubelet-401"],
            user: all,
            trust: CA,
            said: &[
                ("kubelet/healthz", "failed", &["401", "either the token is not valid", "API server", "its log"]),
                ("kubelet/pods", "failed", &["not asked again", "401"]),
                ("kubelet/healthz-local", "complete", &[]),
            ],
        },
        Row {
            fault: &[],
            user: "metrics-only",
            trust: CA,
            said: &[
                ("kubelet/goroutine-1", "failed", &["403", "nodes/proxy", "plan --rbac"]),
                ("kubelet/metrics-1", "complete", &[]),
            ],
        },
        Row {
            fault: &["kubelet-self-signed"],
            user: all,
            trust: CA,
            said: &[
                ("kubelet/healthz", "failed", &["certificate"]),
                ("kubelet/goroutine-2", "failed", &["not asked again"]),
            ],
        },
        Row {
            fault: &["kubelet-404"],
            user: all,
            trust: CA,
            said: &[
                ("kubelet/goroutine-1", "absent", &["this kubelet has no /debug/pprof"]),
                ("kubelet/pods", "complete", &[]),
            ],
        },
        Row {
            fault: &["kubelet-variant", "profiling-and-flags-off"],
            user: all,
            trust: CA,
            said: &[("kubelet/goroutine-1", "absent", &["enableProfilingHandler"])],
        },
        Row {
            fault: &["kubelet-hung", "/configz"],
            user: all,
            trust: INSECURE,
            said: &[
                ("kubelet/configz", "timed-out", &["did not answer within 10s"]),
                ("kubelet/pods", "complete", &[]),
            ],
        },
        Row {
            fault: &["kubelet-endless", "/debug/pprof/heap"],
            user: all,
            trust: INSECURE,
            said: &[("kubelet/heap", "truncated", &["left out"]), ("kubelet/goroutine-2", "complete", &[])],
        },
        Row {
            fault: &["kubelet-short", "500", "/pods"],
            user: all,
            trust: INSECURE,
            said: &[("kubelet/pods", "failed", &["what came is kept"]), ("kubelet/metrics-1", "complete", &[])],
        },
        Row {
            fault: &["kubelet-cut", "1000", "/debug/pprof/goroutine"],
            user: all,
            trust: INSECURE,
            said: &[("kubelet/goroutine-1", "failed", &["what came is kept"]), ("kubelet/goroutine-2", "failed", &[])],
        },
        Row {
            fault: &["kubelet-frozen"],
            user: all,
            trust: INSECURE,
            said: &[
                ("kubelet/healthz", "timed-out", &["hangs or is stopped"]),
                ("kubelet/healthz-local", "timed-out", &[]),
            ],
        },
    ];
    let authority = ca();
    for row in rows {
        let _fault = (!row.fault.is_empty()).then(|| Fault::new("worker-001", row.fault));
        let trust: Vec<&str> = row.trust.iter().map(|w| if *w == "CA" { authority.as_str() } else { w }).collect();
        let run = collect("worker-001", row.user, &trust);
        let context = format!("{:?} as {}: {}", row.fault, row.user, run.said());
        let spoiled = row.said.iter().any(|(_, outcome, _)| !matches!(*outcome, "complete" | "absent"));
        assert_eq!(run.code, if spoiled { 10 } else { 0 }, "{context}");
        for (id, outcome, words) in row.said {
            let step = run.step("worker-001", id);
            assert_eq!(step["outcome"], *outcome, "{id}: {step}\n{context}");
            let detail = step["detail"].as_str().unwrap_or_default();
            for word in *words {
                assert!(detail.contains(word), "{id}: no {word:?} in {detail:?}\n{context}");
            }
        }
        let manifest = run.manifest("worker-001");
        for step in manifest["steps"].as_array().unwrap() {
            let id = step["id"].as_str().unwrap();
            let fine = matches!(step["outcome"].as_str().unwrap(), "complete" | "absent" | "skipped");
            assert!(fine || STEPS.contains(&id), "{id} suffers from the kubelet: {step}\n{context}");
        }
        assert_eq!(verify(&run.dir).0, 0, "{context}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_kubelet_that_is_down_is_told_by_absence_and_one_cut_off_from_its_api_server_by_a_late_401() {
    {
        let _down = Fault::new("worker-001", &["kubelet-down"]);
        let run = collect("worker-001", "node-diagnostics", &["--kubelet-insecure"]);
        assert_eq!(run.code, 0, "{}", run.said());
        let step = run.step("worker-001", "kubelet/goroutine-1");
        assert_eq!(step["outcome"], "absent", "{step}");
        assert!(step["detail"].as_str().unwrap().contains("kubelet does not run"), "{step}");
    }
    let _cut_off = Fault::new("worker-001", &["kubelet-cut-off"]);
    let run = collect("worker-001", "node-diagnostics", &["--kubelet-insecure"]);
    let step = run.step("worker-001", "kubelet/healthz");
    assert_eq!(step["outcome"], "failed", "{}", run.said());
    assert!(step["duration-ms"].as_u64().unwrap() > 25_000, "{step}");
    assert!(step["detail"].as_str().unwrap().contains("API server"), "{step}");
    assert_eq!(run.step("worker-001", "kubelet/healthz-local")["outcome"], "complete");
    assert!(run.took.as_secs() < 60, "{:?}: one 401 is enough\n{}", run.took, run.said());
}

#[test]
#[ignore = "needs the fleet"]
fn a_kubelet_s_key_is_recorded_at_the_first_use_and_another_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pins = dir.path().join("keys");
    let pins = pins.to_str().unwrap();
    let trust = ["--kubelet-pins", pins, "--include", "kubelet"];
    let first = collect("worker-001", "node-diagnostics", &trust);
    assert_eq!(first.code, 0, "{}", first.said());
    assert!(first.manifest("worker-001")["kubelet"]["trust"].as_str().unwrap().contains("recorded now"));
    let text = std::fs::read_to_string(pins).unwrap();
    assert!(text.starts_with("worker-001 sha256:") && text.lines().count() == 1, "{text}");

    let again = collect("worker-001", "node-diagnostics", &trust);
    assert_eq!(again.code, 0, "{}", again.said());
    assert!(again.manifest("worker-001")["kubelet"]["trust"].as_str().unwrap().contains("since"));

    forget_requests("worker-001");
    let _other = Fault::new("worker-001", &["kubelet-self-signed"]);
    let refused = collect("worker-001", "node-diagnostics", &trust);
    assert_eq!(refused.code, 10, "{}", refused.said());
    let step = refused.step("worker-001", "kubelet/healthz");
    let detail = step["detail"].as_str().unwrap();
    assert!(detail.contains(pins) && detail.contains("worker-001"), "{detail}");
    assert_eq!(std::fs::read_to_string(pins).unwrap(), text);
    let known = |r: &Value| r["user"].as_str().is_some_and(|user| user.contains("node-diagnostics"));
    assert!(!requests("worker-001").iter().any(known), "the token went to a kubelet with another key");
    assert!(state().exists());
}
