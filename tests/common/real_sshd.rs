//! A real sshd on a loopback port with keys, configuration and log in a directory of its own.
//! Needs no root: then it lets in the user it runs as.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plegcollect::inventory::Target;
use plegcollect::inventory::target::{
    AddressFamily, Credentials, Endpoint, Hop, HostKeyMode, HostKeyPolicy, Proxy, Reach, Sudo,
};
use rustix::process::{Pid, Signal, kill_process};

const SSHD: &str = "/usr/sbin/sshd";

/// Returns whether tests with a real sshd can run; fails the test if sshd is missing and nobody
/// said that this is all right.
pub fn available() -> bool {
    if Path::new(SSHD).exists() {
        return true;
    }
    if std::env::var_os("PLEGCOLLECT_NO_SSHD").is_some() {
        eprintln!("skipped: {SSHD} is missing and PLEGCOLLECT_NO_SSHD is set");
        return false;
    }
    panic!("this test needs OpenSSH's server: install openssh-server ({SSHD}), or set PLEGCOLLECT_NO_SSHD to skip it");
}

pub struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    listener: Child,
}

impl Sshd {
    /// Starts sshd; `extra` goes first into its configuration, where it wins.
    pub fn start(extra: &str) -> Self {
        if rustix::process::geteuid().is_root() {
            // sshd's privilege separation wants it; the package makes it at boot only.
            let _ = fs::create_dir_all("/run/sshd");
        }
        let dir = tempfile::tempdir().unwrap();
        for key in ["host", "user"] {
            keygen(&dir.path().join(key));
        }
        fs::copy(dir.path().join("user.pub"), dir.path().join("authorized_keys")).unwrap();
        // Another process may take the port between our look and sshd's bind.
        for _ in 0..20 {
            let port = free_port();
            write_config(dir.path(), port, extra);
            let mut listener = spawn(dir.path());
            if greets(port, &mut listener) {
                let host_key = fs::read_to_string(dir.path().join("host.pub")).unwrap();
                let known = format!("[127.0.0.1]:{port} {host_key}");
                put(&dir.path().join("known_hosts"), &known);
                return Self { dir, port, listener };
            }
            let _ = listener.kill();
            let _ = listener.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `command` followed by a long sleep, which ends with this value at the latest: sshd
    /// leaves commands behind when it is killed or their channel is closed.
    pub fn after(&self, command: &str) -> String {
        format!("{command}; exec sleep 1000.{:05}", self.port)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Returns how often somebody logged in.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    pub fn hop(&self) -> Hop {
        Hop {
            endpoint: Endpoint { host: "127.0.0.1".into(), port: self.port },
            user: user(),
            credentials: Credentials {
                identity_files: vec![self.path("user")],
                certificate_files: Vec::new(),
                identities_only: true,
                agent_socket: None,
            },
            host_key: HostKeyPolicy {
                mode: HostKeyMode::Strict,
                known_hosts: vec![self.path("known_hosts")],
                alias: None,
                pinned: Vec::new(),
            },
            connect_timeout: Duration::from_secs(20),
            auth_timeout: Duration::from_secs(20),
            keepalive_interval: Duration::from_secs(15),
            keepalive_max: 3,
            address_family: AddressFamily::Any,
            bind_address: None,
            compression: false,
        }
    }

    pub fn target(&self) -> Target {
        target(self.hop(), Proxy::Direct)
    }

    /// Returns the processes that serve connections (not the listener, not the commands).
    pub fn servers(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut look = vec![self.listener.id()];
        while let Some(parent) = look.pop() {
            for pid in children(parent) {
                if comm(pid).starts_with("sshd") {
                    found.push(pid);
                    look.push(pid);
                }
            }
        }
        found
    }

    /// Sends a signal to every process that serves a connection.
    pub fn signal_servers(&self, signal: Signal) {
        let servers = self.servers();
        assert!(!servers.is_empty(), "no connection to signal");
        for pid in servers {
            send(pid, signal);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.servers() {
            send(pid, Signal::KILL);
        }
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        for pid in processes_with(&format!("sleep\01000.{:05}", self.port)) {
            send(pid, Signal::KILL);
        }
    }
}

pub fn target(hop: Hop, proxy: Proxy) -> Target {
    Target {
        name: "node".parse().unwrap(),
        reach: Reach::Ssh { hop: Box::new(hop), proxy },
        sudo: Sudo::Never,
        parallel_steps: 8,
        groups: Vec::new(),
    }
}

/// Waits until `condition` holds; fails the test after a minute, on the most loaded machine.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the processes whose command line holds `marker`.
pub fn processes_with(marker: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(marker.len()).any(|w| w == marker.as_bytes())
    };
    pids.filter(holds).collect()
}

/// Returns whether a connection to `port` of this machine is open at both ends.
pub fn established(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.any(|row| row[2].ends_with(&format!(":{port:04X}")) && row[3] == "01")
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(i32::try_from(pid).unwrap()) {
        let _ = kill_process(pid, signal);
    }
}

fn children(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn keygen(path: &Path) {
    let done =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path).status();
    assert!(done.unwrap().success(), "ssh-keygen failed");
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[allow(clippy::disallowed_methods, reason = "a test's own directory")]
pub fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn write_config(dir: &Path, port: u16, extra: &str) {
    let d = dir.display();
    let text = format!(
        "{extra}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin yes\nMaxStartups 200\nLogLevel VERBOSE\n"
    );
    put(&dir.join("config"), &text);
}

fn spawn(dir: &Path) -> Child {
    Command::new(SSHD)
        .args(["-D", "-f"])
        .arg(dir.join("config"))
        .arg("-E")
        .arg(dir.join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn greets(port: u16, listener: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if listener.try_wait().unwrap().is_some() {
            return false;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            let mut start = [0; 4];
            let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
            return stream.read_exact(&mut start).is_ok() && &start == b"SSH-";
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
