//! What the kubelet's metrics tell of now: relist that stands, operations that are slow or fail.

use super::*;
use crate::bundle::Manifest;

#[test]
fn a_relist_that_does_not_end_between_the_scrapes_is_not_called_fast() {
    let scrape = |seen: Option<u32>, count: u32, other: u32| {
        let seen = seen.map(|seen| format!("kubelet_pleg_last_seen_seconds {seen}\n")).unwrap_or_default();
        format!(
            "{seen}go_goroutines {other}\nkubelet_pleg_relist_latency_microseconds{{quantile=\"0.5\"}} 4000\n\
             kubelet_pleg_relist_latency_microseconds{{quantile=\"0.9\"}} 5000\n\
             kubelet_pleg_relist_latency_microseconds{{quantile=\"0.99\"}} 9000\n\
             kubelet_pleg_relist_latency_microseconds_sum 400000\nkubelet_pleg_relist_latency_microseconds_count {count}\n"
        )
    };
    for (first, second, want) in [
        // Old kubelets have no series of the last relist.
        (scrape(None, 100, 5), scrape(None, 100, 6), vec![("relist-time/stands", Severity::Critical)]),
        (
            scrape(Some(1_795_210_100), 100, 5),
            scrape(Some(1_795_210_100), 100, 6),
            vec![("relist-time/stands", Severity::Critical)],
        ),
        (scrape(None, 100, 5), scrape(None, 130, 6), vec![("relist-time/fast", Severity::Info)]),
        (scrape(None, 100, 5), scrape(None, 100, 5), vec![("relist-time/fast", Severity::Info)]),
        (scrape(None, 100, 5), scrape(None, 7, 6), vec![("relist-time/fast", Severity::Info)]),
    ] {
        let (_dir, view) = written(&[("kubelet/metrics-1.txt", first), ("kubelet/metrics-2.txt", second)]);
        assert_eq!(ids(&findings(&view)), want);
    }
    // With events from the runtime relist comes every 5 minutes.
    let evented = |other| scrape(Some(1_795_210_100), 100, other) + "kubelet_evented_pleg_connection_success_count 1\n";
    let (_dir, view) = written(&[("kubelet/metrics-1.txt", evented(5)), ("kubelet/metrics-2.txt", evented(6))]);
    assert_eq!(ids(&findings(&view)), [("relist-time/fast", Severity::Info)]);
}

#[test]
fn one_scrape_tells_of_a_relist_that_stands_if_it_is_of_the_kubelet_that_runs() {
    // Booted at 21:00:00, the kubelet 100 s later; the scrape was asked for at 22:00:10.
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for (start, seen, want) in [
        ("2026-11-20T21:01:42Z", "2026-11-20T21:50:00Z", "relist-time/stands"),
        ("2026-11-20T21:01:42Z", "2026-11-20T22:00:09Z", "relist-time/fast"),
        // Of another process: a recording, a kubelet started anew.
        ("2026-11-20T20:01:42Z", "2026-11-20T21:50:00Z", "relist-time/fast"),
    ] {
        let mut manifest: Manifest = serde_json::from_str(&text("analyze/healthy/manifest.json")).unwrap();
        manifest.header.started = time("2026-11-20T22:00:00Z");
        manifest.clock_offset_ms = Some(0);
        let facts = r#"{"uptime-s": 3600, "ticks-per-second": 100, "kubelet": {"pid": 7, "start-ticks": 10000}}"#;
        let metrics = format!(
            "process_start_time_seconds {}\nkubelet_pleg_last_seen_seconds {}\nkubelet_pleg_relist_duration_seconds_bucket{{le=\"0.01\"}} 9\n\
             kubelet_pleg_relist_duration_seconds_bucket{{le=\"+Inf\"}} 9\n",
            time(start).as_second(),
            time(seen).as_second()
        );
        let (dir, _) = written(&[("node/facts.json", facts.to_owned()), ("kubelet/metrics-1.txt", metrics)]);
        let mut asked = step("kubelet/metrics-1", Outcome::Complete, &["kubelet/metrics-1.txt"]);
        asked.started = Some(time("2026-11-20T22:00:10Z"));
        let view = NodeView::of_dir("worker-001".parse().unwrap(), Some(manifest), vec![asked], dir.path().to_owned());
        says(&findings(&view), want);
    }
}

#[test]
fn relists_that_ended_before_one_came_to_stand_say_nothing_of_now() {
    let metrics = "kubelet_pleg_relist_duration_seconds_bucket{le=\"0.01\"} 9\n\
                   kubelet_pleg_relist_duration_seconds_bucket{le=\"+Inf\"} 9\n";
    let (dir, view) = laid_out(&[(&format!("{HANG}/goroutine-debug2-t352.txt"), "kubelet/goroutine-1.txt")]);
    fs::write(dir.path().join("kubelet/metrics-1.txt"), metrics).unwrap();
    let found = findings(&view);
    assert_eq!(ids(&found), [("relist-time/before", Severity::Info), ("relist/runtime", Severity::Critical)]);
    assert!(says(&found, "relist-time/before").starts_with("Relists that ended were fast since the kubelet's start: "));
}

#[test]
fn operations_are_slow_or_fail_by_what_they_do_now() {
    use Severity::{Info, Warning};
    let summary = |kind: &str, ninety: u64, count: u64| {
        let name = "kubelet_runtime_operations_latency_microseconds";
        let of = format!("operation_type=\"{kind}\"");
        format!(
            "{name}{{{of},quantile=\"0.5\"}} {ninety}\n{name}{{{of},quantile=\"0.9\"}} {ninety}\n{name}{{{of},quantile=\"0.99\"}} {ninety}\n\
             {name}_sum{{{of}}} 1000000\n{name}_count{{{of}}} {count}\nkubelet_runtime_operations{{{of}}} {count}\n"
        )
    };
    let failed =
        |kind: &str, count: u64| format!("kubelet_runtime_operations_errors{{operation_type=\"{kind}\"}} {count}\n");
    let histogram = |kind: &str, fast: u64, slow: u64| {
        let of = format!("operation_type=\"{kind}\"");
        let (name, all) = ("kubelet_runtime_operations_duration_seconds", fast + slow);
        format!(
            "{name}_bucket{{{of},le=\"0.01\"}} {fast}\n{name}_bucket{{{of},le=\"10\"}} {fast}\n{name}_bucket{{{of},le=\"+Inf\"}} {all}\n{name}_sum{{{of}}} {}\n{name}_count{{{of}}} {all}\n",
            slow * 120
        )
    };
    for (name, first, second, want) in [
        ("old, well", None, summary("list_containers", 4_000, 50), ("operations/fast", Info)),
        ("old, slow", None, summary("list_containers", 4_000_000, 50), ("operations/slow", Warning)),
        (
            "a pull takes long",
            None,
            summary("pull_image", 90_000_000, 50) + &summary("version", 2_000, 9),
            ("operations/fast", Info),
        ),
        ("one hang, long over", None, histogram("list_podsandbox", 90_000, 4), ("operations/fast", Info)),
        ("one hang, the kubelet young", None, histogram("list_podsandbox", 90, 4), ("operations/at-times", Info)),
        ("slow as a rule", None, histogram("list_podsandbox", 90, 40), ("operations/slow", Warning)),
        (
            "slow in the past, fast now",
            Some(histogram("list_podsandbox", 90, 40)),
            histogram("list_podsandbox", 150, 40),
            ("operations/fast", Info),
        ),
        (
            "fast in the past, slow now",
            Some(histogram("list_podsandbox", 90_000, 0)),
            histogram("list_podsandbox", 90_000, 2),
            ("operations/slow", Warning),
        ),
        (
            "failed in the past",
            None,
            summary("list_containers", 4_000, 50) + &failed("run_podsandbox", 76),
            ("operations/fast", Info),
        ),
        (
            "fails now",
            Some(summary("list_containers", 4_000, 50) + &failed("list_containers", 3)),
            summary("list_containers", 4_000, 60) + &failed("list_containers", 6),
            ("operations/failing", Warning),
        ),
        (
            "a pod's own failures",
            Some(summary("start_container", 4_000, 50) + &summary("version", 2_000, 5) + &failed("start_container", 3)),
            summary("start_container", 4_000, 60) + &summary("version", 2_000, 9) + &failed("start_container", 13),
            ("operations/fast", Info),
        ),
        (
            "nothing ended",
            Some(summary("list_containers", 4_000, 50)),
            summary("list_containers", 4_000, 50) + "go_goroutines 7\n",
            ("operations/none-ended", Info),
        ),
    ] {
        let mut files = Vec::new();
        match first {
            Some(first) => files.extend([("kubelet/metrics-1.txt", first), ("kubelet/metrics-2.txt", second)]),
            None => files.push(("kubelet/metrics-1.txt", second)),
        }
        let (_dir, view) = written(&files);
        assert_eq!(ids(&findings(&view)), [want], "{name}");
    }
}
