//! `plegcollect report` as a user runs it: forms of input, forms of output, exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, and functions only they call"
)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

fn report(args: &[&Path], format: &str) -> (i32, String) {
    let mut command = Command::cargo_bin("plegcollect").unwrap();
    let output = command.arg("report").args(args).args(["--format", format]).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn bundles_of_older_formats_and_cut_ones_are_read() {
    for name in ["bundle-1.0.tar.zst", "bundle-1.1.tar.zst"] {
        let (code, text) = report(&[&fixture(name)], "text");
        assert_eq!(code, 0, "{name}: {text}");
        assert!(text.contains("worker-001: "), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("bundle-1.1.tar.zst")).unwrap();
    fs::write(dir.path().join("worker-001.tar.zst.partial"), &whole[..whole.len() - 200]).unwrap();
    let (code, text) = report(&[dir.path()], "json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["schema"].as_u64(), json["nodes"][0]["sealed"].as_bool()), (0, Some(1), Some(false)));
}

#[test]
fn a_dump_and_a_log_given_as_files_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let convoy = fixture("analyze/dockerd-20.10-convoy-1.log");
    let log = dir.path().join("kubelet-hang.log");
    fs::copy(fixture("analyze/kubelet-hang.log"), &log).unwrap();
    let (code, text) = report(&[&convoy, &log], "json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    let verdicts: Vec<&str> = (0..2).map(|at| json["nodes"][at]["verdict"]["sentence"].as_str().unwrap()).collect();
    assert_eq!(verdicts[0], "dockerd lock held by ContainerStop, which waits for containerd");
    assert!(verdicts[1].starts_with("runtime did not answer (over"), "{verdicts:?}");
    assert_eq!(json["nodes"][0]["findings"][0]["evidence"][0]["file"], "dockerd-20.10-convoy-1.log");
}

#[test]
fn files_of_one_directory_are_one_node_and_the_chain_goes_through_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("worker-007");
    fs::create_dir(&node).unwrap();
    let mut files = Vec::new();
    for (from, to) in [
        ("analyze/kubelet-hang.log", "kubelet.log"),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t020.txt", "stacks-1.txt"),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt", "stacks-2.txt"),
    ] {
        fs::copy(fixture(from), node.join(to)).unwrap();
        files.push(node.join(to));
    }
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (code, text) = report(&paths, "text");
    assert_eq!((code, text.matches("worker-007: ").count()), (0, 1), "{text}");
    assert!(text.starts_with("runtime     worker-007: runtime does not answer: relist waits"), "{text}");
    // The same as a directory whose files have other names.
    for (from, to) in [("stacks-1.txt", "goroutine-1.txt"), ("stacks-2.txt", "goroutine-2.txt")] {
        fs::rename(node.join(from), node.join(to)).unwrap();
    }
    let (_, again) = report(&[&node], "text");
    let head = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(head(&again), head(&text));
}

#[test]
fn a_run_with_damaged_bundles_tells_the_rest_and_each_node_once() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fixture("bundle-1.1.tar.zst");
    fs::copy(&whole, dir.path().join("worker-001.tar.zst")).unwrap();
    fs::copy(&whole, dir.path().join("copy.tar.zst")).unwrap();
    fs::write(dir.path().join("worker-002.tar.zst"), "no bundle").unwrap();
    let (code, text) = report(&[dir.path(), &dir.path().join("copy.tar.zst")], "json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, json["nodes"].as_array().unwrap().len(), json["unreadable"].as_array().unwrap().len()),
        (3, 1, 1)
    );
    let altered = |json: &serde_json::Value| json.to_string().contains("evidence/altered");
    assert!(!altered(&json), "{text}");
    let mut damaged = fs::read(&whole).unwrap();
    let at = damaged.len() - 900;
    damaged[at] ^= 0x55;
    fs::remove_file(dir.path().join("copy.tar.zst")).unwrap();
    fs::write(dir.path().join("worker-001.tar.zst"), damaged).unwrap();
    let (_, text) = report(&[dir.path()], "json");
    assert!(altered(&serde_json::from_str(&text).unwrap()), "{text}");
}

#[test]
fn what_is_no_evidence_is_refused_in_a_sentence_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("kubelet.log");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let words = dir.path().join("words.txt");
    fs::write(&words, "just some words\n").unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let (code, text) = report(&[&pipe, &words, &empty, Path::new("/dev/zero")], "json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["unreadable"].as_array().unwrap().len()), (3, 4), "{text}");
}

#[test]
fn the_cluster_is_told_beside_its_nodes_and_is_none_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("vm");
    fs::create_dir(&node).unwrap();
    for (from, to) in [
        ("analyze/kubelet-hang.log", "kubelet.log"),
        ("kube-apiserver/nodes.json", "nodes.json"),
        ("kube-apiserver/metrics-excerpt.txt", "apiserver-metrics.txt"),
    ] {
        fs::copy(fixture(from), node.join(to)).unwrap();
    }
    let (code, text) = report(&[&node], "json");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let count = |key: &str| json[key].as_array().unwrap().len();
    assert_eq!((code, count("nodes"), count("clusters")), (0, 1, 1), "{text}");
    let says = |key: &str, id: &str| json[key][0]["findings"].as_array().unwrap().iter().any(|f| f["id"] == id);
    assert!(says("clusters", "throttling/turned-away") && !says("nodes", "throttling/turned-away"), "{text}");
    assert!(says("nodes", "conditions/ready"), "{text}");
    for (format, node, cluster) in [
        ("text", "\nruntime     vm: ", "\nAPI server  cluster: "),
        ("markdown", "\n- **runtime**: `vm`: ", "\n- **API server**: `cluster`: "),
    ] {
        let (_, text) = report(&[&dir.path().join("vm")], format);
        let text = format!("\n{text}");
        assert!(text.find(node).unwrap() < text.find(cluster).unwrap(), "{text}");
    }
    let page = dir.path().join("report.html");
    let (code, text) = report(&[&node, Path::new("--output"), &page], "html");
    let page = fs::read_to_string(&page).unwrap();
    let section = page.split("<section id=\"cluster\">").nth(1).unwrap_or_else(|| panic!("{code} {text}"));
    assert!(section.split("</section>").next().unwrap().contains("throttling/turned-away"));
    assert!(page.contains("<a href=\"#cluster\">Cluster</a>"));
    fs::remove_file(node.join("apiserver-metrics.txt")).unwrap();
    let (_, text) = report(&[&node], "text");
    assert!(text.contains("\n\nwell        cluster: nothing tells how the API server is\n"), "{text}");
}

#[test]
fn what_happened_when_stands_below_the_verdict_and_all_of_it_on_request() {
    let log = fixture("analyze/kubelet-hang.log");
    let (_, text) = report(&[&log], "text");
    let rows = |text: &str| text.split("\nTimeline of ").nth(1).unwrap().lines().count();
    assert!(text.find("runtime does not answer") < text.find("\nTimeline of ") && rows(&text) <= 18, "{text}");
    assert!(text.contains("  !! PLEG unhealthy") || text.contains("  !  PLEG unhealthy"), "{text}");
    let (_, all) = report(&[&log, Path::new("--timeline")], "text");
    assert!(rows(&all) >= rows(&text) && !all.contains("left out here"), "{all}");
    assert_eq!(report(&[&log, Path::new("--timeline")], "markdown").0, 2);
    let (_, table) = report(&[&log], "markdown");
    assert!(table.contains("\n\n| time (UTC) | node | | what | see |\n"), "{table}");
}

#[test]
fn nothing_is_left_in_the_temporary_directory() {
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("plegcollect").unwrap();
    command.env("TMPDIR", tmp.path()).arg("report").arg(fixture("bundle-1.1.tar.zst")).assert().code(0);
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    let mut command = Command::cargo_bin("plegcollect").unwrap();
    let call = command.env("TMPDIR", tmp.path().join("none")).arg("report").arg(fixture("bundle-1.1.tar.zst"));
    let said = String::from_utf8(call.assert().code(3).get_output().stdout.clone()).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("cannot unpack") && said.contains("set TMPDIR to a directory"), "{said}");
}

#[test]
fn nodes_with_one_verdict_are_told_once_and_what_cannot_be_read_ends_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let nodes: Vec<PathBuf> = (1..=3).map(|n| dir.path().join(format!("worker-00{n}"))).collect();
    for node in &nodes {
        fs::create_dir_all(node.join("docker/stacks")).unwrap();
        fs::copy(fixture("analyze/dockerd-20.10-convoy-2.log"), node.join("docker/stacks/2.log")).unwrap();
    }
    let mut paths: Vec<&Path> = nodes.iter().map(PathBuf::as_path).collect();
    let (code, text) = report(&paths, "text");
    assert_eq!((code, text.matches("critical").count()), (0, 1), "{text}");
    assert!(text.contains("worker-00[1-3] (3 nodes): dockerd lock held by ContainerStop"), "{text}");
    let none = dir.path().join("none.tar.zst");
    paths.push(&none);
    let (code, text) = report(&paths, "markdown");
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("- **not read**: ") && text.contains("worker-00[1-3]"), "{text}");
}

#[test]
fn no_path_is_a_usage_error() {
    Command::cargo_bin("plegcollect").unwrap().arg("report").assert().code(2);
}

/// The keywords of JSON Schema that `report.schema.json` uses, and no other.
fn against(schema: &Value, at: &Value, value: &Value, path: &str) {
    let known = ["$schema", "$ref", "$defs", "title", "description", "type", "const", "enum", "anyOf", "required"];
    let more = ["properties", "items", "additionalProperties"];
    for key in at.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()) || more.contains(&key.as_str()), "the check does not know {key}");
    }
    if let Some(name) = at["$ref"].as_str() {
        against(schema, &schema["$defs"][name.strip_prefix("#/$defs/").unwrap()], value, path);
    }
    if let Some(any) = at["anyOf"].as_array() {
        let one = any.iter().find(|one| value.is_null() == (one["type"] == "null"));
        against(schema, one.unwrap_or_else(|| panic!("{path}: {value} is none of {any:?}")), value, path);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    match &at["type"] {
        Value::Null => {}
        Value::Array(any) => assert!(any.iter().any(is), "{path}: {value} is not {any:?}"),
        one => assert!(is(one), "{path}: {value} is not {one}"),
    }
    assert!(at["const"].is_null() || at["const"] == *value, "{path}: {value}");
    assert!(at["enum"].as_array().is_none_or(|any| any.contains(value)), "{path}: {value} is not in {}", at["enum"]);
    for name in at["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{path} lacks {name}");
    }
    for (name, inner) in value.as_object().into_iter().flatten().filter(|_| at["type"] == "object") {
        let described = at["properties"].get(name).unwrap_or(&at["additionalProperties"]);
        assert!(described.is_object(), "{path}.{name} is not described in report.schema.json");
        against(schema, described, inner, &format!("{path}.{name}"));
    }
    for (i, inner) in value.as_array().into_iter().flatten().enumerate() {
        against(schema, &at["items"], inner, &format!("{path}[{i}]"));
    }
}

#[test]
fn the_json_form_is_what_its_schema_says_and_the_same_each_time() {
    let (code, schema) = report(&[Path::new("--schema")], "json");
    assert_eq!(code, 0);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let healthy = fixture("analyze/healthy");
    let paths = [
        healthy,
        fixture("bundle-1.0.tar.zst"),
        fixture("bundle-1.1.tar.zst"),
        fixture("analyze/dockerd-20.10-convoy-2.log"),
        fixture("analyze/kubelet-hang.log"),
        fixture("analyze/kubelet-metrics-after.txt"),
        fixture("none"),
    ];
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let (code, text) = report(&paths, "json");
    assert!(code == 3 && text.is_ascii(), "one path is not there");
    against(&schema, &schema, &serde_json::from_str(&text).unwrap(), "");
    assert_eq!(report(&paths, "json").1, text);
}

#[test]
fn the_schema_describes_what_is_seldom_there() {
    use plegcollect::analyze::compare::{Difference, DifferenceKind};
    use plegcollect::analyze::figures::{GoroutineGroup, Goroutines, Latency, Operation};
    use plegcollect::analyze::finding::{Citation, Finding, Layer, Severity};
    use plegcollect::analyze::fleet::NodeDifferences;
    use plegcollect::analyze::moment::{Moment, MomentKind};
    use plegcollect::analyze::node::analyze;
    use plegcollect::analyze::source::Source;
    use plegcollect::report::analysis::{Analysis, JSON_SCHEMA, Unjudged, Unreadable};

    let view = Source::Bundle(fixture("bundle-1.1.tar.zst")).view().unwrap();
    let mut node = analyze(&view, "here".to_owned());
    let name = node.node.clone();
    let at = Citation { file: "docker/ps.txt".to_owned(), lines: Some((1, 2)) };
    let latency = Latency { mean: Some(0.5), p99: Some(f64::NAN), ..Latency::default() };
    node.figures.relist = Some(latency.clone());
    node.figures.relist_interval = Some(latency.clone());
    node.figures.operations.push(Operation { kind: "status".to_owned(), errors: f64::INFINITY, latency });
    node.figures.gauges.extend([("load".to_owned(), 1.5), ("none".to_owned(), f64::NAN)]);
    node.figures.counters.insert("calls".to_owned(), 7.0);
    node.figures = node.figures.finite();
    let group = GoroutineGroup {
        count: 3,
        state: "select".to_owned(),
        minutes: 5,
        place: "x".to_owned(),
        frames: vec!["x".to_owned()],
        at: at.clone(),
    };
    let states = vec![("select".to_owned(), 3)];
    node.figures.goroutines.push(Goroutines { states, groups: vec![group], ..Goroutines::default() });
    let time = "2026-11-20T23:17:00Z".parse().unwrap();
    let moment = Moment {
        time,
        until: Some(time),
        count: 2,
        node: name.clone(),
        kind: MomentKind::OomKill,
        severity: Severity::Warning,
        text: "x".to_owned(),
        citation: Some(at),
    };
    node.moments = vec![moment.clone(), Moment { until: None, citation: None, ..moment.clone() }];
    let full = Finding::new(&name, "disk/full", Severity::Critical, "x").blames(Layer::ApiServer);
    node.findings.push(full.cites("host/df.txt", 0, 0).then("y").alike("z"));
    let unreadable = Unreadable { path: "p".to_owned(), reason: "r".to_owned() };
    let unjudged = Unjudged { node: name.clone(), reason: "r".to_owned(), next: Some("n".to_owned()) };
    let mut analysis = Analysis::new(vec![node], Some(&name), vec![unreadable]).and_unjudged([unjudged]);
    analysis.timeline.push(moment);
    analysis.fleet.baseline_why = Some("it is Ready".to_owned());
    let difference = |base: Option<&str>| Difference {
        what: "kernel".to_owned(),
        kind: DifferenceKind::Version,
        base: base.map(str::to_owned),
        other: None,
        text: "x".to_owned(),
    };
    let differences = vec![difference(None), difference(Some("6.1"))];
    analysis.fleet.differences = vec![NodeDifferences { node: name, differences, more: 0 }];
    let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    against(&schema, &schema, &serde_json::from_str(&analysis.json().unwrap()).unwrap(), "");
}
