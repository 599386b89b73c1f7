//! Large and endless output: caps hold, memory stays flat, nothing is invented.

use std::io::Write;
use std::path::PathBuf;

use crate::support::{Fault, memory_kib, plegcollect_with, state};

/// The fleet's inventory with steps of our own appended.
fn with_steps(dir: &std::path::Path, steps: &str) -> PathBuf {
    let mut text = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    text.push('\n');
    text.push_str(steps);
    let path = dir.join("inventory.toml");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

/// Runs to the end, sampling memory; returns the run and the peak in KiB.
fn run_measured(inventory: &std::path::Path, args: &[&str]) -> (crate::support::Run, u64) {
    let mut call = plegcollect_with(inventory, args);
    let peak = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let file = call.out.path().join("stdout");
    let errors = call.out.path().join("stderr");
    let mut child = call
        .command
        .stdout(std::fs::File::create(&file).unwrap())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some((high, _)) = memory_kib(child.id()) {
            peak.fetch_max(high, std::sync::atomic::Ordering::Relaxed);
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let dir = crate::support::run_dir(call.out.path()).unwrap_or_default();
    let record =
        std::fs::read(dir.join("run.json")).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let output =
        std::process::Output { status, stdout: std::fs::read(file).unwrap(), stderr: std::fs::read(errors).unwrap() };
    let run = crate::support::Run {
        code: status.code().unwrap_or(-1),
        output,
        dir,
        record,
        took: std::time::Duration::ZERO,
        _out: call.out,
    };
    (run, peak.load(std::sync::atomic::Ordering::Relaxed))
}

#[test]
#[ignore = "needs the fleet"]
fn an_endless_step_stops_at_its_cap_with_flat_memory() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = with_steps(
        dir.path(),
        r#"
[[step]]
id = "own/endless"
about = "prints without end"
timeout = "30s"
max-bytes = "8MB"
compress = true
[[step.try]]
argv = ["yes", "plegcollect"]
"#,
    );
    let (base, quiet) = run_measured(&inventory, &["--nodes", "worker-001", "--include", "host/meminfo"]);
    assert_eq!(base.code, 0, "{}", base.said());
    let (run, peak) = run_measured(&inventory, &["--nodes", "worker-001", "--include", "own/endless"]);
    assert_eq!(run.code, 10, "{}", run.said());
    let step = run.step("worker-001", "own/endless");
    assert_eq!(step["outcome"], "truncated", "{step}");
    assert!(step["files"][0]["omitted-bytes"].as_u64().unwrap() > 0, "{step}");
    let text = run.file("worker-001", "own/endless.txt");
    assert!(text.len() < 8_400_000, "{}", text.len());
    assert!(text.starts_with(b"plegcollect\nplegcollect\n"));
    // The tail ends where we stopped reading, which may be in the middle of a line.
    let tail = String::from_utf8_lossy(&text[text.len() - 100..]).into_owned();
    assert!(tail.contains("\nplegcollect\nplegcollect\n"), "{tail}");
    assert!(text.windows(25).any(|w| w.starts_with(b"[plegcollect: ")), "no mark of what was left out");
    println!("peak memory: {quiet} KiB for a small step, {peak} KiB for the endless one");
    assert!(peak < quiet + 40_000, "{quiet} KiB -> {peak} KiB");
}

#[test]
#[ignore = "needs the fleet"]
fn a_gigabyte_streams_with_flat_memory() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = with_steps(
        dir.path(),
        r#"
[[step]]
id = "own/gigabyte"
about = "a journal of a gigabyte"
timeout = "300s"
max-bytes = "2GB"
compress = true
[[step.try]]
script = "i=0; line=$(journalctl -n 400 --no-pager | head -c 64000); while [ $i -lt 16 ]; do line=\"$line\n$line\"; i=$((i+1)); [ ${#line} -gt 1000000 ] && break; done; n=$((1073741824 / ${#line} + 1)); i=0; while [ $i -lt $n ]; do printf '%s\\n' \"$line\"; i=$((i+1)); done"
"#,
    );
    let (run, peak) =
        run_measured(&inventory, &["--nodes", "worker-001", "--include", "own/gigabyte", "--node-deadline", "10m"]);
    let step = run.step("worker-001", "own/gigabyte");
    assert_eq!(run.code, 0, "{step} {}", run.said());
    assert!(step["files"][0]["bytes"].as_u64().unwrap() >= 1_000_000_000, "{step}");
    println!(
        "peak memory with 1 GiB of evidence: {peak} KiB; step {} ms, {} bytes on the wire",
        step["duration-ms"], step["wire-bytes"]
    );
    assert!(peak < 120_000, "{peak} KiB");
}

#[test]
#[ignore = "needs the fleet"]
fn an_endless_tool_does_no_harm() {
    let _mad = Fault::new("worker-002", &["endless-tool", "iostat"]);
    let (run, _) = run_measured(&state().join("inventory.toml"), &["--nodes", "worker-002", "--include", "host"]);
    assert_eq!(run.code, 10, "{}", run.said());
    let outcome = run.step("worker-002", "host/iostat")["outcome"].clone();
    assert!(outcome == "truncated" || outcome == "timed-out", "{outcome}");
}
