//! The kubelet's verbosity on worker-004 and worker-005: raised and put back, and everything that may come between.

use std::time::Duration;

use rustix::process::Signal;

use crate::fingerprint::Fingerprint;
use crate::running::Running;
use crate::support::{Fault, Plegcollect, Run, fleet, on_node, plegcollect, wait_until};

const NODE: &str = "worker-004";
const OTHER: &str = "worker-005";
const NOTE: &str = "/run/plegcollect-kubelet/note";

/// Gives a call a user's credential.
fn asking(mut call: Plegcollect, user: &str) -> Plegcollect {
    let token = fleet(&["path", "kubelet-token", user]);
    call.command.args(["--kubelet-token-file", token.trim(), "--kubelet-ca", fleet(&["path", "kubelet-ca"]).trim()]);
    call
}

fn raising(node: &str, user: &str, window: &str) -> Plegcollect {
    let step = "kubelet/journal-verbose";
    let call =
        plegcollect(&["collect", "--nodes", node, "--kubelet-verbosity", "4", "--window", window, "--include", step]);
    asking(call, user)
}

/// How many requests the kubelet has had.
fn requests(node: &str) -> usize {
    on_node(node, "cat /run/kubelet-stand-in/requests | wc -l").trim().parse().unwrap()
}

/// The PUTs since then: status, and the level after it.
fn puts(node: &str, since: usize) -> Vec<(u64, u64)> {
    let log = on_node(node, &format!("tail -n +{} /run/kubelet-stand-in/requests", since + 1));
    let requests = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    requests
        .filter(|r| r["method"] == "PUT")
        .map(|r| (r["status"].as_u64().unwrap_or(0), r["v"].as_u64().unwrap()))
        .collect()
}

fn raised(node: &str, since: usize) {
    wait_until("the verbosity to be raised", Duration::from_secs(30), || puts(node, since).contains(&(200, 4)));
}

fn has_note(node: &str) -> bool {
    on_node(node, &format!("[ -e {NOTE} ] && echo yes || true")).trim() == "yes"
}

/// What became of the change, and the words.
fn change(run: &Run, node: &str) -> (String, String) {
    let changes = run.node(node)["changes"].as_array().unwrap();
    let of = changes.iter().find(|c| c["change"] == "kubelet-verbosity").unwrap_or_else(|| panic!("{}", run.said()));
    (of["state"].as_str().unwrap().to_owned(), of["text"].as_str().unwrap().to_owned())
}

fn revert(node: &str, user: Option<&str>, more: &[&str]) -> (i32, String) {
    let call = plegcollect(&[&["revert", "--nodes", node], more].concat());
    let run = match user {
        Some(user) => asking(call, user),
        None => call,
    }
    .run();
    (run.code, run.said())
}

/// The time of a note's run is over.
fn aged(node: &str) {
    on_node(node, &format!("sed -i 's/^until=.*/until=1/' {NOTE}"));
}

#[test]
#[ignore = "needs the fleet"]
fn it_is_raised_for_the_window_and_put_back() {
    for node in [NODE, OTHER] {
        let (before, since) = (Fingerprint::of(node), requests(node));
        let run = raising(node, "node-diagnostics", "3s").run();
        assert_eq!(run.code, 0, "{}", run.said());
        assert_eq!(puts(node, since), [(200, 4), (200, 2)], "{}", run.said());
        let (state, text) = change(&run, node);
        assert!(state == "reverted" && text.ends_with("put back to 2"), "{text}");
        before.wait(node, Duration::from_secs(5), false).unwrap();
    }
}

#[test]
#[ignore = "needs the fleet"]
fn it_is_not_touched_where_it_may_not_be_or_its_level_is_unknown() {
    let since = requests(NODE);
    {
        let _no = Fault::new(NODE, &["kubelet-403", "/configz"]);
        // The command line of the fleet's kubelets has --v=2, which is enough.
        let run = raising(NODE, "node-diagnostics", "1s").run();
        assert_eq!(change(&run, NODE).0, "reverted", "{}", run.said());
    }
    assert_eq!(puts(NODE, since), [(200, 4), (200, 2)]);
    for (fault, user, part) in [
        (Some(["kubelet-set", "kubelet-1.21.1-dockershim"]), "read-only", "update nodes/proxy"),
        (None, "read-only", "update nodes/proxy"),
        (Some(["kubelet-variant", "profiling-and-flags-off"]), "node-diagnostics", "enableDebugFlagsHandler"),
        (Some(["kubelet-cut", "100"]), "no-rights", "not raised"),
    ] {
        let _fault = fault.map(|fault| Fault::new(NODE, &fault));
        let run = raising(NODE, user, "1s").run();
        let (state, text) = change(&run, NODE);
        assert!(state == "refused" && text.contains(part), "{part}: {text}\n{}", run.said());
    }
    // Nothing but what was refused has come to it.
    let after = puts(NODE, since);
    assert!(after.iter().skip(2).all(|(status, level)| *status != 200 && *level == 2), "{after:?}");
    assert!(!has_note(NODE));
}

/// Starts the kubelet at another level than its `/configz` tells, until the value is dropped.
struct Contradicted;

impl Contradicted {
    fn new() -> Self {
        let unit = "/etc/systemd/system/kubelet.service";
        let dir = "/run/systemd/system/kubelet.service.d";
        on_node(
            OTHER,
            &format!(
                "mkdir -p {dir} && {{ printf '[Service]\\nExecStart=\\n'; sed -n '/^ExecStart=/s/--v=2/--v=3/p' {unit}; }} \
                 >{dir}/level.conf && systemctl daemon-reload && systemctl restart kubelet"
            ),
        );
        answers(OTHER);
        Self
    }
}

impl Drop for Contradicted {
    fn drop(&mut self) {
        on_node(
            OTHER,
            "rm -r /run/systemd/system/kubelet.service.d; systemctl daemon-reload && systemctl restart kubelet",
        );
        answers(OTHER);
    }
}

fn answers(node: &str) {
    wait_until("the kubelet to answer", Duration::from_secs(20), || {
        on_node(node, "curl -s http://127.0.0.1:10248/healthz || true") == "ok"
    });
}

#[test]
#[ignore = "needs the fleet"]
fn it_is_not_touched_where_configz_and_the_command_line_disagree() {
    let _level = Contradicted::new();
    let since = requests(OTHER);
    let run = raising(OTHER, "node-diagnostics", "1s").run();
    let (state, text) = change(&run, OTHER);
    let want = "the level before is unknown: /configz says 2 and the command line says 3";
    assert!(state == "refused" && text.contains(want), "{text}");
    assert!(puts(OTHER, since).is_empty() && !has_note(OTHER));
}

#[test]
#[ignore = "needs the fleet"]
fn it_is_put_back_over_a_new_connection_when_the_link_was_cut_in_the_window() {
    let since = requests(NODE);
    let mut running = Running::start(raising(NODE, "node-diagnostics", "4s"));
    raised(NODE, since);
    on_node(NODE, "for p in $(pgrep -x sshd); do [ \"$(cut -d' ' -f4 /proc/$p/stat)\" = 1 ] || kill -9 $p; done");
    running.end().unwrap();
    assert_eq!(puts(NODE, since), [(200, 4), (200, 2)], "{}", running.said());
    assert!(!has_note(NODE), "{}", running.said());
}

#[test]
#[ignore = "needs the fleet"]
fn what_a_killed_run_left_is_put_back_by_revert() {
    let (before, since) = (Fingerprint::of(NODE), requests(NODE));
    let mut running = Running::start(raising(NODE, "node-diagnostics", "60s"));
    raised(NODE, since);
    running.kill();
    assert!(has_note(NODE));
    // Its run may be alive, for all that is known.
    let (code, said) = revert(NODE, Some("node-diagnostics"), &[]);
    assert!(code == 0 && said.contains("left alone: its run puts it back"), "{said}");
    // Another run is told who is there.
    let run = raising(NODE, "node-diagnostics", "1s").run();
    assert!(change(&run, NODE).1.contains("expects to be done within"), "{}", run.said());
    aged(NODE);
    let run = raising(NODE, "node-diagnostics", "1s").run();
    assert!(change(&run, NODE).1.contains("has not put it back: first run plegcollect revert"), "{}", run.said());
    let (code, said) = revert(NODE, Some("node-diagnostics"), &["--dry-run"]);
    assert!(code == 20 && said.contains("raised from 2 to 4 by ") && said.contains("nothing was changed"), "{said}");
    let (code, said) = revert(NODE, None, &[]);
    assert!(code == 20 && said.contains("give its credential"), "{said}");
    let (code, said) = revert(NODE, Some("read-only"), &[]);
    assert!(code == 20 && said.contains("could not be put back to 2"), "{said}");
    assert!(has_note(NODE) && puts(NODE, since).last().unwrap().1 == 4);
    let (code, said) = revert(NODE, Some("node-diagnostics"), &[]);
    assert!(code == 0 && said.contains("is put back to 2"), "{said}");
    assert_eq!(puts(NODE, since).last(), Some(&(200, 2)));
    before.wait(NODE, Duration::from_secs(5), false).unwrap();
}

#[test]
#[ignore = "needs the fleet"]
fn a_kubelet_restarted_meanwhile_is_left_as_it_started() {
    let since = requests(OTHER);
    let mut running = Running::start(raising(OTHER, "node-diagnostics", "8s"));
    raised(OTHER, since);
    on_node(OTHER, "systemctl restart kubelet");
    running.end().unwrap();
    assert!(running.said().contains("was restarted meanwhile"), "{}", running.said());
    assert!(!has_note(OTHER));
    // And without us: the note alone is removed, which takes no credential.
    let since = requests(OTHER);
    let mut running = Running::start(raising(OTHER, "node-diagnostics", "60s"));
    raised(OTHER, since);
    running.kill();
    on_node(OTHER, "systemctl restart kubelet");
    answers(OTHER);
    let (code, said) = revert(OTHER, None, &[]);
    assert!(code == 0 && said.contains("which put it back") && !has_note(OTHER), "{said}");
}

#[test]
#[ignore = "needs the fleet"]
fn ctrl_c_puts_it_back_and_a_second_one_names_it() {
    let since = requests(OTHER);
    let mut running = Running::start(raising(OTHER, "node-diagnostics", "60s"));
    raised(OTHER, since);
    running.signal(Signal::INT);
    assert_eq!(running.end(), Ok(130), "{}", running.said());
    assert!(puts(OTHER, since) == [(200, 4), (200, 2)] && !has_note(OTHER), "{}", running.said());

    let mut running = Running::start(raising(OTHER, "node-diagnostics", "60s"));
    wait_until("the verbosity to be raised again", Duration::from_secs(30), || puts(OTHER, since).len() == 3);
    // Its answer is late, so that there is time for the second.
    let slow = Fault::new(OTHER, &["kubelet-slow", "20", "/debug/flags"]);
    running.signal(Signal::INT);
    wait_until("the first to be heard", Duration::from_secs(10), || running.said().contains("undoing changes"));
    running.signal(Signal::INT);
    assert_eq!(running.end(), Ok(20), "{}", running.said());
    assert!(running.said().contains("the kubelet may log at level 4"), "{}", running.said());
    drop(slow);
    assert!(has_note(OTHER));
    let (code, said) = revert(OTHER, Some("node-diagnostics"), &["--force"]);
    assert!(code == 0 && said.contains("is put back to 2") && !has_note(OTHER), "{said}");
}

#[test]
#[ignore = "needs the fleet"]
fn an_api_server_that_goes_away_in_the_window_leaves_it_raised_and_says_how_to_mend_it() {
    let since = requests(NODE);
    let mut running = Running::start(raising(NODE, "node-diagnostics", "3s"));
    raised(NODE, since);
    let away = Fault::new(NODE, &["kubelet-401"]);
    assert_eq!(running.end(), Ok(20), "{}", running.said());
    assert!(running.said().contains("may still log at level 4 instead of 2"), "{}", running.said());
    assert!(running.said().contains("plegcollect revert --nodes worker-004") && has_note(NODE), "{}", running.said());
    // The command is complete; the summary may have broken its line.
    let mend = running.node()["changes"][0]["mend"].as_str().unwrap_or_default().to_owned();
    assert!(mend.contains("--kubelet-token-file ") && mend.contains("--kubelet-ca "), "{mend}");
    drop(away);
    let (code, said) = revert(NODE, Some("node-diagnostics"), &["--force"]);
    assert!(code == 0 && !has_note(NODE), "{said}");
    assert_eq!(puts(NODE, since).last(), Some(&(200, 2)));
}
