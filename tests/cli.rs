//! Bad input, each with one clear sentence and the right exit code, before anything is contacted.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, and functions only they call")]

use std::path::Path;
use std::process::{Command, Output};

fn call(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plegcollect"))
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env_remove("PLEGCOLLECT_INVENTORY")
        .env_remove("PLEGCOLLECT_OUT")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Exit code and standard error, which must hold exactly one error.
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = call(dir, args);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(err.matches("error: ").count(), 1, "{args:?}: {err}");
    assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), err)
}

#[test]
fn no_nodes_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (code, err) = refused(dir.path(), &[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("no nodes given") && err.contains("--nodes 'worker-00[1-9]'"), "{err}");
}

#[test]
fn malformed_patterns() {
    let dir = tempfile::tempdir().unwrap();
    for (pattern, word) in [
        ("worker-[1-", "bracket"),
        ("worker-[]", "empty"),
        ("worker-[9-1]", "9-1"),
        ("worker-[1-9/0]", "step"),
        ("wor ker", "wor ker"),
    ] {
        let (code, err) = refused(dir.path(), &["--nodes", pattern]);
        assert_eq!(code, 2, "{pattern}: {err}");
        assert!(err.to_lowercase().contains(word), "{pattern}: {err}");
    }
}

#[test]
fn a_pattern_for_a_billion_names_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (code, err) = refused(dir.path(), &["--nodes", "n[1-1000000000]"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("1000000000") && err.contains("--max-nodes"), "{err}");
    let many = format!("n{}", "[0-9]".repeat(60));
    let (code, err) = refused(dir.path(), &["--nodes", &many]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn an_unknown_inventory_key_is_named_with_its_neighbour() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("inventory.toml"), "[defaults]\nusr = \"root\"\n[[node]]\nname = \"a\"\n");
    let (code, err) = refused(dir.path(), &["--nodes", "a"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("defaults.usr") && err.contains("`user`") && err.contains("inventory.toml"), "{err}");
}

#[test]
fn a_name_the_inventory_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("inventory.toml"), "[[node]]\nname = \"worker-001\"\n[[node]]\nname = \"worker-002\"\n");
    let (code, err) = refused(dir.path(), &["--nodes", "wroker-001"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("wroker-001") && err.contains("worker-001"), "{err}");
}

#[test]
fn an_unwritable_output_path() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("file"), "");
    for out in ["file/below", "/proc/nowhere"] {
        let (code, err) = refused(dir.path(), &["--nodes", "localhost", "--local", "--out", out]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains(out) && err.contains("--out"), "{err}");
    }
}

#[test]
fn steps_that_do_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let (code, err) = refused(dir.path(), &["--nodes", "localhost", "--local", "--include", "hots/ps"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("hots/ps") && err.contains("host/ps"), "{err}");
}

#[test]
fn a_bad_step_of_the_inventory() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("inventory.toml"),
        "[[node]]\nname = \"a\"\n[[step]]\nid = \"own/x\"\ntimeot = \"5s\"\n[[step.try]]\nargv = [\"true\"]\n",
    );
    let (code, err) = refused(dir.path(), &["--nodes", "a"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("own/x") && err.contains("timeot") && err.contains("timeout"), "{err}");
}

#[test]
fn a_password_file_that_others_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    write(&path, "hunter2\n");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, err) = refused(dir.path(), &["--nodes", "localhost", "--local", "--sudo-password-file", "secret"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("chmod 600") && !err.contains("hunter2"), "{err}");
}

#[test]
fn key_files_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("junk"), "no key at all\n");
    write(&dir.path().join("open"), "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    std::fs::set_permissions(dir.path().join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for (key, word) in
        [("junk", "holds no key"), ("nowhere", "cannot read"), ("open", "chmod 600"), (".", "cannot read")]
    {
        let (code, err) = refused(dir.path(), &["--nodes", "127.0.0.1", "--identity", key]);
        assert_eq!(code, 3, "{key}: {err}");
        assert!(err.contains(key) && err.contains(word), "{key}: {err}");
    }
}

#[test]
fn bundles_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("x.tar.zst"), "this is no bundle");
    for args in [&["verify", "x.tar.zst"][..], &["show", "x.tar.zst"], &["verify", "nowhere"], &["show", "nowhere"]] {
        let output = call(dir.path(), args);
        let code = output.status.code().unwrap();
        let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(code, 3, "{args:?}: {words}");
        assert!(words.contains(args[1]), "{args:?}: {words}");
    }
}

#[test]
fn this_machine_as_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        call(dir.path(), &["--nodes", "localhost", "--local", "--include", "host/meminfo,kernel/info", "--quiet"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let run = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let shown = call(dir.path(), &["show", run.join("localhost.tar.zst").to_str().unwrap(), "host/meminfo.txt"]);
    assert!(shown.stdout.starts_with(b"MemTotal:"), "{}", String::from_utf8_lossy(&shown.stderr));
    let verified = call(dir.path(), &["verify", run.to_str().unwrap()]);
    let words = String::from_utf8_lossy(&verified.stdout).into_owned();
    let (hold, all) = words.split_once(" of ").expect("verify counts files");
    let first = hold.split_whitespace().next_back().unwrap();
    assert_eq!(Some(first), all.split_whitespace().next(), "{words}");
    assert_eq!(verified.status.code(), Some(0));
    // A step's id will do for its file.
    let by_id = call(dir.path(), &["show", run.join("localhost.tar.zst").to_str().unwrap(), "host/meminfo"]);
    assert!(by_id.stdout.starts_with(b"MemTotal:"), "{}", String::from_utf8_lossy(&by_id.stderr));
    // Only a .partial may lack its end: this was sealed once, and is cut.
    let whole = std::fs::read(run.join("localhost.tar.zst")).unwrap();
    for (name, code) in [("cut.tar.zst", 3), ("cut.tar.zst.partial", 10)] {
        std::fs::write(dir.path().join(name), &whole[..whole.len() * 2 / 3]).unwrap();
        let verified = call(dir.path(), &["verify", name]);
        assert_eq!(verified.status.code(), Some(code), "{name}: {}", String::from_utf8_lossy(&verified.stdout));
    }
}

/// The only run below `dir`.
fn run_in(dir: &Path) -> std::path::PathBuf {
    let mut runs = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    runs.find(|p| p.join("run.json").exists()).unwrap()
}

fn names_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_run_ends_with_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let output = call(dir.path(), &["--nodes", "localhost", "--local", "--include", "host/meminfo,host/df"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.starts_with("Verdict\n") && shown.contains(" localhost: "), "{shown}");
    let run = run_in(dir.path());
    let command = format!("all of the verdict: plegcollect report ./{}\n", run.file_name().unwrap().to_str().unwrap());
    assert!(shown.contains(&command), "{shown}");
    assert_eq!(
        names_in(&run),
        ["SUMMARY.md", "findings.json", "localhost.tar.zst", "report.html", "run.json", "run.log"]
    );
    let summary = std::fs::read_to_string(run.join("SUMMARY.md")).unwrap();
    assert!(summary.contains("## Verdict\n\n- **") && summary.contains("`localhost`: **"), "{summary}");
    // What the run says is what the report says of it.
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let findings = json(&std::fs::read(run.join("findings.json")).unwrap());
    let report = json(&call(dir.path(), &["report", run.to_str().unwrap(), "--format", "json"]).stdout);
    assert_eq!((&findings["schema"], &findings["nodes"][0]["node"]), (&1.into(), &"localhost".into()));
    assert_eq!(findings["nodes"][0]["findings"], report["nodes"][0]["findings"]);
}

#[test]
fn no_verdict_is_made_where_nobody_wants_one() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--nodes", "localhost", "--local", "--include", "host/meminfo", "--no-analysis"];
    let output = call(dir.path(), &args);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(0) && !shown.to_lowercase().contains("verdict"), "{shown}");
    assert_eq!(names_in(&run_in(dir.path())), ["SUMMARY.md", "localhost.tar.zst", "run.json", "run.log"]);
}

/// An inventory of this machine alone, with a step of its own.
fn own_step(dir: &Path, script: &str) {
    let step = format!("[[step]]\nid = \"own/x\"\nabout = \"a test\"\n[[step.try]]\nscript = '''{script}'''\n");
    write(&dir.join("inventory.toml"), &format!("[[node]]\nname = \"localhost\"\n{step}"));
}

#[test]
fn findings_that_cannot_be_written_change_neither_the_exit_code_nor_the_bundles() {
    let dir = tempfile::tempdir().unwrap();
    // What stands in the way when findings.json is to be put in its place.
    let script = format!("for run in {}/plegcollect-*; do mkdir -p $run/findings.json/x; done", dir.path().display());
    own_step(dir.path(), &script);
    let args = ["--nodes", "localhost", "--local", "--include", "own/x,host/meminfo"];
    let output = call(dir.path(), &args);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("note: findings.json was not written: write "), "{shown}");
    assert!(shown.starts_with("Verdict\n"), "{shown}");
    let run = run_in(dir.path());
    let summary = std::fs::read_to_string(run.join("SUMMARY.md")).unwrap();
    assert!(summary.contains("findings.json was not written") && summary.contains("## Verdict"), "{summary}");
    assert_eq!(call(dir.path(), &["verify", run.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn an_interrupted_run_is_not_analysed_and_says_how_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join("begun");
    own_step(dir.path(), &format!("touch {}; sleep 600", begun.display()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_plegcollect"));
    command.args(["--nodes", "localhost", "--local", "--include", "own/x,host/meminfo"]);
    command.current_dir(dir.path()).env("HOME", dir.path()).env_remove("PLEGCOLLECT_OUT");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(130), "{shown}");
    let told = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("note: interrupted, so the evidence was not analysed: plegcollect report ./"), "{shown}");
    let names = names_in(&run_in(dir.path()));
    assert!(!names.contains(&"findings.json".to_owned()) && names.contains(&"SUMMARY.md".to_owned()), "{names:?}");
}

#[test]
fn slips_of_the_command_line_get_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    for (args, word) in [
        (&["worker-001"][..], "--nodes"),
        (&["--nodes", "worker-001", "worker-002"], "--nodes"),
        (&["--nodes", "worker-001", "plan"], "write the command first"),
        (&["--nodes", "localhost", "--node-deadline", "0s"], "1 second at least"),
        (&["--nodes", "localhost", "--node-deadline", "20"], "write 90s"),
        (&["--nodes", "localhost", "--window", "11m"], "it must be 1s to 10m"),
        (&["--nodes", "localhost", "--read-only", "--shim-stacks"], "cannot be used with"),
        (
            &["--nodes", "localhost", "--local", "--window", "9", "--dockerd-debug", "off"],
            "--dockerd-debug off forbids",
        ),
        (&["plan", "--nodes", "localhost", "--local", "--shim-stacks", "--stacks", "off"], "leave out one of the two"),
        (&["--nodes", "localhost", "--since", "-1h"], "invalid time"),
        (&["--nodes", "localhost", "--since", "2999-01-01T00:00:00Z"], "lies ahead"),
        (&["show", "."], "is a directory"),
    ] {
        let (code, err) = refused(dir.path(), args);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(word), "{args:?}: {err}");
    }
}

#[test]
fn a_plan_for_a_node_that_is_not_reached_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (code, err) = refused(dir.path(), &["plan", "--nodes", "root@127.0.0.1:1", "--batch"]);
    assert_eq!(code, 12, "{err}");
    assert!(err.contains("127.0.0.1") && err.contains("hint:"), "{err}");
}

#[test]
fn a_plan_tells_what_would_be_changed_or_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |args: &[&str]| {
        let all = [&["plan", "--nodes", "localhost", "--local", "--batch"], args].concat();
        let output = call(dir.path(), &all);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = plan(&["--read-only"]);
    assert!(text.contains("No change to the node:\n  - dockerd-debug: not made: --read-only"), "{text}");
    assert!(text.ends_with("nothing on these nodes is changed\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&plan(&["--json", "--stacks", "off"])).unwrap();
    let stacks = &json[0]["changes"][1];
    assert_eq!((&stacks["change"], &stacks["planned"]), (&"stack-dump".into(), &false.into()));
    assert!(stacks["reason"].as_str().unwrap().contains("stacks are off"), "{stacks}");
    assert!(plan(&["--sudoers"]).contains("# Changes (dockerd debug, stacks) need root's login"));
}

#[test]
fn the_example_inventory_holds_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/inventory.example.toml")).unwrap();
    // With its own step switched on.
    let (before, step) = text.split_once("# [[step]]").unwrap();
    let step = step.lines().map(|l| l.strip_prefix("# ").unwrap_or(l)).collect::<Vec<_>>().join("\n");
    write(&dir.path().join("inventory.toml"), &format!("{before}[[step]]{step}\n[[node]]\nname = \"localhost\"\n"));
    let output = call(dir.path(), &["--nodes", "localhost", "--local", "--include", "site/ntp", "--quiet"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 10)), "{err}");
}

#[test]
fn completions_and_man_page() {
    let dir = tempfile::tempdir().unwrap();
    for (args, word) in [
        (&["completions", "bash"][..], "_plegcollect"),
        (&["completions", "fish"], "complete -c plegcollect"),
        (&["man"], ".TH plegcollect"),
        (&["man"], "\\-\\-sudoers"),
        (&["man"], ".SS verify"),
        (&["man"], "130 interrupted"),
        (&["man"], "20 a node may still be changed"),
    ] {
        let output = call(dir.path(), args);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{args:?}");
    }
}

#[test]
fn a_standard_error_nobody_reads_does_not_change_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_plegcollect"))
        .args(["--nodes", "x", "--inventory", "/nonexistent.toml"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::null())
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_node_without_a_plan_is_told_and_so_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    write(&dir.path().join("config"), "Host *\n  StrictHostKeyChecking no\n");
    let call = |args: &[&str]| {
        let output = call(dir.path(), args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = call(&["plan", "-F", "config", "--nodes", "127.0.0.1", "--port", &port]);
    assert_eq!(code, Some(12), "{err}");
    assert!(err.contains("127.0.0.1: ") && err.contains("refused the connection"), "{err}");
    let (code, err) = call(&["nodes", "-F", "config", "--nodes", "127.0.0.1"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("warning: ") && err.contains("StrictHostKeyChecking"), "{err}");
}

#[test]
fn verify_does_not_take_a_damaged_bundle_for_an_open_one() {
    let dir = tempfile::tempdir().unwrap();
    let output =
        call(dir.path(), &["--nodes", "localhost", "--local", "--include", "host/meminfo,host/vmstat", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let run = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let good = std::fs::read(run.join("localhost.tar.zst")).unwrap();
    // Elsewhere, where no run.json tells its hash.
    for (name, bytes, want) in [
        ("good.tar.zst", good.clone(), 0),
        ("short.tar.zst", good[..good.len() * 2 / 3].to_vec(), 3),
        ("short.tar.zst.partial", good[..good.len() * 2 / 3].to_vec(), 10),
        (
            "bent.tar.zst",
            good.iter().enumerate().map(|(i, b)| if i == good.len() / 2 { b ^ 0xff } else { *b }).collect(),
            3,
        ),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let verified = call(dir.path(), &["verify", name]);
        assert_eq!(verified.status.code(), Some(want), "{name}: {}", String::from_utf8_lossy(&verified.stdout));
    }
}

#[test]
fn budgets_beyond_all_time_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let ever = "500000000000y";
    let args = ["nodes", "--check", "-F", "none", "--nodes", "127.0.0.1", "--port", "1", "--connect-timeout", ever];
    let output = call(dir.path(), &args);
    assert_eq!(output.status.code(), Some(12), "{}", String::from_utf8_lossy(&output.stderr));
}
