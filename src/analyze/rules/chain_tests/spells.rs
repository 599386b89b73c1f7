//! Spells of an unhealthy PLEG by the kubelet's log: what goes on, what is over, what was never trouble.

use super::*;
use crate::analyze::verdict::{NOTHING, verdict};
use crate::bundle::Manifest;

#[test]
fn a_journal_that_was_late_is_one_spell_by_the_kubelets_own_stamps() {
    let dir = tempfile::tempdir().unwrap();
    let line = |own: &str, ago: &str| {
        format!(
            "2026-11-20T21:40:00+0000 worker-001 kubelet[86]: E1120 {own}.000000      86 kubelet.go:2661] \"Skipping pod \
             synchronization\" err=\"PLEG is not healthy: pleg was last seen active {ago} ago; threshold is 3m0s\"\n"
        )
    };
    let text = line("21:32:10", "3m1s") + &line("21:36:10", "7m1s") + &line("21:39:58", "3m5s");
    fs::write(dir.path().join("kubelet.log"), text).unwrap();
    let view = NodeView::of_dir("worker-001".parse().unwrap(), None, Vec::new(), dir.path().to_owned());
    assert_eq!(view.history().unwrap().unhealthy.iter().map(|s| s.span.count).collect::<Vec<_>>(), [2, 1]);
}

/// A log with spells of an unhealthy PLEG, given as the minutes of the day they last from and to, and its last minute.
pub(super) fn log(spells: &[(u32, u32)], end: u32) -> String {
    let line = |minute: u32, text: &str| {
        format!(
            "2026-11-20T{:02}:{:02}:00.000000+0000 worker-001 kubelet[86]: I1120 {:02}:{:02}:00.000000      86 kubelet.go:2661] {text}\n",
            minute / 60,
            minute % 60,
            minute / 60,
            minute % 60
        )
    };
    let mut text = line(0, "\"Started kubelet\"");
    for (from, to) in spells {
        for minute in *from..=*to {
            let ago = 3 + minute - from;
            text += &line(
                minute,
                &format!(
                    "\"Skipping pod synchronization\" err=\"PLEG is not healthy: pleg was last seen active {ago}m0s ago; threshold is 3m0s\""
                ),
            );
            text += &line(
                minute,
                "\"GenericPLEG: Unable to retrieve pods\" err=\"rpc error: code = DeadlineExceeded desc = context deadline exceeded\"",
            );
            text += &line(
                minute,
                "\"ListPodSandbox with filter from runtime service failed\" err=\"rpc error: code = DeadlineExceeded desc = context deadline exceeded\" filter=\"nil\"",
            )
            .replace("kubelet.go:2661", "remote_runtime.go:389");
        }
        text += &line(*to, "\"Recording event message for node\" node=\"worker-001\" event=\"NodeReady\"");
    }
    text + &line(end, "\"Finished parsing log file\"")
}

#[test]
fn a_healthy_log_tells_up_to_when_it_was_fetched() {
    let mut manifest: Manifest = serde_json::from_str(&text("analyze/healthy/manifest.json")).unwrap();
    manifest.clock_offset_ms = Some(0);
    let mut journal = step("kubelet/journal", Outcome::Complete, &["kubelet/journal.txt"]);
    journal.started = Some("2026-11-20T02:04:00Z".parse().unwrap());
    let (dir, _) = written(&[("kubelet/journal.txt", log(&[], 110))]);
    let view = NodeView::of_dir("worker-001".parse().unwrap(), Some(manifest), vec![journal], dir.path().to_owned());
    let pleg = says(&findings(&view), "pleg/healthy");
    assert!(pleg.ends_with("from Nov 20 00:00:00 UTC to Nov 20 02:04:00 UTC."), "{pleg}");
}

#[test]
fn the_first_and_the_last_line_of_a_kind_are_cited_and_not_all_between() {
    let (_dir, view) = written(&[("kubelet/journal.txt", log(&[(100, 110)], 150))]);
    let found = findings(&view);
    for id in ["pleg/unhealthy", "runtime-calls/deadline"] {
        let finding = found.iter().find(|f| f.id == id).unwrap();
        assert!(finding.evidence.len() >= 2, "{finding:#?}");
        assert!(finding.evidence.iter().all(|c| c.lines.is_some_and(|(first, last)| first == last)), "{finding:#?}");
    }
}

#[test]
fn a_hang_weighs_less_the_longer_it_is_over() {
    use Severity::{Critical, Info, Warning};
    let now = log(&[(100, 110)], 110).replace("event=\"NodeReady\"", "event=\"Other\"");
    for (text, want, sentence) in [
        (now, [("pleg/unhealthy", Critical), ("runtime-calls/deadline", Critical)], "runtime does not answer"),
        (
            log(&[(100, 110)], 150),
            [("pleg/unhealthy", Warning), ("runtime-calls/deadline", Warning)],
            "runtime did not answer (over by the end of the log)",
        ),
        (log(&[(100, 110)], 171), [("pleg/was-unhealthy", Info), ("runtime-calls/earlier", Info)], NOTHING),
        // It comes every 3 hours: two hours without are no sign of health.
        (
            log(&[(100, 110), (280, 290), (460, 470)], 590),
            [("pleg/unhealthy", Warning), ("runtime-calls/deadline", Warning)],
            "runtime did not answer (over by the end of the log)",
        ),
        (
            log(&[(100, 110), (280, 290), (460, 470)], 900),
            [("pleg/was-unhealthy", Info), ("runtime-calls/earlier", Info)],
            NOTHING,
        ),
    ] {
        let (_dir, view) = written(&[("kubelet/journal.txt", text)]);
        let found = findings(&view);
        assert_eq!(ids(&found), want);
        assert_eq!(verdict(&found).sentence, sentence);
    }
}

#[test]
fn a_journal_fetched_minutes_before_the_collection_ended_is_no_sign_that_a_hang_is_over() {
    let mut manifest: Manifest = serde_json::from_str(&text("analyze/healthy/manifest.json")).unwrap();
    let ended = |spell: u32| format!("2026-11-20T01:{spell:02}:05Z").parse::<jiff::Timestamp>().unwrap();
    let mut journal = step("kubelet/journal", Outcome::Complete, &["kubelet/journal.txt"]);
    journal.started = Some(ended(50));
    manifest.header.started = ended(50);
    manifest.finished = ended(56);
    let log = log(&[(100, 110)], 110).replace("event=\"NodeReady\"", "event=\"Other\"");
    let (dir, _) = written(&[("kubelet/journal.txt", log)]);
    let view = NodeView::of_dir("worker-001".parse().unwrap(), Some(manifest), vec![journal], dir.path().to_owned());
    let found = findings(&view);
    assert!(ids(&found).contains(&("pleg/unhealthy", Severity::Critical)), "{found:#?}");
}

#[test]
fn a_relist_that_never_ended_has_no_time_in_the_past() {
    let text = log(&[(100, 110)], 110)
        .replace("event=\"NodeReady\"", "event=\"Other\"")
        .replace("active 3m0s", "active 2562047h47m16.854775807s")
        .replace("active 13m0s", "active 2562047h47m16.854775807s");
    let (_dir, view) = written(&[("kubelet/journal.txt", text)]);
    let found = findings(&view);
    let pleg = says(&found, "pleg/unhealthy");
    assert!(pleg.contains("no relist has ended since the kubelet's start") || pleg.contains("Nov 20 01:4"), "{pleg}");
    assert!(!pleg.contains("17"), "{pleg}");
}

#[test]
fn probes_that_run_out_of_time_are_the_pods_trouble() {
    let line = "E1120 21:30:04.936200   12938 remote_runtime.go:496] \"ExecSync cmd from runtime service failed\" err=\"rpc error: code = DeadlineExceeded desc = failed to exec in container: timeout 1s exceeded: context deadline exceeded\" containerID=\"59cf1a01d7eed098f0713205a67ebce459cf1a01d7eed098f0713205a67ebce4\" cmd=[\"true\"]\n";
    let (_dir, view) = written(&[("kubelet/journal.txt", line.repeat(3))]);
    let found = findings(&view);
    assert_eq!(ids(&found), [("pleg/healthy", Severity::Info), ("runtime-calls/own", Severity::Info)]);
    assert_eq!(verdict(&found).sentence, NOTHING);
}
