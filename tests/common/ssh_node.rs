//! An SSH node inside the test's own process: russh's server side on a loopback port, keys made at
//! test time. Runs what it is told with the local `/bin/sh`, or answers from a table, or does what
//! no honest server does. Needs no root, no sshd and no fleet.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plegcollect::plan::Catalog;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What a node does with a command.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Runs it.
    Run,
    /// Runs it with each text in it replaced by another; both must be plain words.
    Edit(Vec<(String, String)>),
    /// Cuts the connection as soon as the command has printed this many bytes, the 40 of our first
    /// record included.
    CutAfter(usize),
    /// Does not answer.
    Mute,
    /// Refuses it.
    Refuse,
    /// Says yes and closes the channel, without output and status.
    CloseEarly,
    /// Tells the exit status before the output.
    StatusFirst,
    /// Sends more after the end of output.
    GarbageAfterEof,
}

/// How a node behaves. A rule holds for commands with its word in them, so many times.
#[derive(Debug, Default)]
pub struct Manner {
    pub rules: Vec<(&'static str, usize, Deed)>,
    /// Session channels at most; 0: no limit.
    pub max_sessions: usize,
    pub refuse_login: bool,
    /// Answers probes from a table, in no time however loaded this machine is.
    pub quick: bool,
    /// Answers everything from a table, with so many bytes for a step; runs nothing.
    pub canned: Option<usize>,
}

/// What a node has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub logins: AtomicUsize,
    pub commands: AtomicUsize,
    pub connections: AtomicUsize,
    pub most_connections: AtomicUsize,
}

/// A node that listens until it is dropped.
pub struct Node {
    pub port: u16,
    pub seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

/// Keys of the operator and of the nodes, and the files that name them.
pub struct Lab {
    pub dir: tempfile::TempDir,
    host: PrivateKey,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Self { host: key(), dir };
        key().write_openssh_file(lab.path("id"), LineEnding::LF).unwrap();
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a node.
    pub async fn node(&self, manner: Manner) -> Node {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let uses = manner.rules.iter().map(|_| AtomicUsize::new(0)).collect();
        let facts = if manner.quick || manner.canned.is_some() { canned_facts() } else { String::new() };
        let shared = Arc::new(Shared { manner, uses, facts, seen: Arc::clone(&seen) });
        let config = Arc::new(russh::server::Config {
            keys: vec![self.host.clone()],
            auth_rejection_time: Duration::from_millis(10),
            inactivity_timeout: None,
            nodelay: true,
            ..Default::default()
        });
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, Arc::clone(&config), Arc::clone(&shared)));
            }
        });
        Node { port, seen, _task: AbortOnDropHandle::new(task) }
    }

    /// Writes known_hosts and an inventory of `(name, port)`, with more defaults and `rest` at its end.
    #[allow(clippy::disallowed_methods, reason = "a test's own directory")]
    pub fn inventory(&self, nodes: &[(String, u16)], defaults: &str, rest: &str) {
        let host_key = self.host.public_key().to_openssh().unwrap();
        let mut known = String::new();
        let mut text = format!(
            "[defaults]\nuser = \"root\"\nssh-config = false\nagent = false\nidentity-files = [{:?}]\n\
             known-hosts = [{:?}]\nsudo = \"never\"\n{defaults}",
            self.path("id"),
            self.path("known_hosts")
        );
        let mut ports: Vec<u16> = nodes.iter().map(|(_, port)| *port).collect();
        ports.dedup();
        for port in ports {
            writeln!(known, "[127.0.0.1]:{port} {host_key}").unwrap();
        }
        for (name, port) in nodes {
            writeln!(text, "[[node]]\nname = {name:?}\naddress = \"127.0.0.1\"\nport = {port}").unwrap();
        }
        std::fs::write(self.path("known_hosts"), known).unwrap();
        std::fs::write(self.path("inventory.toml"), text + rest).unwrap();
    }

    /// Returns a call of the program on all nodes of the inventory, with its output under `out`.
    pub fn plegcollect(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_plegcollect"));
        command
            .args(["--inventory", self.path("inventory.toml").to_str().unwrap(), "--nodes", "*", "--batch"])
            .args(["--out", self.path("out").to_str().unwrap()])
            .args(args)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("PLEGCOLLECT_INVENTORY")
            .env_remove("PLEGCOLLECT_OUT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Returns the directory of the only run.
    pub fn run_dir(&self) -> Option<PathBuf> {
        let mut dirs = std::fs::read_dir(self.path("out")).ok()?.map(|e| e.unwrap().path());
        let dir = dirs.next()?;
        assert!(dirs.next().is_none(), "more than one run");
        Some(dir)
    }
}

/// Returns a fresh key.
fn key() -> PrivateKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

struct Shared {
    manner: Manner,
    uses: Vec<AtomicUsize>,
    facts: String,
    seen: Arc<Seen>,
}

impl Shared {
    fn deed(&self, command: &str) -> Deed {
        for ((word, times, deed), uses) in self.manner.rules.iter().zip(&self.uses) {
            if command.contains(word) && uses.fetch_add(1, Ordering::SeqCst) < *times {
                return deed.clone();
            }
        }
        Deed::Run
    }
}

async fn serve(stream: tokio::net::TcpStream, config: Arc<russh::server::Config>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let cut = CancellationToken::new();
    let seen = Arc::clone(&shared.seen);
    let now = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_connections.fetch_max(now, Ordering::SeqCst);
    let handler = Connection { shared, cut: cut.clone(), channels: Channels::default() };
    // A stream that ends for both sides when it is cut, without a word of SSH.
    let (near, far) = tokio::io::duplex(1 << 16);
    let bridge = async move {
        let (mut near, mut stream) = (near, stream);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut stream) => {}
            () = cut.cancelled() => {}
        }
    };
    let session = async move {
        if let Ok(running) = russh::server::run_stream(config, far, handler).await {
            let _ = running.await;
        }
    };
    tokio::join!(bridge, session);
    seen.connections.fetch_sub(1, Ordering::SeqCst);
}

struct Connection {
    shared: Arc<Shared>,
    cut: CancellationToken,
    channels: Channels,
}

type Channels = Arc<Mutex<HashMap<ChannelId, Open>>>;

struct Open {
    halves: Option<(ChannelReadHalf, ChannelWriteHalf<Msg>)>,
    closed: CancellationToken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.channels.lock().unwrap().values().for_each(|open| open.closed.cancel());
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        if self.shared.manner.refuse_login {
            return Ok(Auth::reject());
        }
        self.shared.seen.logins.fetch_add(1, Ordering::SeqCst);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let most = self.shared.manner.max_sessions;
        let full = most > 0 && self.channels.lock().unwrap().len() >= most;
        if full {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        let id = channel.id();
        self.channels
            .lock()
            .unwrap()
            .insert(id, Open { halves: Some(channel.split()), closed: CancellationToken::new() });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(open) = self.channels.lock().unwrap().remove(&channel) {
            open.closed.cancel();
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let line = String::from_utf8_lossy(command).into_owned();
        self.shared.seen.commands.fetch_add(1, Ordering::SeqCst);
        let (shared, cut, channels) = (Arc::clone(&self.shared), self.cut.clone(), Arc::clone(&self.channels));
        let server = session.handle();
        let Some((halves, closed)) = channels
            .lock()
            .unwrap()
            .get_mut(&channel)
            .and_then(|open| Some((open.halves.take()?, open.closed.clone())))
        else {
            return Ok(());
        };
        tokio::spawn(async move {
            tokio::select! {
                () = answer(&shared, line, &server, halves, &cut) => {}
                () = closed.cancelled() => {}
                () = cut.cancelled() => {}
            }
            channels.lock().unwrap().remove(&channel);
        });
        Ok(())
    }
}

/// Deals with one command: the line, and what comes on its standard input.
async fn answer(
    shared: &Shared,
    mut line: String,
    server: &Handle,
    (mut read, write): (ChannelReadHalf, ChannelWriteHalf<Msg>),
    cut: &CancellationToken,
) {
    let mut bytes = Vec::new();
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => bytes.extend_from_slice(&data),
            ChannelMsg::Eof => break,
            _ => {}
        }
    }
    let mut input = String::from_utf8(bytes).unwrap();
    let deed = shared.deed(&format!("{line}\n{input}"));
    match &deed {
        // Until the other side gives up.
        Deed::Mute => return std::future::pending().await,
        Deed::Refuse => {
            let _ = server.channel_failure(write.id()).await;
            return std::future::pending().await;
        }
        Deed::Edit(edits) => {
            for (from, to) in edits {
                assert!(line.contains(from) || input.contains(from), "{from} is not in the command");
                (line, input) = (line.replace(from, to), input.replace(from, to));
            }
        }
        _ => {}
    }
    let _ = server.channel_success(write.id()).await;
    let probe = is_shell_probe(&input) || is_facts_probe(&input);
    let done = match shared.manner.canned {
        Some(size) => canned(&write, &input, &shared.facts, size).await,
        None if shared.manner.quick && probe => canned(&write, &input, &shared.facts, 0).await,
        None => run(&write, &line, &input, &deed, cut).await,
    };
    drop(done);
}

/// Kills what is left of a command when it goes.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn run(
    write: &ChannelWriteHalf<Msg>,
    line: &str,
    input: &str,
    deed: &Deed,
    cut: &CancellationToken,
) -> Result<(), russh::Error> {
    if matches!(deed, Deed::CloseEarly) {
        return write.close().await;
    }
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())));
    let mut stdin = child.stdin.take().unwrap();
    // Less than a pipe holds: nobody has to read it meanwhile.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    if matches!(deed, Deed::StatusFirst) {
        let (mut all, mut complaints) = (Vec::new(), Vec::new());
        let _ = tokio::join!(out.read_to_end(&mut all), err.read_to_end(&mut complaints));
        let status = child.wait().await.unwrap().code().unwrap_or(255);
        group.0 = None;
        write.exit_status(u32::try_from(status).unwrap()).await?;
        write.extended_data_bytes(1, complaints).await?;
        write.data_bytes(all).await?;
        write.eof().await?;
        return write.close().await;
    }
    let stdout = async {
        let mut total = 0;
        let mut buffer = vec![0; 32 << 10];
        loop {
            // No byte beyond the cut, however much a loaded machine has ready by then.
            let room = if let Deed::CutAfter(most) = deed { most.saturating_sub(total).max(1) } else { buffer.len() };
            let n = out.read(&mut buffer[..room]).await.unwrap_or(0);
            if n == 0 {
                return;
            }
            total += n;
            if write.data_bytes(buffer[..n].to_vec()).await.is_err() {
                return;
            }
            if matches!(deed, Deed::CutAfter(most) if total >= *most) {
                // What was sent has a moment to get through.
                tokio::time::sleep(Duration::from_millis(200)).await;
                cut.cancel();
            }
        }
    };
    let stderr = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let n = err.read(&mut buffer).await.unwrap_or(0);
            if n == 0 || write.extended_data_bytes(1, buffer[..n].to_vec()).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(stdout, stderr);
    let status = child.wait().await.unwrap();
    group.0 = None;
    write.eof().await?;
    if matches!(deed, Deed::GarbageAfterEof) {
        write.data_bytes(vec![b'g'; 100_000]).await?;
        write.extended_data_bytes(1, vec![b'g'; 100_000]).await?;
        write.extended_data_bytes(7, vec![b'g'; 100]).await?;
        write.exit_status(99).await?;
    }
    write.exit_status(u32::try_from(status.code().unwrap_or(255)).unwrap()).await?;
    write.close().await
}

fn is_shell_probe(command: &str) -> bool {
    command.contains("/proc/self/status")
}

fn is_facts_probe(command: &str) -> bool {
    command.contains("plegcollect-probe")
}

/// Answers like the wrapper would, in no time.
async fn canned(write: &ChannelWriteHalf<Msg>, command: &str, facts: &str, size: usize) -> Result<(), russh::Error> {
    let after = |key: &str, len: usize| {
        let from = command.find(key).map(|at| at + key.len()).unwrap();
        &command[from..from + len]
    };
    let nonce = format!("{}{}", after("na=", 21), after("nb=", 16));
    write.data_bytes(format!("{nonce} b\n")).await?;
    write.extended_data_bytes(1, format!("{nonce} b 1\n")).await?;
    if is_shell_probe(command) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let tools = "timeout /usr/bin/timeout\nnice /usr/bin/nice\n";
        let text = format!("clock {}.{:09}\nuid 0\n{tools}", now.as_secs(), now.subsec_nanos());
        write.data_bytes(text).await?;
    } else if is_facts_probe(command) {
        write.data_bytes(facts.to_owned()).await?;
    } else {
        let line = b"a line of evidence as any other, with a number in it: 1234567890\n";
        let block: Vec<u8> = line.iter().copied().cycle().take(32_500).collect();
        let mut left = size;
        while left > 0 {
            let n = left.min(block.len());
            write.data_bytes(block[..n].to_vec()).await?;
            left -= n;
        }
    }
    write.extended_data_bytes(1, format!("{nonce} e 0 100.00 100.01\n")).await?;
    write.exit_status(0).await?;
    write.eof().await?;
    write.close().await
}

/// A node that has everything the catalog knows.
fn canned_facts() -> String {
    let catalog = Catalog::builtin();
    let mut text = String::from(
        "plegcollect-probe 1\nhostname canned\nkernel 6.1.0\ninit systemd\nboot-id b\nuptime 100.5\nuid 0\ncpus 4\n\
         mem-total 16000000\nmem-available 8000000\n",
    );
    for tool in catalog.tools() {
        writeln!(text, "tool {tool} /usr/bin/{tool}").unwrap();
    }
    for file in catalog.probed_files() {
        writeln!(text, "file 1 {file}").unwrap();
    }
    text + "journal 1\nmachine x86_64\nticks 100\nmark tools\nshims 3\nmark processes\nend 1\n"
}

/// Returns what a file of a bundle holds.
pub fn cat(bundle: &Path, file: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let bundle = plegcollect::bundle::Bundle::open(bundle).unwrap();
    assert!(bundle.cat(file, &mut out).unwrap(), "{file} is not in the bundle");
    out
}
