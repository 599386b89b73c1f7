//! Every way a debug window can go wrong, one after the other, on one real node; and what `plegcollect revert`
//! makes of what is left.

use std::time::Duration;

use plegcollect::change::dockerd_debug::GuardState;
use plegcollect::evidence::ChangeState;

use crate::support::{Fault, on_node, plegcollect, wait_until};
use crate::window::{ExecShell, debug, dockerd_up, fingerprint, gone, open, open_with, target};

const NODE: &str = "worker-002";
const SHELL: ExecShell = ExecShell(NODE);

/// Puts daemon.json back, the very same file, when the test is over.
struct Keep;

impl Keep {
    fn new() -> Self {
        on_node(NODE, "ln /etc/docker/daemon.json /etc/.daemon.json.kept");
        Self
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        on_node(
            NODE,
            "if [ /etc/.daemon.json.kept -ef /etc/docker/daemon.json ]; then rm /etc/.daemon.json.kept
            else mv -fT /etc/.daemon.json.kept /etc/docker/daemon.json; fi
            [ \"$(docker info --format '{{.Debug}}')\" = false ] || systemctl restart docker",
        );
    }
}

fn revert(args: &[&str]) -> (i32, String) {
    let mut call = plegcollect(&[&["revert", "--nodes", NODE], args].concat());
    let output = call.command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn it_ends_at_the_deadline_and_by_systemctl_stop() {
    let before = fingerprint(NODE, true);
    let window = open_with(NODE, 10, 3).await.unwrap();
    wait_until("the deadline", Duration::from_secs(6), || debug(NODE) == "false");
    assert_eq!(window.renew(&SHELL).await.unwrap(), GuardState::Done);
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!(fingerprint(NODE, true), before);

    let window = open(NODE, 10).await.unwrap();
    on_node(NODE, "systemctl stop plegcollect-guard");
    assert_eq!(debug(NODE), "false");
    assert_eq!(window.renew(&SHELL).await.unwrap(), GuardState::Gone);
    assert_eq!(window.close(&SHELL).await.state, ChangeState::Reverted);
    assert_eq!(fingerprint(NODE, true), before);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_second_operator_is_refused_by_name() {
    let before = fingerprint(NODE, true);
    let window = open(NODE, 10).await.unwrap();
    let record = open(NODE, 10).await.unwrap_err();
    assert_eq!(record.state, ChangeState::Refused);
    assert!(record.text.contains("test@here is in a debug window on this node since 20"), "{}", record.text);
    let (code, said) = revert(&[]);
    assert!(code == 0 && said.contains("left alone"), "{code} {said}");
    assert_eq!(debug(NODE), "true");
    let (code, said) = revert(&["--force"]);
    assert_eq!((code, debug(NODE).as_str()), (0, "false"), "{said}");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!(fingerprint(NODE, true), before);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn what_others_write_is_theirs() {
    let before = fingerprint(NODE, true);
    let keep = Keep::new();
    // Another file than the one that was checked.
    let checked = target(NODE);
    on_node(
        NODE,
        "cp /etc/docker/daemon.json /etc/docker/x; echo >>/etc/docker/x; mv /etc/docker/x /etc/docker/daemon.json",
    );
    let record = crate::window::open_target(NODE, checked, 10, 600).await.unwrap_err();
    assert_eq!(record.state, ChangeState::Refused, "{record:#?}");
    assert!(record.text.contains("not the file that was checked"), "{}", record.text);
    gone(NODE, 5);

    // Edited while the window is open.
    let window = open(NODE, 10).await.unwrap();
    on_node(NODE, "cd /etc/docker; sed '0,/{/s//{ \"max-concurrent-uploads\": 5,/' daemon.json >x; mv x daemon.json");
    let theirs = on_node(NODE, "cat /etc/docker/daemon.json; stat -c %i /etc/docker/daemon.json");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert!(record.warnings.iter().any(|w| w.contains("somebody else changed")), "{record:#?}");
    assert_eq!(on_node(NODE, "cat /etc/docker/daemon.json; stat -c %i /etc/docker/daemon.json"), theirs);
    assert_eq!(debug(NODE), "false");

    // A text that dockerd refuses.
    let window = open(NODE, 10).await.unwrap();
    on_node(NODE, "cd /etc/docker; (cat daemon.json; echo '}') | sed '0,/{/s//{{/' >x; mv x daemon.json");
    let theirs = on_node(NODE, "cat /etc/docker/daemon.json; stat -c %i /etc/docker/daemon.json");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!(on_node(NODE, "cat /etc/docker/daemon.json; stat -c %i /etc/docker/daemon.json"), theirs);
    assert_eq!(debug(NODE), "false");
    on_node(NODE, "cd /etc/docker; cp /etc/.daemon.json.kept x; mv x daemon.json");

    // Debug wanted by somebody else.
    let window = open(NODE, 10).await.unwrap();
    on_node(NODE, "cd /etc/docker; sed '0,/{/s//{\"debug\": true,/' daemon.json >x; mv x daemon.json");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert!(record.warnings.iter().any(|w| w.contains("left on")), "{record:#?}");
    assert_eq!(debug(NODE), "true");
    on_node(
        NODE,
        "cd /etc/docker; sed 's/\"debug\": true/\"debug\": false/' daemon.json >x; mv x daemon.json; systemctl reload docker",
    );
    wait_until("debug off", Duration::from_secs(5), || debug(NODE) == "false");
    on_node(NODE, "cd /etc/docker; sed 's/\"debug\": false,//' daemon.json >x; mv x daemon.json");

    // Deleted in the window.
    let window = open(NODE, 10).await.unwrap();
    on_node(NODE, "rm /etc/docker/daemon.json");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!(on_node(NODE, "ls /etc/docker").trim(), "key.json");
    assert_eq!(debug(NODE), "false");

    // None to begin with.
    let window = open(NODE, 10).await.unwrap_or_else(|r| panic!("{r:#?}"));
    assert_eq!(debug(NODE), "true");
    let record = window.close(&SHELL).await;
    assert_eq!((record.state, record.warnings.len()), (ChangeState::Reverted, 0), "{record:#?}");
    assert_eq!(on_node(NODE, "ls /etc/docker").trim(), "key.json");

    // A symlink.
    on_node(NODE, "cp /etc/.daemon.json.kept /etc/dj; ln -s ../dj /etc/docker/daemon.json");
    let link = on_node(NODE, "stat -c '%i %y %N' /etc/docker/daemon.json; stat -c '%i %y' /etc/dj");
    let window = open(NODE, 10).await.unwrap_or_else(|r| panic!("{r:#?}"));
    let record = window.close(&SHELL).await;
    assert_eq!((record.state, record.warnings.len()), (ChangeState::Reverted, 0), "{record:#?}");
    assert_eq!(on_node(NODE, "stat -c '%i %y %N' /etc/docker/daemon.json; stat -c '%i %y' /etc/dj"), link);
    on_node(NODE, "rm /etc/docker/daemon.json /etc/dj");
    drop(keep);
    assert_eq!(fingerprint(NODE, true), before);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_hanging_containerd_is_outlasted() {
    let before = fingerprint(NODE, true);
    // Before the reload: it hangs in dockerd and would switch debug on when containerd goes on.
    let stopped = Fault::new(NODE, &["containerd-stopped"]);
    let hung = std::thread::spawn(|| on_node(NODE, "sleep 40; true"));
    let checked = {
        drop(stopped);
        target(NODE)
    };
    let stopped = Fault::new(NODE, &["containerd-stopped"]);
    let record = crate::window::open_target(NODE, checked, 5, 600).await.unwrap_err();
    assert_eq!(record.state, ChangeState::StillChanged, "{record:#?}");
    assert!(record.mend.is_some());
    let file = fingerprint(NODE, false);
    assert!(!file.contains("plegcollect-orig"), "{file}");
    drop(stopped);
    gone(NODE, 90);
    assert_eq!(fingerprint(NODE, true), before);

    // In the window.
    let window = open(NODE, 5).await.unwrap();
    let stopped = Fault::new(NODE, &["containerd-stopped"]);
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::StillChanged, "{record:#?}");
    eprintln!("{} | {:?}", record.text, record.mend);
    drop(stopped);
    gone(NODE, 90);
    assert_eq!(fingerprint(NODE, true), before);
    drop(hung.join());
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_dockerd_that_came_up_with_our_debug_is_switched_off() {
    dockerd_up(NODE);
    let before = fingerprint(NODE, false);
    let checked = target(NODE);
    // The guard is held up while our file is on disk, so that the next dockerd starts with it.
    let stopped = Fault::new(NODE, &["containerd-stopped"]);
    let chaos = std::thread::spawn(move || {
        on_node(
            NODE,
            "until [ -e /etc/docker/daemon.json.plegcollect-orig ] && grep -q '\"debug\": true' /etc/docker/daemon.json
            do sleep 0.05; done; kill -STOP $(systemctl show -p MainPID --value plegcollect-guard)
            systemctl kill -s KILL --kill-whom=main docker",
        );
        drop(stopped);
        wait_until("the new dockerd's debug", Duration::from_secs(60), || debug(NODE) == "true");
        on_node(NODE, "kill -CONT $(systemctl show -p MainPID --value plegcollect-guard)");
    });
    let record = crate::window::open_target(NODE, checked, 60, 600).await.unwrap_err();
    chaos.join().unwrap();
    assert!(record.log.iter().any(|l| l.contains("started with our debug")), "{record:#?}");
    assert_eq!(record.state, ChangeState::EndedByRestart, "{record:#?}");
    gone(NODE, 90);
    wait_until("dockerd answers", Duration::from_secs(60), || !debug(NODE).is_empty());
    assert_eq!(fingerprint(NODE, false), before);
    dockerd_up(NODE);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_dockerd_that_was_stopped_stays_stopped() {
    dockerd_up(NODE);
    let before = fingerprint(NODE, false);
    let stopped = || on_node(NODE, "systemctl is-active docker docker.socket || true") == "inactive\nactive\n";
    let window = open(NODE, 10).await.unwrap_or_else(|r| panic!("{r:#?}"));
    on_node(NODE, "systemctl stop docker 2>&1");
    let record = window.close(&SHELL).await;
    assert_eq!(record.state, ChangeState::EndedByRestart, "{record:#?}");
    assert!(stopped(), "the end of the window has started it");
    let (code, said) = revert(&["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(revert(&[]).0, 0);
    assert!(stopped(), "revert has started it");
    dockerd_up(NODE);
    wait_until("dockerd answers", Duration::from_secs(30), || debug(NODE) == "false");
    assert_eq!(fingerprint(NODE, false), before);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn revert_finishes_what_a_dead_guard_left() {
    let before = fingerprint(NODE, true);
    let window = open(NODE, 3).await.unwrap();
    on_node(
        NODE,
        "cd /run/plegcollect; mv guard.sh g; kill -9 $(systemctl show -p MainPID --value plegcollect-guard)
        while systemctl is-active -q plegcollect-guard; do sleep 0.1; done; sleep 2; mv g guard.sh",
    );
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(debug(NODE), "true");
    let (code, said) = revert(&["--dry-run"]);
    assert!(code == 20 && said.contains("was not closed and its guard does not run"), "{code} {said}");
    assert_eq!(debug(NODE), "true");
    let (code, said) = revert(&[]);
    eprintln!("{said}");
    assert_eq!(code, 0, "{said}");
    assert_eq!(fingerprint(NODE, true), before);
    drop(window);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn revert_mends_a_node_that_lost_power_in_the_swap() {
    dockerd_up(NODE);
    let before = fingerprint(NODE, false);
    on_node(
        NODE,
        "cd /etc/docker; sed '0,/{/s//{\"debug\": true,/' daemon.json >n; ln daemon.json daemon.json.plegcollect-orig
        mv n daemon.json; systemctl restart docker",
    );
    wait_until("debug on", Duration::from_secs(30), || debug(NODE) == "true");
    let (code, said) = revert(&["--dry-run"]);
    assert!(code == 20 && said.contains("daemon.json.plegcollect-orig is left"), "{code} {said}");
    let (code, said) = revert(&[]);
    eprintln!("{said}");
    assert_eq!(code, 0, "{said}");
    assert_eq!(fingerprint(NODE, false), before);

    // Somebody's edit besides: nothing is decided for them.
    on_node(
        NODE,
        "cd /etc/docker; sed '0,/{/s//{\"debug\": true,\"labels\":[],/' daemon.json >n; ln daemon.json daemon.json.plegcollect-orig; mv n daemon.json",
    );
    let (code, said) = revert(&[]);
    assert!(code == 20 && said.contains("differ by more than our debug key"), "{code} {said}");
    on_node(NODE, "cd /etc/docker; mv -T daemon.json.plegcollect-orig daemon.json");
    assert_eq!(revert(&[]).0, 0);
    assert_eq!(fingerprint(NODE, false), before);
    dockerd_up(NODE);
}
