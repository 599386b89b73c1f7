//! Tests of the metrics on scrapes of real kubelets and of a real API server, and on the format's corners.

use super::*;

const BEFORE: &str = include_str!("../../../tests/fixtures/analyze/kubelet-metrics-before.txt");
const AFTER: &str = include_str!("../../../tests/fixtures/analyze/kubelet-metrics-after.txt");
const NEW: &str = include_str!("../../../tests/fixtures/kubelet/kubelet-1.36.2/metrics.txt");
const OLD: &str = include_str!("../../../tests/fixtures/kubelet/kubelet-1.21.1-dockershim/metrics.txt");
const API: &str = include_str!("../../../tests/fixtures/analyze/apiserver-metrics.txt");

fn scrape(text: &str) -> Scrape {
    Scrape::read(text.as_bytes(), &kubelet::PREFIXES).unwrap()
}

#[test]
fn samples_are_read_with_every_corner_of_the_format() {
    for (line, name, labels, value, timestamp) in [
        ("a 1", "a", vec![], 1.0, None),
        ("  a:b_c\t1e+06  1700000000123", "a:b_c", vec![], 1e6, Some(1_700_000_000_123.0)),
        (r#"a{x="1",} 2"#, "a", vec![("x", "1")], 2.0, None),
        (r#"a{ x = "1" , y = "2" } 2"#, "a", vec![("x", "1"), ("y", "2")], 2.0, None),
        (r#"a{x="b, c=\"}\" \\ \n"} +Inf"#, "a", vec![("x", "b, c=\"}\" \\ \n")], f64::INFINITY, None),
        (r#"a {} -3.5"#, "a", vec![], -3.5, None),
        (r##"a_bucket{le="1"} 5 # {trace_id="x"} 0.5 1.7e9"##, "a_bucket", vec![("le", "1")], 5.0, None),
        (r##"a_total{le="1"} 5 1700000000.5 # {t="x"} 1"##, "a_total", vec![("le", "1")], 5.0, Some(1_700_000_000.5)),
        (r#"a{x="ü"} 1"#, "a", vec![("x", "ü")], 1.0, None),
    ] {
        let got = sample(line).unwrap_or_else(|| panic!("{line}"));
        let read: Vec<(&str, String)> = got.labels.iter().map(|(n, v)| (n, v.into_owned())).collect();
        let want: Vec<(&str, String)> = labels.into_iter().map(|(n, v)| (n, v.to_owned())).collect();
        assert_eq!((got.name, read, got.timestamp), (name, want, timestamp), "{line}");
        assert_eq!(got.value.to_bits(), value.to_bits(), "{line}");
    }
    assert!(sample("a NaN").unwrap().value.is_nan());
    for line in [
        "",
        "# HELP a b",
        "# EOF",
        "a",
        "a b",
        "1a 1",
        "a{x=\"1} 2",
        "a{x=1} 2",
        "a{x=\"1\" y=\"2\"} 3",
        "a{,} 1",
        "a{x=\"1\"",
        "a{x=\"1\",",
        "a{x=\"1\"}",
        "a{\"quoted\"} 1",
        "ä 1",
        "a-b 1",
        "a 1 later",
    ] {
        assert_eq!(sample(line), None, "{line}");
    }
}

#[test]
fn every_line_of_real_scrapes_is_read() {
    for text in [NEW, OLD, API, include_str!("../../../tests/fixtures/kubelet/kubelet-1.36.2/metrics-cadvisor.txt")] {
        let read = Scrape::read(text.as_bytes(), &[""]).unwrap();
        let samples = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).count();
        assert_eq!((read.samples, read.broken, read.dropped), (samples as u64, 0, 0));
    }
}

#[test]
fn quantiles_of_a_healthy_kubelet_are_small() {
    for (text, pods) in [(NEW, 3.0), (OLD, 2.0)] {
        let read = scrape(text);
        let relist = kubelet::relist(&read);
        let duration = relist.duration.unwrap();
        assert!(!duration.is_summary() && duration.line > 0);
        assert!(duration.quantile(0.5).unwrap().value < 0.01 && duration.quantile(0.99).unwrap().value < 0.5);
        assert!((0.9..1.5).contains(&relist.interval.unwrap().mean().unwrap()));
        assert!(relist.last_seen.is_some() && kubelet::started(&read).is_some());
        assert_eq!((kubelet::running_pods(&read), relist.discarded), (Some(pods), Some(0.0)));
        let operations = kubelet::operations(&read);
        assert!(operations.iter().any(|o| o.kind == "list_podsandbox" && o.count > Some(100.0) && o.latency.is_some()));
    }
}

#[test]
fn the_hang_shows_in_the_difference_of_two_scrapes() {
    let (before, after) = (scrape(BEFORE), scrape(AFTER));
    let (was, now) = (kubelet::relist(&before).duration.unwrap(), kubelet::relist(&after).duration.unwrap());
    let between = now.since(&was).unwrap();
    assert_eq!(between.count, Some(12.0));
    assert_eq!(between.quantile(0.99), Some(Quantile { value: 10.0, at_least: true }));
    assert!((between.sum.unwrap() - 467.594).abs() < 0.001);
    assert_eq!(was.since(&now), None, "a counter that went back is a restart");
    let listed = |s: &Scrape| kubelet::operations(s).into_iter().find(|o| o.kind == "list_podsandbox").unwrap();
    assert!(listed(&after).errors > listed(&before).errors);
}

#[test]
fn quantiles_are_interpolated_and_never_beyond_what_is_known() {
    let of = |text: &str| scrape(text).distribution(&["kubelet_pleg_x_seconds"], &[]);
    let text = "kubelet_pleg_x_seconds_bucket{le=\"1\"} 10\nkubelet_pleg_x_seconds_bucket{le=\"+Inf\"} 40\n\
        kubelet_pleg_x_seconds_bucket{le=\"2\"} 30\nkubelet_pleg_x_seconds_sum 60\nkubelet_pleg_x_seconds_count 40\n";
    let x = of(text).unwrap();
    let at = |rank| x.quantile(rank).map(|q| (q.value, q.at_least));
    assert_eq!(
        (at(0.5), at(0.25), at(0.99), at(0.0)),
        (Some((1.5, false)), Some((1.0, false)), Some((2.0, true)), Some((0.0, false)))
    );
    assert_eq!(x.mean(), Some(1.5));
    assert_eq!(of("kubelet_pleg_x_seconds_bucket{le=\"+Inf\"} 0\n").unwrap().quantile(0.5), None);
    assert_eq!(
        of("kubelet_pleg_x_seconds_bucket{le=\"+Inf\"} 3\n").unwrap().quantile(0.5),
        Some(Quantile { value: 0.0, at_least: true })
    );
    let falling = "kubelet_pleg_x_seconds_bucket{le=\"1\"} 10\nkubelet_pleg_x_seconds_bucket{le=\"2\"} 4\n\
        kubelet_pleg_x_seconds_bucket{le=\"4\"} 20\n";
    assert_eq!(of(falling).unwrap().quantile(0.75), Some(Quantile { value: 3.0, at_least: false }));
    let twice = "kubelet_pleg_x_seconds_bucket{le=\"1\"} 1\nkubelet_pleg_x_seconds_bucket{le=\"+Inf\"} 2\n\
        kubelet_pleg_x_seconds_bucket{le=\"+Inf\"} 9\nkubelet_pleg_x_seconds_bucket{le=\"-Inf\"} 9\n";
    assert_eq!(of(twice).unwrap().quantile(0.99), Some(Quantile { value: 1.0, at_least: true }));
    assert_eq!(of("kubelet_pleg_y 1\n"), None);
}

#[test]
fn microseconds_and_summaries_of_old_kubelets_become_seconds() {
    let text = "kubelet_pleg_relist_latency_microseconds{quantile=\"0.5\"} 2412\n\
        kubelet_pleg_relist_latency_microseconds{quantile=\"0.99\"} 1.5997e+06\n\
        kubelet_pleg_relist_latency_microseconds_sum 2.11960799e+09\nkubelet_pleg_relist_latency_microseconds_count 905125\n\
        kubelet_runtime_operations{operation_type=\"stop_container\"} 4\n\
        kubelet_runtime_operations_errors{operation_type=\"stop_container\"} 3\n\
        kubelet_runtime_operations_latency_microseconds{operation_type=\"stop_container\",quantile=\"0.9\"} NaN\n\
        kubelet_runtime_operations_latency_microseconds_count{operation_type=\"stop_container\"} 4\n";
    let read = scrape(text);
    let duration = kubelet::relist(&read).duration.unwrap();
    let close = |got: Option<Quantile>, want: f64| (got.unwrap().value - want).abs() < 1e-9;
    assert!(duration.is_summary());
    assert!(close(duration.quantile(0.5), 0.002_412) && close(duration.quantile(0.99), 1.5997));
    assert_eq!(duration.quantile(0.9), None);
    assert!((duration.sum.unwrap() - 2_119.607_99).abs() < 1e-6);
    let operations = kubelet::operations(&read);
    assert_eq!((operations.len(), operations[0].count, operations[0].errors), (1, Some(4.0), 3.0));
    assert_eq!(operations[0].latency.as_ref().unwrap().quantile(0.9), None);
}

#[test]
fn rejected_requests_of_the_api_server_are_named() {
    let read = Scrape::read(API.as_bytes(), &apiserver::PREFIXES).unwrap();
    let found = apiserver::throttling(&read);
    assert_eq!((found.terminated, found.dropped, found.rejected_total()), (182.0, 0.0, 182.0));
    assert_eq!((found.inflight_read, found.inflight_write, found.queued), (Some(3.0), Some(0.0), Some(0.0)));
    let [rejected] = found.rejected.as_slice() else { panic!() };
    assert_eq!(
        (rejected.priority_level.as_str(), rejected.reason.as_str(), rejected.line),
        ("demo-tight", "concurrency-limit", 11)
    );
    let none = apiserver::throttling(&Scrape::default());
    assert_eq!((none.terminated, none.rejected_total()), (0.0, 0.0));
}

#[test]
fn a_counter_that_went_back_has_no_increase() {
    assert_eq!((increase(1.0, 4.0), increase(4.0, 1.0), increase(1.0, f64::NAN)), (Some(3.0), None, None));
}
