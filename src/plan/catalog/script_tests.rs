//! Runs the scripts on this machine, in every shell there is here, against what the test itself set up.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::*;

/// `/bin/sh`, and the others if they are here.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["/bin/sh"], vec!["/bin/dash"], vec!["/bin/busybox", "sh"], vec!["/bin/bash", "--posix"]];
    all.into_iter().filter(|s| Path::new(s[0]).exists()).collect()
}

fn run(shell: &[&str], scripts: &[&str], args: &[&str]) -> Output {
    let text: String = scripts.iter().map(|s| builtin_script(s).unwrap()).collect();
    Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(shipped(&text, true)).arg("sh").args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A child that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a copy of `program` under another name; the name is what the kernel then calls it.
fn disguised(dir: &Path, program: &str, name: &str, args: &[&str]) -> Running {
    let path = dir.join(name);
    std::fs::copy(program, &path).unwrap();
    // Another test may fork while the copy is open for writing, which makes exec fail for an instant.
    loop {
        match Command::new(&path).args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            child => return Running(child.unwrap()),
        }
    }
}

#[test]
fn every_script_is_sound_as_shipped() {
    for shell in shells() {
        for (name, source) in SCRIPTS {
            let check =
                Command::new(shell[0]).args(&shell[1..]).arg("-n").arg("-c").arg(shipped(source, true)).output();
            let check = check.unwrap();
            assert!(check.status.success() && check.stderr.is_empty(), "{name} in {shell:?}: {check:?}");
        }
    }
}

#[test]
fn stuck_finds_a_zombie() {
    let mut child = Command::new("true").spawn().unwrap();
    let status = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&status).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    for shell in shells() {
        for script in ["stuck.sh", "stuck-builtin.sh"] {
            let out = text(&run(&shell, &["thread.sh", script], &[]));
            let line = format!("tid {0} pid {0} ppid {1} state Z wchan", child.id(), std::process::id());
            assert!(out.contains(&line), "{shell:?} {script}: {out}");
        }
    }
    child.wait().unwrap();
}

#[test]
fn runc_processes_are_found_with_age_and_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let sleep = disguised(dir.path(), "/bin/sleep", "runc", &["600"]);
    for shell in shells() {
        let out = text(&run(&shell, &["thread.sh", "runc.sh"], &[]));
        assert!(
            out.contains(&format!("##### pid {} ppid {} age ", sleep.0.id(), std::process::id())),
            "{shell:?}: {out}"
        );
        assert!(out.contains("runc 600"), "{shell:?}: {out}");
        assert!(out.contains("name runc\n"), "{shell:?}: {out}");
        assert!(!out.contains("age ?"), "{shell:?}: {out}");
    }
}

#[test]
fn descriptors_are_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<File> =
        (0..12).map(|i| File::create(dir.path().join(format!("{i}0123456789abcdef-json.log"))).unwrap()).collect();
    let pid = std::process::id().to_string();
    for shell in shells() {
        let out = text(&run(&shell, &["fds.sh"], &[&pid]));
        assert!(out.starts_with("Max open files"), "{shell:?}: {out}");
        assert!(out.contains("      12 ") && out.contains("/ID-json.log\n"), "{shell:?}: {out}");
        let total = out.lines().last().unwrap();
        assert!(total.contains(" in all, "), "{total}");
    }
    drop(files);
}

#[test]
fn files_are_printed_with_headings_and_missing_ones_said() {
    for shell in shells() {
        let out = run(&shell, &["read.sh"], &["/proc/loadavg", "/does/not/exist"]);
        assert!(out.status.success());
        assert!(text(&out).starts_with("==> /proc/loadavg <==\n"));
        assert!(text(&out).contains("==> /does/not/exist <==\n(not there"));
        assert!(!run(&shell, &["read.sh"], &["/does/not/exist"]).status.success());
        assert!(text(&run(&shell, &["twice.sh"], &["/proc/stat"])).contains("##### reading 2"));
        assert!(text(&run(&shell, &["ps-proc.sh"], &[])).contains("##### owners"));
        let pid = std::process::id().to_string();
        let limits = text(&run(&shell, &["limits.sh"], &["dockerd", "", "kubelet", &pid]));
        assert!(limits.contains("##### dockerd, pid none\n##### kubelet, pid "), "{limits}");
        assert!(limits.contains(&format!("==> /proc/{pid}/limits <==\n")));
    }
}

#[test]
fn kubeconfigs_are_not_taken_along() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["10-net.conflist", "calico-kubeconfig", "x-kubeconfig.conf"] {
        std::io::Write::write_all(&mut File::create(dir.path().join(name)).unwrap(), name.as_bytes()).unwrap();
    }
    for shell in shells() {
        let out = text(&run(&shell, &["cni-config.sh"], &["/does/not/exist", dir.path().to_str().unwrap()]));
        assert!(out.ends_with("10-net.conflist <==\n10-net.conflist\n"), "{out}");
        assert!(!out.contains("kubeconfig"), "{out}");
    }
}

#[test]
fn no_argument_of_a_process_can_pose_as_a_fact() {
    let dir = tempfile::tempdir().unwrap();
    let lie = "x\nuid 4242\nunit -\nunit Id=docker.service\nend 1";
    let fake = disguised(dir.path(), "/bin/cat", "dockerd", &["-", lie]);
    for shell in shells() {
        let probe = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", crate::plan::facts::probe_script(), "sh", "cat", "=/etc/passwd"])
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&probe.stdout).into_owned();
        assert!(shown.contains(&format!("proc.{}.arg -\n", fake.0.id())), "{shell:?}: {shown}");
        assert!(shown.contains("arg x\u{1}uid 4242\u{1}unit -"), "{shell:?}: {shown}");
        let facts = crate::plan::facts::parse(&probe.stdout).unwrap();
        assert_ne!(facts.uid, Some(4242), "{shell:?}");
        assert_eq!(facts.files.get("/etc/passwd"), Some(&true));
        assert!(!facts.partial, "{shell:?}: {shown}");
    }
}

/// Answers every request on a socket with `answer(path)`, until the test ends.
fn serve(socket: &Path, answer: fn(&str) -> String) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut line);
            let mut rest = String::new();
            while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {
                rest.clear();
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(answer(&path).as_bytes());
        }
    });
}

#[test]
fn goroutines_come_one_by_one_only_while_that_is_cheap() {
    fn ok(total: u32, path: &str) -> String {
        let body = match path {
            "/debug/pprof/goroutine?debug=1" => format!("goroutine profile: total {total}\n1 @ 0x1\n"),
            "/debug/pprof/goroutine?debug=2" => "goroutine 1 [running]:\n".to_owned(),
            _ => String::new(),
        };
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}")
    }
    let dir = tempfile::tempdir().unwrap();
    type Answer = fn(&str) -> String;
    let table: [(&str, &str, Answer, i32, &str, &str); 5] = [
        ("few-1", "1", |p| ok(42, p), 0, "goroutine profile: total 42\n1 @ 0x1\n", ""),
        ("few-2", "2", |p| ok(20_000, p), 0, "goroutine 1 [running]:\n", ""),
        ("many-2", "2", |p| ok(20_001, p), 0, "goroutine profile: total 20001\n1 @ 0x1\n", "for about 1800 ms"),
        ("none", "1", |_| "HTTP/1.0 404 Not Found\r\n\r\n{}".to_owned(), 4, "", "only while debug is on"),
        ("odd", "2", |_| "SSH-2.0-x\r\n".to_owned(), 3, "", "dockerd gave no profile"),
    ];
    for (name, sample, answer, status, out, err) in table {
        let socket = dir.path().join(name);
        serve(&socket, answer);
        for shell in shells() {
            let output = run(&shell, &["docker-api.sh", "pprof.sh"], &[socket.to_str().unwrap(), sample]);
            if output.status.code() == Some(6) {
                // No client on this machine; nodes have docker's.
                return;
            }
            assert_eq!(output.status.code(), Some(status), "{shell:?} {name}: {output:?}");
            assert_eq!(text(&output), out, "{shell:?} {name}");
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(words.contains(err) && words.is_empty() == err.is_empty(), "{shell:?} {name}: {words}");
        }
    }
}
