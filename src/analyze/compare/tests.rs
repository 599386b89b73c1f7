//! What is told as a difference and what is not, kind by kind.

use super::limits::{number, seconds, words};
use super::*;
use crate::analyze::about::About;
use crate::analyze::figures::{Figures, GoroutineGroup, Goroutines, Latency, Operation, Reading};
use crate::analyze::finding::{Citation, Finding, Severity};
use crate::analyze::verdict::verdict;

/// A node with nothing but these findings.
pub(in crate::analyze) fn node(name: &str, findings: Vec<Finding>) -> NodeAnalysis {
    NodeAnalysis {
        node: name.parse().unwrap(),
        source: format!("{name}.tar.zst"),
        sealed: true,
        about: About::default(),
        verdict: verdict(&findings),
        findings,
        figures: Figures::default(),
        moments: Vec::new(),
        steps: Vec::new(),
    }
}

pub(in crate::analyze) fn finding(id: &str, severity: Severity, sentence: &str) -> Finding {
    Finding::new(&"n1".parse().unwrap(), id, severity, sentence)
}

/// A node looked at at a minute of an hour, of boot `b`.
fn at(minute: u8) -> NodeAnalysis {
    let mut node = node("n1", Vec::new());
    node.about.collected = format!("2026-11-21T06:{minute:02}:00Z").parse().ok();
    node.about.boot_id = Some("b".into());
    node
}

/// Writes a counter read when the node was looked at.
fn counter(node: &mut NodeAnalysis, name: &str, value: f64, of: Option<&str>) {
    node.figures.counters.insert(name.into(), value);
    let reading = Reading { time: node.about.collected, of: of.map(str::to_owned) };
    node.figures.readings.insert(name.into(), reading);
}

fn texts(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<String> {
    compare(base, other).into_iter().map(|difference| difference.text).collect()
}

#[test]
fn equal_looks_do_not_differ() {
    let mut one = node("n1", vec![finding("pleg/unhealthy", Severity::Critical, "bad")]);
    one.figures.gauges.insert("zombies".into(), 7.0);
    one.figures.relist = Some(Latency { p99: Some(3.0), mean: Some(2.0), ..Latency::default() });
    one.about.kernel = Some("6.1".into());
    assert!(compare(&one, &one).is_empty());
    assert!(compare(&node("n1", vec![]), &node("n2", vec![])).is_empty());
}

#[test]
fn findings_are_new_gone_graver_or_not_known() {
    use Severity::{Critical, Info, Warning};
    let cited = |severity| finding("pleg/unhealthy", severity, "S.").cites("kubelet/journal.txt", 1, 2);
    let gap = || finding("pleg/missing", Info, "kubelet/journal.txt is missing: timed-out");
    let other_gap = || finding("pleg/missing", Info, "kubelet/other.txt is missing: timed-out");
    for (what, was, is, want) in [
        ("new", vec![], vec![cited(Critical)], "new, critical: S."),
        ("gone", vec![cited(Warning)], vec![], "gone, was warning: S."),
        ("graver", vec![cited(Warning)], vec![cited(Critical)], "graver, critical instead of warning: S."),
        ("less", vec![cited(Critical)], vec![cited(Warning)], "less grave, warning instead of critical: S."),
        ("over", vec![cited(Critical)], vec![cited(Info)], "gone, was critical: S."),
        (
            "no evidence there",
            vec![gap()],
            vec![cited(Critical)],
            "not known before (kubelet/journal.txt is missing or not whole there), critical: S.",
        ),
        (
            "no evidence now",
            vec![cited(Critical)],
            vec![gap()],
            "not known any more (kubelet/journal.txt is missing or not whole), was critical: S.",
        ),
        ("another gap", vec![other_gap()], vec![cited(Critical)], "new, critical: S."),
    ] {
        assert_eq!(texts(&node("n1", was), &node("n1", is)), [want], "{what}");
    }
    let of = |device: &str| node("n1", vec![finding("disk/full", Warning, device).alike(device)]);
    assert_eq!(texts(&of("/a"), &of("/b")), ["otherwise, warning: /b Instead of: /a"]);
    let infos = node("n1", vec![finding("x/well", Info, "fine")]);
    assert!(texts(&node("n1", vec![]), &infos).is_empty(), "what is well is no difference");
}

#[test]
fn versions_and_settings_differ_only_where_both_are_known() {
    let with = |kernel: Option<&str>, memory: u64, pods: &str| {
        let mut node = node("n1", vec![]);
        node.about.kernel = kernel.map(str::to_owned);
        node.about.memory_kib = Some(memory);
        node.about.settings.insert("kubelet max-pods".into(), pods.into());
        node
    };
    let base = with(Some("5.10.0-9"), 1 << 24, "110");
    assert_eq!(
        texts(&base, &with(Some("6.1.0-30"), 1 << 25, "250")),
        [
            "kernel 6.1.0-30 instead of 5.10.0-9",
            "memory 34.3 GB instead of 17.1 GB",
            "kubelet max-pods 250 instead of 110"
        ]
    );
    assert!(texts(&base, &with(None, (1 << 24) + 1000, "110")).is_empty());
    let runtime = |name: &str| {
        let mut node = node("n1", vec![]);
        node.about.runtime = Some(name.into());
        node
    };
    assert!(texts(&runtime("containerd"), &runtime("containerd 1.6.20")).is_empty(), "its version was not known");
    assert_eq!(
        texts(&runtime("docker 20.10"), &runtime("containerd 1.6")),
        ["runtime containerd 1.6 instead of docker 20.10"]
    );
}

#[test]
fn a_restart_of_the_machine_or_of_a_daemon_is_told_of_one_node_only() {
    let look = |name: &str, boot: &str, pid: &str| {
        let mut node = node(name, vec![]);
        node.about.boot_id = Some(boot.into());
        node.about.processes.insert("dockerd".into(), pid.into());
        node
    };
    let base = look("n1", "b", "pid 1");
    assert_eq!(
        texts(&base, &look("n1", "b", "pid 2")),
        ["dockerd was started again between the two looks: pid 2 instead of pid 1"]
    );
    assert_eq!(texts(&base, &look("n1", "c", "pid 2")), ["the machine was booted again"]);
    assert!(texts(&base, &look("n2", "c", "pid 2")).is_empty());
    let (mut first, mut later) = (at(30), look("n1", "c", "pid 2"));
    for (booted, want) in [
        ("2026-11-21T06:40:00Z", "the machine was booted again, at 2026-11-21T06:40:00Z"),
        ("2026-11-21T06:00:00Z", "the machine was booted again"),
    ] {
        later.about.booted = booted.parse().ok();
        assert_eq!(texts(&first, &later), [want]);
    }
    first.about.boot_id = None;
    assert!(texts(&first, &later).is_empty(), "nobody knows");
}

#[test]
fn gauges_differ_by_a_factor_and_by_a_least_amount() {
    for (name, was, is, told) in [
        ("zombies", 0.0, 2.0, false),
        ("zombies", 0.0, 3.0, true),
        ("zombies", 10.0, 13.0, false),
        ("load over 5 min", 1.0, 4.9, false),
        ("load over 5 min", 1.0, 5.0, true),
        ("load over 5 min", 60.0, 100.0, false),
        ("memory available, %", 50.0, 41.0, false),
        ("memory available, %", 50.0, 20.0, true),
        ("memory available, KiB", 5e7, 5.0, false),
        ("disk / used, %", 50.0, 59.0, false),
        ("disk / used, %", 89.0, 99.0, true),
        ("containers left over", 0.0, 1.0, true),
        ("containers left over", 3.0, 3.0, false),
        ("descriptors of dockerd", 30.0, 19_000.0, true),
        ("descriptors of dockerd", 30.0, 500.0, false),
        ("memory of dockerd, KiB", 70_000.0, 100_000.0, false),
        ("memory of dockerd, KiB", 70_000.0, 700_000.0, true),
        ("processors idle, %", 100.0, 0.0, true),
        ("something else", 5.0, 20.0, true),
        ("something else", 5.0, 14.0, false),
        ("zombies", f64::NAN, 50.0, false),
    ] {
        let of = |value: f64| {
            let mut node = node("n1", vec![]);
            node.figures.gauges.insert(name.into(), value);
            node
        };
        let both = [texts(&of(was), &of(is)).len(), texts(&of(is), &of(was)).len()];
        assert_eq!(both, [usize::from(told); 2], "{name}: {was} and {is}, either way round");
    }
}

#[test]
fn latencies_are_told_once_with_all_that_differs() {
    let look = |p99: f64, mean: f64, at_least: bool| {
        let mut node = node("n1", vec![]);
        let latency = Latency { p99: Some(p99), mean: Some(mean), p99_at_least: at_least, ..Latency::default() };
        node.figures.relist = Some(latency.clone());
        node.figures.operations = vec![Operation { kind: "status".into(), errors: 0.0, latency }];
        node
    };
    let told = texts(&look(0.005, 0.001, false), &look(10.0, 119.0, true));
    assert_eq!(
        told,
        [
            "relist: p99 at least 10.0 s instead of 5.0 ms, mean 1m59s instead of 1.0 ms",
            "runtime call status: p99 at least 10.0 s instead of 5.0 ms, mean 1m59s instead of 1.0 ms"
        ]
    );
    assert!(texts(&look(0.005, 0.001, false), &look(0.09, 0.01, false)).is_empty(), "less than 0.1 s");
    assert!(texts(&look(5.0, 5.0, false), &look(9.0, 9.0, false)).is_empty(), "less than twice");
}

fn dump(process: &str, groups: &[(u64, &str, u32, &[&str])]) -> Goroutines {
    let groups: Vec<GoroutineGroup> = groups
        .iter()
        .map(|(count, state, minutes, frames)| GoroutineGroup {
            count: *count,
            state: (*state).to_owned(),
            minutes: *minutes,
            place: frames[0].split(" (").next().unwrap().to_owned(),
            frames: frames.iter().map(|f| (*f).to_owned()).collect(),
            at: Citation { file: "f".into(), lines: Some((3, 4)) },
        })
        .collect();
    let total = groups.iter().map(|g| g.count).sum();
    Goroutines { process: process.to_owned(), sample: 1, file: "f".into(), total, groups, ..Goroutines::default() }
}

#[test]
fn goroutines_are_told_that_are_new_or_grew_or_stand_in_relist() {
    let with = |dumps: Vec<Goroutines>| {
        let mut node = node("n1", vec![]);
        node.figures.goroutines = dumps;
        node
    };
    let base =
        with(vec![dump("dockerd", &[(10, "select", 5, &["a.Serve (a.go:1)"]), (3, "select", 0, &["b.Run (b.go:1)"])])]);
    for (what, groups, want) in [
        ("same at another line", vec![(10, "select", 9, &["a.Serve (a.go:7)"] as &[&str])], None),
        (
            "grew",
            vec![(20, "select", 0, &["a.Serve (a.go:1)"])],
            Some("20 goroutines of dockerd in a.Serve (select), instead of 10; see f:3-4"),
        ),
        ("grew a little", vec![(7, "select", 0, &["b.Run (b.go:1)"])], None),
        ("new and few", vec![(4, "select", 30, &["c.New (c.go:1)"])], None),
        (
            "new and many",
            vec![(5, "IO wait", 2, &["c.New (c.go:1)"])],
            Some("5 goroutines of dockerd in c.New (IO wait, up to 2 min), none there; see f:3-4"),
        ),
        (
            "one that waits for a lock",
            vec![(1, "sync.Mutex.Lock", 1, &["c.New (c.go:1)"])],
            Some("1 goroutine of dockerd in c.New (sync.Mutex.Lock, up to 1 min), none there; see f:3-4"),
        ),
        ("one that waits for a lock just now", vec![(1, "sync.Mutex.Lock", 0, &["c.New (c.go:1)"])], None),
        (
            "one in relist",
            vec![(1, "select", 0, &["grpc.Invoke (g.go:1)", "pleg.(*GenericPLEG).Relist (generic.go:200)"])],
            Some("1 goroutine of dockerd in grpc.Invoke (select), under relist, none there; see f:3-4"),
        ),
    ] {
        let told = texts(&base, &with(vec![dump("dockerd", &groups)]));
        assert_eq!(told.first().map(String::as_str), want, "{what}: {told:?}");
    }
    let many = with(vec![dump("dockerd", &[(10, "select", 0, &["a.Serve (a.go:1)"])])]);
    let crowd = with(vec![dump("dockerd", &[(60, "select", 0, &["a.Serve (a.go:1)"])])]);
    assert!(texts(&many, &crowd).contains(&"dockerd has 60 goroutines instead of 10".to_owned()));
    assert!(
        texts(&base, &with(vec![dump("containerd", &[(900, "select", 0, &["x.Y"])])])).is_empty(),
        "no dump there to hold it against"
    );
}

#[test]
fn groups_that_were_not_kept_are_not_taken_for_new() {
    let mut base = node("n1", vec![]);
    let mut told = dump("kubelet", &[(50, "select", 0, &["a.Serve (a.go:1)"])]);
    let (frames, key) = (vec!["b.Run (b.go:1)".to_owned()], "b.Run");
    told.shapes.insert(crate::analyze::figures::shape(key, &frames), 6);
    base.figures.goroutines = vec![told];
    let mut other = base.clone();
    other.figures.goroutines = vec![dump("kubelet", &[(6, "select", 0, &["b.Run (b.go:9)"])])];
    assert!(texts(&base, &other).is_empty(), "{:?}", texts(&base, &other));
}

#[test]
fn counters_become_rates_between_looks_at_one_boot() {
    let (mut base, mut other) = (at(0), at(10));
    for (name, was, is) in [
        ("oom kills", 1.0, 4.0),
        ("packets lost by interfaces", 7.0, 7.0),
        ("relists", 600.0, 604.0),
        ("context switches", 0.0, 600_000.0),
        ("TCP segments sent again", 5.0, 6.0),
    ] {
        counter(&mut base, name, was, None);
        counter(&mut other, name, is, None);
    }
    base.figures.rates.insert("relists".into(), 0.99);
    assert_eq!(
        texts(&base, &other),
        [
            "oom kills: 3 more within 10m00s",
            "relists: 0.0067 per s from one look to the other, 0.99 per s during the first look",
            "context switches: 1000 per s from one look to the other"
        ]
    );
    let mut later = other.clone();
    later.about.boot_id = Some("c".into());
    assert_eq!(texts(&base, &later), ["the machine was booted again"], "no rates across a boot");
    let mut unknown = other.clone();
    unknown.about.boot_id = None;
    assert!(texts(&base, &unknown).is_empty(), "nobody knows whether it is one boot");
    assert!(texts(&other, &base).iter().all(|text| !text.contains("per s")), "the second is the earlier one");
}

#[test]
fn a_counter_that_began_anew_has_no_rate() {
    let (mut base, mut other) = (at(0), at(10));
    counter(&mut base, "kubelet cpu, s", 100.0, Some("kubelet started at 1"));
    counter(&mut other, "kubelet cpu, s", 900.0, Some("kubelet started at 2"));
    counter(&mut base, "relists", 100.0, None);
    counter(&mut other, "relists", 50.0, None);
    assert_eq!(texts(&base, &other), ["started again, so there are no rates of it: kubelet cpu, s and 1 more"]);
    counter(&mut other, "kubelet cpu, s", 400.0, Some("kubelet started at 1"));
    let told = texts(&base, &other);
    assert_eq!(
        told,
        ["started again, so there are no rates of it: relists", "kubelet cpu: 0.50 s per s from one look to the other"]
    );
}

#[test]
fn two_nodes_are_held_against_each_other_by_their_own_rates() {
    let look = |name: &str, relists: f64, failed: f64| {
        let mut node = node(name, vec![]);
        counter(&mut node, "oom kills", 5.0 * relists, None);
        node.figures.rates.insert("relists".into(), relists);
        node.figures.rates.insert("runtime calls that failed".into(), failed);
        node
    };
    assert_eq!(
        texts(&look("n1", 0.98, 0.0), &look("n2", 0.05, 0.2)),
        ["runtime calls that failed: 0.20 per s instead of 0 per s", "relists: 0.05 per s instead of 0.98 per s"]
    );
    assert!(texts(&look("n1", 0.98, 0.0), &look("n2", 0.95, 0.001)).is_empty());
}

#[test]
fn the_most_telling_comes_first() {
    let (mut base, mut other) = (at(0), at(10));
    other.findings = vec![finding("a/b", Severity::Warning, "W."), finding("c/d", Severity::Critical, "C.")];
    (base.about.kernel, other.about.kernel) = (Some("1".into()), Some("2".into()));
    base.figures.gauges.insert("zombies".into(), 0.0);
    other.figures.gauges.insert("zombies".into(), 500.0);
    counter(&mut base, "context switches", 0.0, None);
    counter(&mut other, "context switches", 6e6, None);
    let kinds: Vec<DifferenceKind> = compare(&base, &other).iter().map(|d| d.kind).collect();
    use DifferenceKind::{Figure, Finding, Rate, Version};
    assert_eq!(kinds, [Finding, Finding, Version, Figure, Rate]);
    assert!(texts(&base, &other)[0].starts_with("new, critical"));
}

#[test]
fn figures_are_worded_for_people() {
    for (value, want) in [(0.0, "0"), (3.0, "3"), (0.5, "0.50"), (12.34, "12.3"), (1234.5, "1234"), (0.001, "0.0010")] {
        assert_eq!(number(value), want);
    }
    for (value, want) in [(0.0004, "0.4 ms"), (0.25, "0.25 s"), (12.0, "12.0 s"), (125.0, "2m05s"), (f64::MAX, "")] {
        assert!(seconds(value).starts_with(want), "{value}: {}", seconds(value));
    }
    assert_eq!((words(1024.0, "KiB"), words(12.0, "%"), words(7.0, "")), ("1.0 MB".into(), "12 %".into(), "7".into()));
}
