//! Commands run on this machine through real login shells, as they would run behind sshd.

mod bounds;
mod shells;
mod sudo;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::session::StdStream;
use crate::session::local::LocalSession;

/// Keeps everything, up to a limit.
#[derive(Default)]
struct Kept {
    out: Vec<u8>,
    err: Vec<u8>,
    limit: Option<usize>,
}

impl Sink for Kept {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        match stream {
            StdStream::Out => self.out.extend_from_slice(&chunk),
            StdStream::Err => self.err.extend_from_slice(&chunk),
        }
        let full = self.limit.is_some_and(|limit| self.out.len() >= limit);
        async move { if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}

impl Kept {
    fn text(&self) -> (String, String) {
        (String::from_utf8_lossy(&self.out).into_owned(), String::from_utf8_lossy(&self.err).into_owned())
    }
}

/// Facts of a node with coreutils, as the probe would find them here.
fn full() -> ShellFacts {
    let find = |name: &str| {
        let path = format!("/usr/bin/{name}");
        Path::new(&path).exists().then_some(path)
    };
    ShellFacts {
        timeout: Some(find("timeout").expect("coreutils timeout in /usr/bin")),
        nice: find("nice"),
        ionice: None,
        zstd: find("zstd"),
        zstd_options: Vec::new(),
        gzip: find("gzip"),
        sudo: None,
        rights: Rights::None,
    }
}

fn script(text: &str) -> What {
    What::Script { text: text.to_owned(), args: Vec::new() }
}

fn argv(words: &[&str]) -> What {
    What::Argv(words.iter().map(|w| (*w).to_owned()).collect())
}

fn bounds(timeout_ms: u64, grace_ms: u64) -> Bounds {
    Bounds { timeout: Duration::from_millis(timeout_ms), grace: Duration::from_millis(grace_ms), max_bytes: u64::MAX }
}

fn spec<'a>(what: &'a What, bounds: &'a Bounds, shell: &'a ShellFacts) -> CommandSpec<'a> {
    CommandSpec {
        what,
        privileged: false,
        bounds,
        encoding: Encoding::Plain,
        stacks_on_timeout: false,
        shell,
        password: None,
        input: None,
    }
}

/// Runs to the end and returns everything.
async fn go(session: &LocalSession, spec: &CommandSpec<'_>) -> (CommandEnd, Kept) {
    let mut kept = Kept::default();
    let end = run(session, spec, &mut kept, &CancellationToken::new()).await.unwrap();
    (end, kept)
}

/// Runs where it is not to work, or with a sink of its own.
async fn attempt(session: &LocalSession, spec: &CommandSpec<'_>, kept: &mut Kept) -> Result<CommandEnd, SessionError> {
    run(session, spec, kept, &CancellationToken::new()).await
}

/// Returns the processes whose command line or environment holds `tag`.
fn tagged(tag: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == std::process::id().to_string() {
            continue;
        }
        let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if cmdline.contains(tag) || String::from_utf8_lossy(&environ).contains(tag) {
            found.push(format!("{name}: {cmdline}"));
        }
    }
    found
}

/// Waits until nothing with `tag` is left.
async fn gone(tag: &str, within: Duration) {
    let end = tokio::time::Instant::now() + within;
    loop {
        let left = tagged(tag);
        if left.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "still there: {left:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns a word that no other test uses.
fn unique(name: &str) -> String {
    let mut bytes = [0_u8; 6];
    getrandom::fill(&mut bytes).unwrap();
    format!("{name}-{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
}
