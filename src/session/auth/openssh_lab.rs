//! A directory with keys, certificates, agents and `sshd`s for tests, all made by OpenSSH itself.
//! The servers speak over their standard input and output (`sshd -i`): no ports, nothing to kill.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use russh::client::{Config, Handle, Handler};
use russh::keys::PublicKeyOrCertificate;
use tempfile::TempDir;

use crate::inventory::target::{Credentials, Endpoint, HostKeyMode, HostKeyPolicy};
use crate::session::error::SessionError;
use crate::session::host_key::{Accepted, HostKeyJudge};

pub(in crate::session) struct Lab {
    dir: TempDir,
    agents: Mutex<Vec<Child>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for agent in self.agents.get_mut().unwrap() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl Lab {
    pub(in crate::session) fn new() -> Self {
        let _ = std::fs::create_dir_all("/run/sshd"); // privilege separation of an sshd started by root
        let lab = Self { dir: tempfile::tempdir().unwrap(), agents: Mutex::default() };
        lab.keygen("host", &["-t", "ed25519"]);
        lab
    }

    pub(in crate::session) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(in crate::session) fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write as _;
        std::fs::File::create(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
        self.path(name)
    }

    pub(in crate::session) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Makes a key pair without passphrase (unless `args` say another) and returns its path.
    pub(in crate::session) fn keygen(&self, name: &str, args: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-C", name, "-f"]).arg(&path).args(args);
        if !args.contains(&"-N") {
            command.args(["-N", ""]);
        }
        run(&mut command);
        path
    }

    /// Signs `NAME.pub` with the authority's key: `NAME-cert.pub`.
    pub(in crate::session) fn certify(&self, authority: &str, name: &str, args: &[&str]) -> PathBuf {
        let mut command = Command::new("ssh-keygen");
        command.env("TZ", "UTC").args(["-q", "-I", name, "-s"]).arg(self.path(authority)).args(args);
        run(command.arg(self.path(&format!("{name}.pub"))));
        self.path(&format!("{name}-cert.pub"))
    }

    /// `type base64` of a public key.
    pub(in crate::session) fn public(&self, name: &str) -> String {
        self.read(&format!("{name}.pub")).split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Makes a server that lets in the named keys.
    pub(in crate::session) fn server(&self, name: &str, authorized: &[&str], more: &str) -> Server {
        let keys: Vec<String> = authorized.iter().map(|key| self.read(&format!("{key}.pub"))).collect();
        let keys = self.write(&format!("{name}.authorized"), &keys.concat());
        let host = self.path("host");
        let host = if more.contains("HostKey ") { String::new() } else { format!("HostKey {}\n", host.display()) };
        let config = format!(
            "{more}\n{host}AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nLogLevel VERBOSE\n",
            keys.display()
        );
        Server { config: self.write(&format!("{name}.conf"), &config), log: self.path(&format!("{name}.log")) }
    }

    /// Starts an agent that holds the named keys (and the certificates beside them).
    pub(in crate::session) fn agent(&self, name: &str, keys: &[&str], add_args: &[&str]) -> PathBuf {
        let socket = self.path(name);
        let mut agent = Command::new("ssh-agent");
        // No window to confirm a signature in: such keys (ssh-add -c) are always declined.
        agent.env("SSH_ASKPASS", "/bin/false").env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        self.agents.lock().unwrap().push(agent.spawn().expect("ssh-agent is needed (package openssh-client)"));
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        for key in keys {
            run(Command::new("ssh-add").arg("-q").args(add_args).arg(self.path(key)).env("SSH_AUTH_SOCK", &socket));
        }
        socket
    }

    pub(in crate::session) fn credentials(&self, keys: &[&str]) -> Credentials {
        Credentials {
            identity_files: keys.iter().map(|key| self.path(key)).collect(),
            certificate_files: Vec::new(),
            identities_only: false,
            agent_socket: None,
        }
    }

    pub(in crate::session) fn policy(&self, files: &[&str]) -> HostKeyPolicy {
        HostKeyPolicy {
            mode: HostKeyMode::Strict,
            known_hosts: files.iter().map(|name| self.path(name)).collect(),
            alias: None,
            pinned: Vec::new(),
        }
    }
}

pub(in crate::session) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e} (OpenSSH is needed for the tests)"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The login name of whoever runs the tests.
pub(in crate::session) fn user() -> String {
    String::from_utf8(run(Command::new("id").arg("-un")).stdout).unwrap().trim().to_owned()
}

pub(in crate::session) fn sshd() -> &'static Path {
    let path = Path::new("/usr/sbin/sshd");
    assert!(path.exists(), "/usr/sbin/sshd is needed for the tests: apt-get install openssh-server");
    path
}

pub(in crate::session) struct Server {
    pub(in crate::session) config: PathBuf,
    log: PathBuf,
}

/// A connection, up to the end of the key exchange.
pub(in crate::session) struct Connection {
    pub(in crate::session) handle: Handle<Client>,
    _sshd: tokio::process::Child,
}

impl Server {
    /// Connects and accepts any host key.
    pub(in crate::session) async fn connect(&self) -> Connection {
        self.dial(Config::default(), Client::default()).await.unwrap()
    }

    /// Connects as the session will: asks for what the judge prefers, and lets it decide.
    pub(in crate::session) async fn connect_judged(
        &self,
        judge: &Arc<HostKeyJudge>,
        policy: &HostKeyPolicy,
        endpoint: &Endpoint,
    ) -> Result<Accepted, SessionError> {
        let preference = judge.preference(policy, endpoint)?;
        let mut config = Config::default();
        config.preferred.key = preference.plain.into();
        config.preferred.host_key_certificates = preference.certificates.into();
        let verdict = Arc::new(Mutex::new(None));
        let client =
            Client { judge: Some((judge.clone(), policy.clone(), endpoint.clone())), verdict: verdict.clone() };
        let connected = self.dial(config, client).await;
        let verdict = verdict.lock().unwrap().take().expect("the server shows a key");
        assert_eq!(connected.is_ok(), verdict.is_ok());
        verdict
    }

    async fn dial(&self, config: Config, client: Client) -> Result<Connection, russh::Error> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut sshd = tokio::process::Command::new(sshd())
            .arg("-ief")
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stream = tokio::io::join(sshd.stdout.take().unwrap(), sshd.stdin.take().unwrap());
        let handle = russh::client::connect_stream(Arc::new(config), stream, client).await?;
        Ok(Connection { handle, _sshd: sshd })
    }

    pub(in crate::session) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

#[derive(Default)]
pub(in crate::session) struct Client {
    judge: Option<(Arc<HostKeyJudge>, HostKeyPolicy, Endpoint)>,
    verdict: Arc<Mutex<Option<Result<Accepted, SessionError>>>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let Some((judge, policy, endpoint)) = &self.judge else { return Ok(true) };
        let verdict = judge.judge(policy, endpoint, key);
        let ok = verdict.is_ok();
        *self.verdict.lock().unwrap() = Some(verdict);
        Ok(ok)
    }
}
