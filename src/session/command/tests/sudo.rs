//! sudo with real users on a real node. Wants the fleet: `PLEGCOLLECT_FLEET` names its state directory
//! (with `ssh_config`), `PLEGCOLLECT_FLEET_SUDO` a node with the users ops (sudo without password),
//! opspw (sudo with the password fleet-pass) and nosudo; worker-010 by default.

use secrecy::ExposeSecret as _;

use super::*;
use crate::inventory::target::Sudo;

/// One at a time: they look at the node's processes and change its sudoers.
static NODE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Returns a session that is carried by the `ssh` program.
fn login(user: &str) -> LocalSession {
    let dir = std::env::var("PLEGCOLLECT_FLEET").expect("PLEGCOLLECT_FLEET: state directory of the fleet");
    let node = std::env::var("PLEGCOLLECT_FLEET_SUDO").unwrap_or_else(|_| "worker-010".to_owned());
    LocalSession::with_shell(
        "/usr/bin/ssh",
        &["-F", &format!("{dir}/ssh_config"), &format!("{user}@{node}"), "--"].join("\u{1f}"),
    )
}

fn password(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

async fn probed(user: &str, sudo: Sudo, secret: Option<&SecretString>) -> ShellProbe {
    probe(&login(user), sudo, secret, &CancellationToken::new()).await.unwrap()
}

/// Runs a script as root of the node and returns its output.
async fn root(text: &str) -> String {
    let (what, bounds, facts) = (script(text), bounds(20_000, 2000), full());
    let (end, kept) = go(&login("root"), &spec(&what, &bounds, &facts)).await;
    assert_eq!(end.exit, CommandExit::Code(0), "{text}: {:?}", kept.text());
    kept.text().0
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn rights_are_found_out() {
    let _alone = NODE.lock().await;
    let right = password("fleet-pass");
    let wrong = password("not it");
    for (user, sudo, secret, rights, complaint) in [
        ("root", Sudo::Auto, None, Rights::Root, None),
        ("ops", Sudo::Auto, None, Rights::SudoPasswordless, None),
        ("ops", Sudo::Auto, Some(&right), Rights::SudoPasswordless, None),
        ("ops", Sudo::Never, None, Rights::None, None),
        ("ops", Sudo::Password, Some(&wrong), Rights::SudoPassword, None),
        ("opspw", Sudo::Auto, None, Rights::None, Some("a password is required")),
        ("opspw", Sudo::Auto, Some(&right), Rights::SudoPassword, None),
        ("opspw", Sudo::Password, Some(&right), Rights::SudoPassword, None),
        ("opspw", Sudo::Password, None, Rights::None, Some("no password")),
        ("opspw", Sudo::Password, Some(&wrong), Rights::None, Some("incorrect password attempt")),
        ("opspw", Sudo::Passwordless, Some(&right), Rights::None, Some("a password is required")),
        ("nosudo", Sudo::Auto, None, Rights::None, Some("sudo: ")),
        ("nosudo", Sudo::Never, None, Rights::None, None),
    ] {
        let found = probed(user, sudo, secret).await;
        assert_eq!(found.facts.rights, rights, "{user} {sudo:?}: {found:?}");
        assert_eq!(found.complaint.is_some(), complaint.is_some(), "{user} {sudo:?}: {found:?}");
        let said = found.complaint.unwrap_or_default();
        assert!(said.contains(complaint.unwrap_or_default()), "{user} {sudo:?}: {said}");
        assert!(found.facts.timeout.is_some() && found.clock.is_some());
    }
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn commands_run_as_root_and_the_password_reaches_nobody_else() {
    let _alone = NODE.lock().await;
    let secret = password("fleet-pass");
    let bounds = bounds(20_000, 2000);
    for (user, rights) in
        [("ops", Rights::SudoPasswordless), ("ops", Rights::SudoPassword), ("opspw", Rights::SudoPassword)]
    {
        let with = ShellFacts { rights, ..probed(user, Sudo::Auto, Some(&secret)).await.facts };
        let without = ShellFacts { timeout: None, ..with.clone() };
        for facts in [&with, &without] {
            for (what, out) in [
                (argv(&["/usr/bin/id", "-u"]), "0\n"),
                (argv(&["/bin/cat"]), ""),
                (
                    script("cat; id -u; printf '%s' \"it's \\ \\$x\"; read -r x && echo got \"$x\"; exit 0"),
                    "0\nit's \\ $x",
                ),
            ] {
                for encoding in [Encoding::Plain, Encoding::Zstd] {
                    let spec = CommandSpec {
                        privileged: true,
                        password: Some(&secret),
                        encoding,
                        ..spec(&what, &bounds, facts)
                    };
                    let (end, kept) = go(&login(user), &spec).await;
                    let (stdout, stderr) = kept.text();
                    assert_eq!(
                        (end.exit, end.as_root, end.complete),
                        (CommandExit::Code(0), true, true),
                        "{user} {what:?} {stderr}"
                    );
                    if encoding == Encoding::Plain {
                        assert_eq!(stdout, out, "{user} {what:?}");
                    }
                    assert!(!stdout.contains("fleet-pass") && !stderr.contains("fleet-pass"));
                }
            }
        }
        // Not in arguments or environment of any process while a command runs, the rest of the
        // input not on the command's.
        let tag = unique("secret");
        let what = script(&format!(": {tag}; sleep 4; :"));
        let running = CommandSpec { privileged: true, password: Some(&secret), ..spec(&what, &bounds, &with) };
        let (session, mut kept) = (login(user), Kept::default());
        let look = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            root(&format!(
                "echo $(grep -laz {tag} /proc/[0-9]*/cmdline | wc -l) $(grep -laz 'fleet-pas[s]' /proc/[0-9]*/cmdline /proc/[0-9]*/environ | wc -l)"
            ))
            .await
        };
        let (end, counts) = tokio::join!(attempt(&session, &running, &mut kept), look);
        assert_eq!(end.unwrap().exit, CommandExit::Code(0));
        let (tagged, leaked) = counts.trim().split_once(' ').unwrap();
        assert!(tagged.parse::<u32>().unwrap() >= 3, "{counts}");
        assert_eq!(leaked, "0", "{user} {rights:?}");
    }
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_wrong_password_is_tried_once_and_said() {
    let _alone = NODE.lock().await;
    let bounds = bounds(20_000, 2000);
    let facts = ShellFacts { sudo: Some("/usr/bin/sudo".to_owned()), rights: Rights::SudoPassword, ..full() };
    let what = argv(&["/usr/bin/id", "-u"]);
    let wrong = password("not it");
    let spec = CommandSpec { privileged: true, password: Some(&wrong), ..spec(&what, &bounds, &facts) };
    let (end, kept) = go(&login("opspw"), &spec).await;
    assert!(
        matches!(&end.exit, CommandExit::NotStarted(said) if said.contains("1 incorrect password attempt")),
        "{:?}",
        end.exit
    );
    assert!(!kept.text().1.contains(wrong.expose_secret()));
    assert!(end.took < Duration::from_secs(10));
    let none = CommandSpec { password: None, ..spec };
    let error = attempt(&login("opspw"), &none, &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.kind, crate::session::FailureKind::Auth);
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_privileged_command_that_hangs_is_looked_at_and_ended() {
    let _alone = NODE.lock().await;
    let secret = password("fleet-pass");
    let bounds = bounds(3000, 1000);
    for (user, rights) in [("ops", Rights::SudoPasswordless), ("opspw", Rights::SudoPassword)] {
        let with = probed(user, Sudo::Auto, Some(&secret)).await.facts;
        assert_eq!(with.rights, rights);
        let without = ShellFacts { timeout: None, ..with.clone() };
        for facts in [&with, &without] {
            let tag = unique("hang");
            let what = script(&format!(": {tag}; trap '' TERM; sleep 600; sleep 600"));
            let spec = CommandSpec {
                privileged: true,
                password: Some(&secret),
                stacks_on_timeout: true,
                encoding: Encoding::Zstd,
                ..spec(&what, &bounds, facts)
            };
            let (end, kept) = go(&login(user), &spec).await;
            assert_eq!(end.exit, CommandExit::TimedOut, "{:?}", kept.text().1);
            assert!(end.unkillable.is_empty());
            let hung = String::from_utf8(end.hung.unwrap()).unwrap();
            // A kernel stack is for root's eyes only.
            assert!(hung.contains("(sleep) state S") && hung.contains("nanosleep") && hung.contains("[<0>]"), "{hung}");
            for _ in 0..20 {
                if root(&format!(
                    "grep -laz {tag} /proc/[0-9]*/cmdline 2>/dev/null | grep -v -e self -e \"/$$/\" | wc -l"
                ))
                .await
                .trim()
                    == "0"
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let left = root(&format!("for f in /proc/[0-9]*/cmdline; do grep -qaz 'trap.*TERM' $f && grep -qaz {tag} $f && [ \"$f\" != /proc/$$/cmdline ] && cat $f; done; :")).await;
            assert!(!left.contains("sleep 600"), "{left}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn nothing_stays_on_the_node_when_the_client_dies_or_stops_reading() {
    let _alone = NODE.lock().await;
    let bounds = bounds(4000, 1000);
    let secret = password("fleet-pass");
    let with = probed("opspw", Sudo::Auto, Some(&secret)).await.facts;
    let without = ShellFacts { timeout: None, ..with.clone() };
    for facts in [&with, &without] {
        for (encoding, text) in [
            (Encoding::Plain, "trap '' TERM HUP; sleep 600; sleep 600"),
            (Encoding::Zstd, "cat /dev/urandom"),
            (Encoding::Plain, "cat /dev/urandom >&2; sleep 600"),
        ] {
            for privileged in [false, true] {
                let tag = unique("cut");
                let what = script(&format!("export TAG={tag}; {text}"));
                let spec = CommandSpec {
                    privileged,
                    password: Some(&secret),
                    encoding,
                    stacks_on_timeout: true,
                    ..spec(&what, &bounds, facts)
                };
                let (line, input) = Frame::of(&spec).lines(spec.what, ("pleg-0", "1"));
                let dir = std::env::var("PLEGCOLLECT_FLEET").unwrap();
                // A client that never reads: the pipe fills up, then the window, then all stands still.
                let mut client = std::process::Command::new("/usr/bin/ssh")
                    .args(["-F", &format!("{dir}/ssh_config"), "opspw@worker-010", "--", &line])
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                let input = format!("{input}\nfleet-pass\n");
                std::io::Write::write_all(client.stdin.as_mut().unwrap(), input.as_bytes()).unwrap();
                let begun = tokio::time::Instant::now();
                let mut seen = false;
                loop {
                    // By the environment: what looks for the tag has it in its arguments.
                    let look =
                        format!("grep -laz {tag} /proc/[0-9]*/environ 2>/dev/null | wc -l; ps -u opspw -o args=; :");
                    let count = root(&look).await;
                    let clean = count.starts_with("0\n") && !count.contains("printf %b");
                    seen |= !clean;
                    if seen && clean {
                        break;
                    }
                    assert!(
                        begun.elapsed() < Duration::from_secs(16),
                        "{text} {privileged} {:?}: {count}",
                        facts.timeout
                    );
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                client.kill().unwrap();
                client.wait().unwrap();
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs the fleet; writes a file to /etc/sudoers.d of the node and removes it"]
async fn a_minimal_sudoers_file_permits_exactly_the_planned_commands() {
    let _alone = NODE.lock().await;
    let bounds = bounds(3000, 1000);
    let found = probed("nosudo", Sudo::Auto, None).await.facts;
    let with = ShellFacts { rights: Rights::SudoPasswordless, sudo: Some("/usr/bin/sudo".to_owned()), ..found };
    let without = ShellFacts { timeout: None, ..with.clone() };
    let commands = [
        argv(&[
            "/bin/echo",
            "a  b\tc",
            "it's",
            "*",
            "[x]?",
            "k=v,w:x",
            "\\",
            "#1",
            "!",
            "\"q\"",
            "~",
            "(p)",
            "é",
            "^",
            "$",
            "",
            "",
            "x",
            "",
        ]),
        argv(&["/bin/echo", "line\nbreak"]),
        script("# all\nfor f in /proc/1/stack; do\n  cat \"$f\" && echo 'x: y, z=\\1 !'  \"#\" [a]* ?;\ndone"),
        script("sleep 600"),
    ];
    let long = Bounds { timeout: Duration::from_secs(20), ..bounds };
    let facts_of_root = full();
    let mut files = String::new();
    for (at, facts) in [&with, &without].into_iter().enumerate() {
        let mut lines = format!("{}\n", sudoers_stacks(facts, "nosudo"));
        for what in &commands {
            let spec = CommandSpec { privileged: true, ..spec(what, &bounds, facts) };
            lines += &format!("{}\n", sudoers(&spec, "nosudo").unwrap());
        }
        let file = format!("/etc/sudoers.d/minimal-test-{at}");
        let text = encode::quote(&lines);
        let install = format!("umask 227; printf %s {text} >{file}; visudo -cf {file} >&2 || {{ rm {file}; exit 1; }}");
        let install = script(&install);
        let (end, kept) = go(&login("root"), &spec(&install, &long, &facts_of_root)).await;
        assert_eq!(end.exit, CommandExit::Code(0), "{:?}", kept.text());
        files += &format!(" {file}");
    }

    let mut seen = Vec::new();
    for facts in [&with, &without] {
        for what in &commands {
            let spec = CommandSpec { privileged: true, stacks_on_timeout: true, ..spec(what, &bounds, facts) };
            let (end, kept) = go(&login("nosudo"), &spec).await;
            seen.push((end, kept.text(), format!("{what:?}")));
        }
    }
    let found = probed("nosudo", Sudo::Auto, None).await;
    let other = argv(&["/usr/bin/id"]);
    let refused = CommandSpec { privileged: true, ..spec(&other, &bounds, &with) };
    let (refused, _) = go(&login("nosudo"), &refused).await;
    root(&format!("rm {files}")).await;

    assert_eq!(found.facts.rights, Rights::SudoPasswordless, "{found:?}");
    assert!(matches!(refused.exit, CommandExit::NotStarted(_)), "{refused:?}");
    for (at, (end, (out, err), what)) in seen.iter().enumerate() {
        if at % 4 == 3 {
            assert_eq!(end.exit, CommandExit::TimedOut, "{what}: {err}");
            let hung = String::from_utf8_lossy(end.hung.as_deref().unwrap_or_default());
            assert!(hung.contains("[<0>]"), "{hung}");
        } else {
            assert_eq!(end.exit, CommandExit::Code(0), "{what}: {err}");
            assert_ne!(out, "");
        }
    }
}
