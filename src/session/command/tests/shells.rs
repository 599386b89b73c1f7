//! Every login shell hands the command on as it is; noise, statuses, packing.

use super::*;
use crate::session::FailureKind;

/// Program and option of the login shells found in the field.
const SHELLS: [(&str, &str, &str); 7] = [
    ("bash", "/usr/bin/bash", "-c"),
    ("dash", "/usr/bin/dash", "-c"),
    ("fish", "/usr/bin/fish", "-c"),
    ("tcsh", "/usr/bin/tcsh", "-c"),
    ("zsh", "/usr/bin/zsh", "-c"),
    ("busybox sh", "/usr/bin/busybox", "sh\u{1f}-c"),
    ("bash -l", "/usr/bin/bash", "-l\u{1f}-c"),
];

/// Returns the login shells; a missing one fails the test, since nothing else would notice.
fn shells() -> Vec<(&'static str, LocalSession)> {
    let missing: Vec<_> = SHELLS.iter().filter(|(_, path, _)| !Path::new(path).exists()).map(|s| s.1).collect();
    assert!(
        missing.is_empty(),
        "login shells to test with are not installed: {missing:?}; scripts/test installs them (apt-get install fish tcsh zsh busybox-static)"
    );
    SHELLS.iter().map(|(name, path, option)| (*name, LocalSession::with_shell(path, option))).collect()
}

const NASTY: &str = r##"printf '%s\n' "a'b\"c\\d!e%f\$g\`h" '!!' '!$ ^a^b' 'é ü ☃' "$HOME" \\0 '\\' '\n' '\0101' '*' '~' '{a,b}' "tab	end" '#x' "$0" "$1" "$2"
# a comment; it's odd
for i in 1 2; do echo "$i  two  blanks   *"; done
printf '\101\n%%b\\n\n'
cat <<'EOF'
$(here) `document` 'with' "quotes" \ and!
EOF
echo "$(printf %s nested "$(echo "in quotes")")" >&2
"##;

#[tokio::test]
async fn a_nasty_script_arrives_byte_for_byte_through_every_login_shell() {
    let args = vec!["it's $one".to_owned(), "two\nlines!\\".to_owned()];
    let direct = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("cd /\n{NASTY}"), "/bin/sh", &args[0], &args[1]])
        .output()
        .unwrap();
    let what = What::Script { text: NASTY.to_owned(), args };
    let (bounds, with, without) = (bounds(10_000, 2000), full(), ShellFacts::default());
    for (name, session) in shells() {
        for (facts, stacks) in [(&with, false), (&with, true), (&without, false)] {
            let spec = CommandSpec { stacks_on_timeout: stacks, ..spec(&what, &bounds, facts) };
            let (end, kept) = go(&session, &spec).await;
            assert_eq!(end.exit, CommandExit::Code(0), "{name}: {:?}", kept.text());
            assert!(end.complete, "{name}");
            assert_eq!(kept.text().0, String::from_utf8_lossy(&direct.stdout), "{name}");
            assert_eq!(kept.text().1, String::from_utf8_lossy(&direct.stderr), "{name}");
        }
    }
}

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let words = ["/usr/bin/printf", "<%s>", "", "a b", "it's", "$x", "!!", "\\", "\\n", "*", "-n", "é", "\u{1}"];
    let (what, bounds, facts) = (argv(&words), bounds(10_000, 2000), full());
    for (name, session) in shells() {
        let (end, kept) = go(&session, &spec(&what, &bounds, &facts)).await;
        assert_eq!(end.exit, CommandExit::Code(0), "{name}");
        let expected: String = words[2..].iter().map(|w| format!("<{w}>")).collect();
        assert_eq!(kept.text(), (expected, String::new()), "{name}");
    }
}

#[tokio::test]
async fn a_long_script_passes_and_a_longer_one_is_refused() {
    let text = |times: usize| script(&format!("printf %s '{}' | wc -c", "x\"$y`".repeat(times)));
    let (bounds, facts) = (bounds(10_000, 2000), full());
    let long = text(2200);
    for (name, session) in shells() {
        let (end, kept) = go(&session, &spec(&long, &bounds, &facts)).await;
        assert_eq!((end.exit, kept.text().0.trim()), (CommandExit::Code(0), "11000"), "{name}: {}", kept.text().1);
    }
    let longer = text(20_000);
    let refused = attempt(&LocalSession::new(), &spec(&longer, &bounds, &facts), &mut Kept::default()).await;
    assert!(refused.unwrap_err().text.contains("too long"));
}

#[tokio::test]
async fn what_start_up_files_print_is_not_evidence() {
    let (bounds, facts) = (bounds(10_000, 2000), full());
    let what = script("echo out; echo err >&2");
    // As sshd does it: the login shell gets the line with -c, after its start-up files have run.
    for noise in [
        "echo Welcome; echo 'mail for you' >&2; eval \"$0\"",
        "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; eval \"$0\"",
        "export SHELLOPTS; PS4='pleg '; set -x -v; eval \"$0\"",
        "export line=x n=y IFS=/ CDPATH=/usr; alias printf=false; cd /usr; eval \"$0\"",
    ] {
        let session = LocalSession::with_shell("/usr/bin/bash", &format!("-c\u{1f}{noise}"));
        let (end, kept) = go(&session, &spec(&what, &bounds, &facts)).await;
        assert_eq!(end.exit, CommandExit::Code(0), "{noise}");
        assert_eq!(kept.text(), ("out\n".to_owned(), "err\n".to_owned()), "{noise}");
    }
}

#[tokio::test]
async fn a_login_shell_that_runs_nothing_is_told_with_its_words() {
    let (bounds, facts) = (bounds(10_000, 2000), full());
    let what = script("echo never");
    let session = LocalSession::with_shell("/usr/bin/bash", "-c\u{1f}echo 'This account is not available'; exit 1");
    let error = attempt(&session, &spec(&what, &bounds, &facts), &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::ExecRefused);
    assert!(error.text.contains("exit status 1") && error.text.contains("account is not available"), "{}", error.text);
}

#[tokio::test]
async fn a_login_shell_that_never_gets_there_is_stalled() {
    let (bounds, facts) = (bounds(60_000, 2000), full());
    let what = script("echo never");
    let session =
        LocalSession::with_shell("/usr/bin/bash", "-c\u{1f}echo 'waiting for the home directory'; exec sleep 600");
    let begun = std::time::Instant::now();
    let error = attempt(&session, &spec(&what, &bounds, &facts), &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::ExecStalled);
    assert!(error.text.contains("commands do not start") && error.text.contains("home directory"), "{}", error.text);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn status_and_signal_of_the_command_itself_are_told() {
    let (bounds, with, without) = (bounds(20_000, 2000), full(), ShellFacts::default());
    let session = LocalSession::new();
    for facts in [&with, &without] {
        for (text, exit) in [
            ("exit 0", CommandExit::Code(0)),
            ("exit 3", CommandExit::Code(3)),
            ("exit 124", CommandExit::Code(124)),
            ("exit 146", CommandExit::Code(146)),
            ("exit 255", CommandExit::Code(255)),
            ("kill -SEGV $$", CommandExit::Signal("SEGV".to_owned())),
            ("kill -KILL $$", CommandExit::Signal("KILL".to_owned())),
            ("/nonexistent/tool", CommandExit::Code(127)),
        ] {
            let what = script(text);
            for encoding in [Encoding::Plain, Encoding::Gzip] {
                let spec = CommandSpec { encoding, ..spec(&what, &bounds, facts) };
                let (end, kept) = go(&session, &spec).await;
                assert_eq!(end.exit, exit, "{text}: {:?}", kept.text().1);
                assert!(end.complete);
                assert_eq!(kept.err.is_empty(), !text.starts_with('/'), "{text}: {:?}", kept.text().1);
            }
        }
        let what = argv(&["/nonexistent/tool"]);
        let (end, _) = go(&session, &spec(&what, &bounds, facts)).await;
        assert_eq!(end.exit, CommandExit::Code(127));
    }
}

#[tokio::test]
async fn output_is_packed_by_the_node_and_errors_are_not() {
    let bounds = bounds(20_000, 2000);
    let session = LocalSession::new();
    let probed = probe(&session, crate::inventory::target::Sudo::Never, None, &CancellationToken::new()).await.unwrap();
    let what = script("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo oops >&2; exit 4");
    let expected: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
    for (encoding, unpack, facts) in
        [(Encoding::Gzip, "gzip", full()), (Encoding::Zstd, "zstd", full()), (Encoding::Zstd, "zstd", probed.facts)]
    {
        let spec = CommandSpec { encoding, ..spec(&what, &bounds, &facts) };
        let (end, kept) = go(&session, &spec).await;
        assert_eq!((end.exit, end.complete, end.encoding), (CommandExit::Code(4), true, encoding));
        assert_eq!(kept.text().1, "oops\n");
        assert!(kept.out.len() < expected.len() / 2);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), &kept.out).unwrap();
        let input = std::fs::File::open(file.path()).unwrap();
        let unpacked = std::process::Command::new(unpack).arg("-dc").stdin(input).output().unwrap();
        assert!(unpacked.status.success() && unpacked.stdout == expected.as_bytes());
        // Where the tool is missing it comes as it is.
        let none = ShellFacts { zstd: None, gzip: None, ..facts.clone() };
        let (end, kept) = go(&LocalSession::new(), &CommandSpec { shell: &none, ..spec }).await;
        assert_eq!((end.encoding, kept.out == expected.as_bytes()), (Encoding::Plain, true));
    }
}

#[tokio::test]
async fn the_probe_finds_tools_rights_and_clock_through_every_login_shell() {
    for (name, session) in shells() {
        let found =
            probe(&session, crate::inventory::target::Sudo::Never, None, &CancellationToken::new()).await.unwrap();
        assert_eq!(found.facts.timeout.as_deref(), Some("/usr/bin/timeout"), "{name}");
        assert_eq!(found.facts.gzip.as_deref(), Some("/usr/bin/gzip"), "{name}");
        // Since 1.3.4 (2018) zstd can do without further threads.
        let single = found.facts.zstd_options.first().map(String::as_str);
        assert_eq!(single, found.facts.zstd.as_ref().map(|_| "--single-thread"), "{name}");
        assert_eq!(found.uid == 0, found.facts.rights == Rights::Root, "{name}");
        let clock = found.clock.unwrap();
        assert_eq!(clock.resolution_ms, 1, "{name}");
        assert!(
            clock.offset_ms.abs() <= clock.round_trip_ms / 2.0 + 5.0 && clock.round_trip_ms > 0.0,
            "{name}: {clock:?}"
        );
        assert_eq!(found.complaint, None);
    }
}

#[test]
fn a_description_is_the_command_on_one_line() {
    let bounds = bounds(5000, 2000);
    let ps = argv(&["/usr/bin/docker", "ps", "-a", "--format", "{{.ID}} it's"]);
    let facts = ShellFacts {
        timeout: Some("/usr/bin/timeout".to_owned()),
        nice: Some("/usr/bin/nice".to_owned()),
        zstd: Some("/usr/bin/zstd".to_owned()),
        sudo: Some("/usr/bin/sudo".to_owned()),
        rights: Rights::SudoPasswordless,
        ..ShellFacts::default()
    };
    let ps_spec = CommandSpec { encoding: Encoding::Zstd, privileged: true, ..spec(&ps, &bounds, &facts) };
    assert_eq!(
        describe(&ps_spec),
        r"/usr/bin/sudo -n -- /usr/bin/timeout -k 2 5 /usr/bin/docker ps -a --format '{{.ID}} it'\''s' | /usr/bin/zstd -1 -q -c"
    );
    let lines = script("for d in /proc/[0-9]*; do\n  echo \"$d\"\ndone\n");
    assert_eq!(
        describe(&spec(&lines, &bounds, &facts)),
        r#"/usr/bin/timeout -k 2 5 /bin/sh -c 'eval "$(printf %b "for d in /proc/[0-9]*; do\n \0040echo \0042\0044d\0042\ndone\n")"'"#
    );
    let bare = ShellFacts::default();
    assert_eq!(describe(&spec(&argv(&["ps", "-elF"]), &bounds, &bare)), "ps -elF # TERM after 5 s, KILL 2 s later");
}

#[tokio::test]
async fn a_line_of_input_goes_to_the_command_and_into_no_argument() {
    let bounds = bounds(20_000, 2000);
    let facts = full();
    let secret = SecretString::from("a  b\\0042%s'$x");
    let what = script("IFS= read -r a; printf '<%s>' \"$a\"; cat; tr '\\0' ' ' </proc/$PPID/cmdline; env");
    for encoding in [Encoding::Plain, Encoding::Gzip] {
        let spec = CommandSpec { input: Some(&secret), encoding, ..spec(&what, &bounds, &facts) };
        let (end, kept) = go(&LocalSession::new(), &spec).await;
        assert_eq!((end.exit, end.complete), (CommandExit::Code(0), true));
        if encoding == Encoding::Plain {
            let (out, _) = kept.text();
            let rest = out.strip_prefix("<a  b\\0042%s'$x>").unwrap_or_else(|| panic!("{out}"));
            assert!(!rest.contains("0042%s"), "{rest}");
        }
    }
    let sudo = ShellFacts { sudo: Some("/usr/bin/sudo".to_owned()), rights: Rights::SudoPassword, ..full() };
    let both =
        CommandSpec { privileged: true, password: Some(&secret), input: Some(&secret), ..spec(&what, &bounds, &sudo) };
    let error = attempt(&LocalSession::new(), &both, &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.kind, crate::session::FailureKind::Other);
}
