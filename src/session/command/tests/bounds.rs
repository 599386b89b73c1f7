//! Nothing outlives its bound: not a command that ignores TERM, nor what it leaves in the
//! background, nor a compressor that nobody reads.

use super::*;

#[tokio::test]
async fn a_command_at_its_bound_is_ended_and_told() {
    let (bounds, with, without) = (bounds(1000, 1000), full(), ShellFacts::default());
    for (text, facts) in [
        ("echo begun; sleep 600", &with),
        ("echo begun; sleep 600", &without),
        ("trap '' TERM; echo begun; while :; do sleep 0.1; done", &with),
        ("trap '' TERM; echo begun; while :; do sleep 0.1; done", &without),
        ("trap 'exit 0' TERM; echo begun; sleep 600 & wait", &with),
        ("trap 'exit 0' TERM; echo begun; sleep 600 & wait", &without),
    ] {
        let tag = unique("bound");
        let what = script(&format!("export TAG={tag}; {text}"));
        for encoding in [Encoding::Plain, Encoding::Gzip] {
            let spec = CommandSpec { encoding, ..spec(&what, &bounds, facts) };
            let begun = std::time::Instant::now();
            let (end, kept) = go(&LocalSession::new(), &spec).await;
            assert_eq!(end.exit, CommandExit::TimedOut, "{text} {:?}", kept.text());
            assert!(end.complete, "{text}: what it had printed is all there");
            assert!(kept.out.starts_with(b"begun") || encoding == Encoding::Gzip);
            assert!(end.unkillable.is_empty());
            assert!(begun.elapsed() < Duration::from_secs(8), "{text}: {:?}", begun.elapsed());
            gone(&tag, Duration::from_secs(3)).await;
        }
    }
}

#[tokio::test]
async fn children_left_in_the_background_are_ended_with_the_command() {
    let (bounds, with, without) = (bounds(20_000, 1000), full(), ShellFacts::default());
    for facts in [&with, &without] {
        for encoding in [Encoding::Plain, Encoding::Zstd] {
            let tag = unique("background");
            // A subshell that keeps both streams open and ignores TERM.
            let what = script(&format!("(trap '' TERM; export TAG={tag}; sleep 600; :) & echo started"));
            let spec = CommandSpec { encoding, ..spec(&what, &bounds, facts) };
            let begun = std::time::Instant::now();
            let (end, _) = go(&LocalSession::new(), &spec).await;
            assert_eq!((end.exit, end.complete), (CommandExit::Code(0), true), "{encoding:?} {:?}", facts.timeout);
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{encoding:?} {:?} {:?}",
                facts.timeout,
                begun.elapsed()
            );
            gone(&tag, Duration::from_secs(3)).await;
        }
    }
}

#[tokio::test]
async fn a_daemon_that_holds_the_output_does_not_hold_us() {
    let (bounds, facts) = (bounds(20_000, 1000), full());
    let tag = unique("daemon");
    let what = script(&format!("setsid sh -c 'export TAG={tag}; sleep 20; :' & echo started; sleep 0.2"));
    let begun = std::time::Instant::now();
    let (end, kept) = go(&LocalSession::new(), &spec(&what, &bounds, &facts)).await;
    assert_eq!((end.exit, end.complete), (CommandExit::Code(0), true));
    assert_eq!(kept.text().0, "started\n");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn output_without_end_stops_when_the_sink_has_enough() {
    let (bounds, facts) = (bounds(60_000, 1000), full());
    let tag = unique("yes");
    let what = argv(&["/usr/bin/yes", &tag]);
    let mut kept = Kept { limit: Some(1_000_000), ..Kept::default() };
    let end = attempt(&LocalSession::new(), &spec(&what, &bounds, &facts), &mut kept).await.unwrap();
    assert_eq!((end.exit, end.complete), (CommandExit::Stopped(Stopped::Sink), false));
    assert!(kept.out.len() < 1_200_000);
    gone(&tag, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn cancellation_ends_the_command_on_this_machine() {
    let (bounds, facts) = (bounds(60_000, 1000), full());
    for encoding in [Encoding::Plain, Encoding::Zstd] {
        let tag = unique("cancel");
        let what = script(&format!("export TAG={tag}; echo begun >&2; sleep 600; :"));
        let cancel = CancellationToken::new();
        let mut kept = Kept::default();
        let session = LocalSession::new();
        let spec = CommandSpec { encoding, ..spec(&what, &bounds, &facts) };
        let end = {
            let run = run(&session, &spec, &mut kept, &cancel);
            let cancel_when_up = async {
                while tagged(&tag).is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                cancel.cancel();
            };
            tokio::join!(run, cancel_when_up).0.unwrap()
        };
        assert_eq!((end.exit, end.complete), (CommandExit::Stopped(Stopped::Cancelled), false));
        gone(&tag, Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn nothing_stays_when_nobody_reads() {
    let (bounds, with, without) = (bounds(1000, 1000), full(), ShellFacts::default());
    for facts in [&with, &without] {
        for (encoding, text) in [
            (Encoding::Plain, "cat /dev/urandom"),
            (Encoding::Zstd, "cat /dev/urandom"),
            (Encoding::Plain, "cat /dev/urandom >&2"),
            (Encoding::Gzip, "trap '' PIPE TERM; cat /dev/urandom >&2; sleep 600"),
        ] {
            let tag = unique("deaf");
            let what = script(&format!("export TAG={tag}; {text}"));
            let spec = CommandSpec { encoding, stacks_on_timeout: true, ..spec(&what, &bounds, facts) };
            let (line, input) = Frame::of(&spec).lines(spec.what, ("pleg-0", "1"));
            let mut child = std::os::unix::process::CommandExt::process_group(
                std::process::Command::new("/bin/sh").args(["-c", &line]),
                0,
            )
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{input}\n").as_bytes()).unwrap();
            // Both pipes stay open and full until everything has gone.
            let over = Frame::of(&spec).over() + Duration::from_secs(6);
            let reaped = tokio::task::spawn_blocking(move || child.wait().map(|status| (status, child)));
            gone(&tag, over).await;
            tokio::time::timeout(over, reaped).await.unwrap().unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_command_that_hangs_shows_where() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The stacks are taken three seconds before the bound: enough on a machine that is busy, too.
    let (bounds, with, without) = (bounds(9000, 1000), full(), ShellFacts::default());
    let what = script(&format!("sleep 600 & read -r x <'{}'", fifo.display()));
    for facts in [&with, &without] {
        let spec = CommandSpec { stacks_on_timeout: true, ..spec(&what, &bounds, facts) };
        let (end, kept) = go(&LocalSession::new(), &spec).await;
        assert_eq!(end.exit, CommandExit::TimedOut);
        assert_eq!(kept.text(), (String::new(), String::new()));
        let hung = String::from_utf8(end.hung.unwrap()).unwrap();
        assert!(hung.contains("(sleep) state S") && hung.contains("wchan"), "{hung}");
        if rustix::process::geteuid().is_root() {
            assert!(hung.contains("fifo_open") || hung.contains("wait_for_partner"), "{hung}");
        }
        assert!(end.took >= Duration::from_secs(9) && end.took < Duration::from_secs(16), "{:?}", end.took);
    }
}

#[tokio::test]
async fn a_command_in_time_has_no_stacks() {
    let (bounds, facts) = (bounds(12_000, 1000), full());
    // The stacks are taken after nine seconds.
    let what = script("sleep 9.5; echo done");
    let spec = CommandSpec { stacks_on_timeout: true, ..spec(&what, &bounds, &facts) };
    let (end, kept) = go(&LocalSession::new(), &spec).await;
    assert_eq!((end.exit, end.hung, kept.text().0.as_str()), (CommandExit::Code(0), None, "done\n"));
}

#[tokio::test]
async fn an_exit_of_124_before_the_bound_is_the_commands_own() {
    let (bounds, facts) = (bounds(3000, 1000), full());
    let what = script("sleep 0.5; exit 137");
    let (end, _) = go(&LocalSession::new(), &spec(&what, &bounds, &facts)).await;
    assert_eq!(end.exit, CommandExit::Signal("KILL".to_owned()));
    assert!(end.took >= Duration::from_millis(450) && end.took < Duration::from_millis(2500), "{:?}", end.took);
}

/// A cgroup (v1) whose processes can be frozen: then they are in state D, and KILL does nothing.
struct Freezer(std::path::PathBuf);

impl Freezer {
    fn new() -> Self {
        let dir = Path::new("/sys/fs/cgroup/freezer").join(unique("plegcollect-test"));
        std::fs::create_dir(&dir).expect("root, and a cgroup v1 freezer in /sys/fs/cgroup/freezer");
        Self(dir)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let write = |file: &str, text: &str| {
            let file = std::fs::OpenOptions::new().write(true).open(self.0.join(file));
            file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        };
        let _thawed = write("freezer.state", "THAWED");
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[tokio::test]
#[ignore = "needs root and a cgroup v1 freezer"]
async fn nobody_waits_for_a_process_that_cannot_die() {
    let (bounds, with, without) = (bounds(2000, 1000), full(), ShellFacts::default());
    for facts in [&with, &without] {
        for stacks in [false, true] {
            for text in [
                // The command itself, and a child that outlives it.
                "(sleep 0.3; echo FROZEN >$1/freezer.state) & echo $$ >$1/cgroup.procs; exec sleep 600",
                "sleep 600 & echo $! >$1/cgroup.procs; echo FROZEN >$1/freezer.state; wait",
            ] {
                if facts.timeout.is_none() && text.ends_with("wait") {
                    // Without timeout(1) an orphan has no group to be found by.
                    continue;
                }
                let freezer = Freezer::new();
                let what = What::Script { text: text.to_owned(), args: vec![freezer.0.display().to_string()] };
                let spec = CommandSpec { stacks_on_timeout: stacks, ..spec(&what, &bounds, facts) };
                let begun = std::time::Instant::now();
                let (end, kept) = go(&LocalSession::new(), &spec).await;
                assert_eq!(end.exit, CommandExit::TimedOut, "{text} {:?}", kept.text());
                assert!(begun.elapsed() < Duration::from_secs(12), "{text}: {:?}", begun.elapsed());
                let stuck = std::fs::read_to_string(freezer.0.join("cgroup.procs")).unwrap();
                let stuck: Vec<u32> = stuck.lines().map(|pid| pid.parse().unwrap()).collect();
                assert_eq!((stuck.len(), &end.unkillable), (1, &stuck), "{text} {stacks} {:?}", facts.timeout);
                assert_eq!(end.hung.is_some(), stacks);
            }
        }
    }
}
