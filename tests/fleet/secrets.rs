//! No token leaves the program but to the kubelet: not in the process table of the operator or of a node (they share one
//! here: nodes are namespaces of this machine), not in anything printed or written, not on a node's disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::ApiServer;
use crate::evidence::{ca, token_file};
use crate::support::{Fault, Plegcollect, fleet, on_node, plegcollect};

const NODE: &str = "worker-001";

/// Process, file below its directory in /proc, and the beginning of its command line.
type Found = (u64, &'static str, String);

/// Looks at every process of this machine, and of the nodes on it, every 10 ms.
struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<HashSet<Found>>>,
}

impl Watch {
    fn start(needles: Vec<Vec<u8>>) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ending, counting) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut found = HashSet::new();
            while !ending.load(Ordering::Relaxed) {
                let begun = Instant::now();
                for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
                    let Ok(pid) = entry.file_name().to_string_lossy().parse::<u64>() else { continue };
                    for file in ["cmdline", "environ"] {
                        let Ok(bytes) = std::fs::read(entry.path().join(file)) else { continue };
                        if needles.iter().any(|needle| holds(&bytes, needle)) {
                            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                            let command = String::from_utf8_lossy(&command).replace('\0', " ");
                            found.insert((pid, file, command.chars().take(60).collect()));
                        }
                    }
                }
                counting.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10).saturating_sub(begun.elapsed()));
            }
            found
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    /// What was found, and how often it looked. `own` may hold the token in its environment, and nobody else.
    fn end(mut self, own: Option<u32>) -> (Vec<String>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut found = self.thread.take().unwrap().join().unwrap();
        found.retain(|(pid, file, _)| *file != "environ" || own.map(u64::from) != Some(*pid));
        let found = found.into_iter().map(|(pid, file, command)| format!("/proc/{pid}/{file} of {command}"));
        (found.collect(), self.rounds.load(Ordering::Relaxed))
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

/// Runs it to its end under watch, and looks at everything it left.
fn no_trace(what: &str, call: Plegcollect, token: &str, in_environment: bool) {
    traces(what, call, token, in_environment, (0, b"GenericPLEG"));
}

/// As `no_trace`, for a run that ends with this exit code and has this text in its bundle.
fn traces(what: &str, mut call: Plegcollect, token: &str, in_environment: bool, (code, marker): (i32, &[u8])) {
    let needles = vec![token.as_bytes().to_vec()];
    let watch = Watch::start(needles.clone());
    let dir = call.out.path().to_owned();
    let (out, err) = (dir.join("printed"), dir.join("complaints"));
    let child = call
        .command
        .env("TMPDIR", &dir)
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let own = in_environment.then(|| child.id());
    let status = child.wait_with_output().unwrap().status;
    let said = format!(
        "{what}: {status}\n{}\n{}",
        std::fs::read_to_string(&out).unwrap_or_default(),
        std::fs::read_to_string(&err).unwrap_or_default()
    );
    let (found, rounds) = watch.end(own);
    assert!(found.is_empty(), "{what}: {found:?}");
    assert!(rounds > 100, "{what}: looked only {rounds} times");
    assert_eq!(status.code(), Some(code), "{said}");

    let mut left = Vec::new();
    files(&dir, &mut left);
    let mut bundles = 0;
    for path in left {
        let mut bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|e| e == "zst") {
            bundles += 1;
            let unpacked = Command::new("zstd").args(["-dcq"]).arg(&path).output().unwrap();
            assert!(unpacked.status.success());
            bytes = unpacked.stdout;
            let of_node = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NODE));
            let marked = !of_node || holds(&bytes, marker);
            assert!(marked, "{what}: {} is in the bundle", String::from_utf8_lossy(marker));
        }
        assert!(needles.iter().all(|needle| !holds(&bytes, needle)), "{what}: {} holds the token", path.display());
    }
    assert!(bundles >= 1, "{said}");
    // The stand-in's own files hold no token either; only hashes.
    let script = format!(
        "grep -rslF -e '{token}' /tmp /var/tmp /run /root /home /etc /var/log /dev/shm 2>/dev/null | head -3; \
         journalctl -q --no-pager -o cat --since=-10min | grep -cF -e '{token}'; true"
    );
    let on_disk = on_node(NODE, &script);
    assert_eq!(on_disk.trim(), "0", "{what}: {on_disk}");
}

#[test]
#[ignore = "needs the fleet"]
fn no_credential_leaves_a_trace_through_ssh() {
    each_source(&[]);
}

#[test]
#[ignore = "needs the fleet"]
fn no_credential_leaves_a_trace_through_curl() {
    let _off = Fault::new(NODE, &["no-forwarding"]);
    each_source(&["--kubelet-via", "curl"]);
}

fn each_source(way: &[&str]) {
    let file = token_file("node-diagnostics");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let authority = ca();
    let call = |credential: &[&str], events: bool| {
        let mut args = vec!["--nodes", NODE, "--read-only", "--verbose", "--kubelet-ca", &authority];
        args.extend(credential);
        args.extend(way);
        if events {
            args.extend(["--events", "json"]);
        }
        plegcollect(&args)
    };
    no_trace("token file", call(&["--kubelet-token-file", &file], false), &token, false);

    let mut from_environment = call(&["--kubelet-token-env", "OUR_TOKEN"], true);
    from_environment.command.env("OUR_TOKEN", &token);
    no_trace("environment variable", from_environment, &token, true);

    let command = format!("cat {file}");
    no_trace("command", call(&["--kubelet-token-command", &command], true), &token, false);

    // The kubeconfig's own credential, for the API server and the kubelets; a client certificate's key cannot go by curl.
    for user in ["node-diagnostics", "exec", "certificate"] {
        if user == "certificate" && !way.is_empty() {
            continue;
        }
        let server = ApiServer::up(user);
        let secret = if user == "certificate" { key_line() } else { token.clone() };
        let args = ["--kubeconfig", server.path(), "--kubelet-kubeconfig"];
        no_trace(&format!("kubeconfig of {user}"), call(&args, false), &secret, false);
    }
}

/// A line in the middle of the client key.
fn key_line() -> String {
    let pem = std::fs::read_to_string(fleet(&["path", "kubelet-client-key"]).trim()).unwrap();
    pem.lines().nth(2).expect("a key has some lines").to_owned()
}

#[test]
#[ignore = "needs the fleet"]
fn a_stranger_at_the_kubelets_port_is_sent_no_token_at_the_first_use() {
    const LISTEN: &str = "python3 -c \"import socket,time; s=socket.create_server(('127.0.0.1',10251)); \
                          open('/run/stranger/up','w').write('1'); s.accept(); open('/run/stranger/met','w').write('1')\"";
    on_node(NODE, "rm -rf /run/stranger; mkdir -m 777 /run/stranger");
    on_node(
        NODE,
        &format!(
            "setsid timeout 60 setpriv --reuid 1000 --regid 1000 --clear-groups {LISTEN} </dev/null >/dev/null 2>&1 & \
             for _ in $(seq 100); do [ -e /run/stranger/up ] && exit 0; sleep 0.1; done; exit 1"
        ),
    );
    let file = token_file("node-diagnostics");
    for way in ["forward", "curl"] {
        let dir = tempfile::tempdir().unwrap();
        let pins = dir.path().join("keys");
        let pins = pins.to_str().unwrap();
        let run = plegcollect(&[
            "--nodes",
            NODE,
            "--read-only",
            "--include",
            "kubelet/configz",
            "--kubelet-port",
            "10251",
            "--kubelet-token-file",
            &file,
            "--kubelet-pins",
            pins,
            "--kubelet-via",
            way,
        ])
        .run();
        assert_eq!(run.code, 10, "{}", run.said());
        assert!(run.said().contains("user id 1000"), "{}", run.said());
        assert!(!std::fs::exists(pins).unwrap(), "{way}: nothing is recorded");
    }
    // It was not even connected to, and goes on waiting for that.
    let met = on_node(NODE, "ls /run/stranger; curl -s -m 5 http://127.0.0.1:10251/ >/dev/null; rm -rf /run/stranger");
    assert_eq!(met.trim(), "up");
}

/// Sends back what it was sent, everywhere an answer has room for it: status text, headers, body, a line cut short, a
/// redirect, chunk extensions and trailers; in one answer of each kind.
const ECHO: &str = r#"
import itertools, re, socket, ssl
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/run/echo/cert", "/run/echo/key")
server = socket.create_server(("127.0.0.1", 10252))
open("/run/echo/up", "w").close()
kinds = itertools.cycle(range(6))
def answer(head):
    found = re.search(rb"(?i)authorization: bearer (\S+)", head)
    if not found:
        return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    t = found.group(1)
    bare = lambda status, body, more=b"": b"HTTP/1.1 " + status + b"\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(body) + body
    kind = next(kinds)
    if kind == 0: return bare(b"400 " + t, b"echoed " + t + b"\n" + head, b"X: " + t + b"\r\n")
    if kind == 1: return bare(b"500 e", b"echoed " + b"x" * 150 + t)
    if kind == 2: return bare(b"302 e", b"", b"Location: /<" + t + b"\r\n")
    if kind == 3: return bare(b"200 e", b"echoed\n" + head)
    if kind == 4: return bare(b"403 e", b"Forbidden (user=echoed" + t + b", verb=get, resource=nodes, subresource=proxy)")
    return b"HTTP/1.1 200 e\r\nTransfer-Encoding: chunked\r\n\r\n6;" + t + b"\r\nechoed\r\n0\r\nX: " + t + b"\r\n\r\n"
while True:
    try:
        with tls.wrap_socket(server.accept()[0], server_side=True) as peer:
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.recv(65536) or b"\r\n\r\n"
            peer.sendall(answer(head))
    except OSError:
        pass
"#;

#[test]
#[ignore = "needs the fleet"]
fn a_kubelet_that_sends_the_token_back_puts_it_nowhere() {
    on_node(
        NODE,
        &format!(
            "pkill -KILL -f '^python3 /run/echo/serve'; rm -rf /run/echo; mkdir /run/echo; cat >/run/echo/serve <<'END'\n{ECHO}\nEND\n\
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /run/echo/key -out /run/echo/cert \
             -subj /CN=kubelet -days 2 2>/dev/null\n\
             setsid timeout 120 python3 /run/echo/serve </dev/null >/dev/null 2>&1 & \
             for _ in $(seq 100); do [ -e /run/echo/up ] && exit 0; sleep 0.1; done; exit 1"
        ),
    );
    let file = token_file("node-diagnostics");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    for way in ["forward", "curl"] {
        let args = [
            "--nodes",
            NODE,
            "--read-only",
            "--verbose",
            "--include",
            "kubelet/*",
            "--kubelet-port",
            "10252",
            "--kubelet-insecure",
            "--kubelet-token-file",
            &file,
            "--kubelet-via",
            way,
            "--events",
            "json",
        ];
        let mut call = plegcollect(&args);
        call.command.env("PLEGCOLLECT_LOG", "trace");
        traces(way, call, &token, false, (10, b"echoed"));
    }
    on_node(NODE, "rm -rf /run/echo; pkill -f '^python3 /run/echo/serve'; true");
}
