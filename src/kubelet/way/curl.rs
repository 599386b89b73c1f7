//! A request by curl on the node, where its SSH server forbids forwarding. The certificates are fetched first, without a
//! credential, and judged here; the request itself then takes exactly that key. The token goes through pipes only.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::curl_output::CurlOutput;
use super::forward::refused;
use crate::inventory::target::Endpoint;
use crate::kubelet::FIRST_CONTACT;
use crate::kubelet::delivery::Delivery;
use crate::kubelet::request::{Ask, Body, Reply, Trouble};
use crate::kubelet::trust::KubeletJudge;
use crate::plan::facts::ShellFacts;
use crate::plan::{Bounds, Encoding, KubeletPort, What};
use crate::printable::printable_bytes;
use crate::session::command::{self, CommandEnd, CommandExit, CommandSpec};
use crate::session::http::{BodyEnd, Method, Spki};
use crate::session::{FailureKind, Session, SessionError, Sink, StdStream, Stopped};

const CHAIN: &str = include_str!("chain.sh");
const FETCH: &str = include_str!("fetch.sh");
/// The first that knows a pinned key by its hash (`--pinnedpubkey sha256//`), which is also the first that matters here.
const OLDEST: (u32, u32) = (7, 44);
/// Certificates and curl's version are some kilobytes.
const SHOWN: usize = 256 * 1024;
/// Certificates of one server.
const CHAIN_MOST: usize = 16;
/// curl ends by itself at its bound; the wrapper on the node a little later.
const SLACK: Duration = Duration::from_secs(2);

/// Where curl runs, and what it asks.
#[derive(Clone, Copy)]
pub(in crate::kubelet) struct Curl<'a> {
    pub(in crate::kubelet) session: &'a Session,
    pub(in crate::kubelet) shell: &'a ShellFacts,
    pub(in crate::kubelet) at: &'a Endpoint,
}

impl Curl<'_> {
    /// Returns the certificates the kubelet shows, the first one its own. No credential takes part.
    ///
    /// # Errors
    /// When curl cannot be used, or nothing shows certificates there.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the node ends the command by itself.
    pub(in crate::kubelet) async fn chain(
        &self,
        cancel: &CancellationToken,
    ) -> Result<Vec<CertificateDer<'static>>, Trouble> {
        let url = format!("https://{}/healthz", self.at);
        let what = What::Script { text: CHAIN.to_owned(), args: vec![url, self.at.to_string()] };
        let mut shown = Shown::default();
        // curl may take its whole time before openssl is asked.
        let end = self.run(&what, None, FIRST_CONTACT * 2, &mut shown, cancel).await?;
        let said = printable_bytes(&shown.err, 300).trim().to_owned();
        if let Some(version) = version(&shown.out).filter(|version| *version < OLDEST) {
            return Err(Trouble::NoWay(format!(
                "curl {}.{} on the node is too old, 7.44 is needed",
                version.0, version.1
            )));
        }
        let chain = certificates(&shown.out);
        match end.exit {
            _ if !chain.is_empty() => Ok(chain),
            CommandExit::Code(0) => Err(Trouble::NoWay(
                "neither curl (7.88 is needed) nor openssl on the node shows the kubelet's certificate".to_owned(),
            )),
            CommandExit::TimedOut | CommandExit::Code(28) => Err(Trouble::Frozen(FIRST_CONTACT)),
            CommandExit::Code(code) => Err(self.failure(code, &said, KubeletPort::Api, FIRST_CONTACT)),
            other => Err(self.stopped(&other, cancel)),
        }
    }

    /// Makes one request. `key`: what the certificate must have, for HTTPS.
    ///
    /// # Errors
    /// When no head came.
    ///
    /// # Cancel safety
    /// May be dropped at any time: the node ends curl by itself at its bound. The request may have been sent.
    pub(in crate::kubelet) async fn ask(
        &self,
        ask: &Ask<'_>,
        key: Option<Spki>,
        judge: &KubeletJudge,
        delivery: &mut Delivery<'_>,
    ) -> Result<Reply, Trouble> {
        let what = What::Script { text: FETCH.to_owned(), args: self.words(ask, key) };
        let input = input(ask.bearer).map_err(Trouble::Closed)?;
        let mut output = CurlOutput::new(delivery);
        let came = Arc::clone(&output.came);
        let stop = ask.cancel.child_token();
        let mut silent = false;
        let end = {
            let mut run = pin!(self.run(&what, Some(&input), ask.within, &mut output, &stop));
            let mut late = pin!(tokio::time::sleep(ask.head_within));
            let mut waiting = true;
            loop {
                tokio::select! {
                    end = &mut run => break end,
                    () = &mut late, if waiting => {
                        waiting = false;
                        silent = !came.load(Ordering::Relaxed);
                        if silent {
                            stop.cancel();
                        }
                    }
                }
            }
        }?;
        let said = output.said();
        let Some((status, took)) = output.answer else {
            return Err(match end.exit {
                _ if output.odd => Trouble::Broken("what came is not HTTP".to_owned()),
                CommandExit::Code(90) => Trouble::Closed(judge.mismatch("not the one it showed a moment ago")),
                CommandExit::Code(code) => self.failure(code, &said, ask.port, ask.head_within.min(ask.within)),
                CommandExit::TimedOut => Trouble::Silent(ask.within),
                _ if silent => Trouble::Silent(ask.head_within),
                other => self.stopped(&other, ask.cancel),
            });
        };
        let body = if output.not_taken {
            Body::NotTaken
        } else if status == 200 {
            Body::Passed(ended(&end))
        } else {
            Body::Kept(output.kept)
        };
        Ok(Reply { status, body, took, peer: None })
    }

    /// Returns curl's arguments; none of them is secret. A curl that does not know one of them says so and does nothing,
    /// while it would pass over an unknown line of its configuration with a warning.
    fn words(&self, ask: &Ask<'_>, key: Option<Spki>) -> Vec<String> {
        let scheme = if ask.port == KubeletPort::Api { "https" } else { "http" };
        let seconds = |d: Duration| (d.as_secs() + u64::from(d.subsec_nanos() > 0)).max(1).to_string();
        let mut words: Vec<String> = ["-q", "-sS", "-i", "-N", "--http1.1", "--globoff", "--noproxy", "*", "--proto"]
            .map(str::to_owned)
            .to_vec();
        words.push(format!("={scheme}"));
        let connect = FIRST_CONTACT.min(ask.within);
        words.extend(["--connect-timeout".to_owned(), seconds(connect), "--max-time".to_owned(), seconds(ask.within)]);
        if let Some(key) = key {
            words.extend(["--insecure".to_owned(), "--pinnedpubkey".to_owned()]);
            words.push(format!("sha256//{}", STANDARD.encode(key.0)));
        }
        if ask.gzip {
            words.extend(["-H", "Accept-Encoding: gzip"].map(str::to_owned));
        }
        if ask.method == Method::Put {
            words.extend(["-X", "PUT", "--data-binary"].map(str::to_owned));
            words.push(ask.body.to_owned());
        }
        words.extend(["-K".to_owned(), "-".to_owned(), format!("{scheme}://{}{}", self.at, ask.path)]);
        words
    }

    async fn run(
        &self,
        what: &What,
        input: Option<&SecretString>,
        within: Duration,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> Result<CommandEnd, Trouble> {
        let bounds = Bounds { timeout: within + SLACK, grace: SLACK, max_bytes: u64::MAX };
        let spec = CommandSpec {
            what,
            privileged: false,
            bounds: &bounds,
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
            shell: self.shell,
            password: None,
            input,
        };
        command::run(self.session, &spec, sink, cancel).await.map_err(|error: SessionError| match error.kind {
            FailureKind::Cancelled => Trouble::Cancelled,
            FailureKind::LinkLost | FailureKind::Deadline => Trouble::Lost(error.text),
            _ => Trouble::NoWay(error.text),
        })
    }

    /// Returns what an exit status of the scripts means that comes before a head (curl's own: EXIT CODES of curl(1)).
    fn failure(&self, code: i32, said: &str, port: KubeletPort, waited: Duration) -> Trouble {
        match code {
            97 | 126 | 127 => Trouble::NoWay("there is no curl on the node".to_owned()),
            96 => Trouble::NoWay(
                "the node's /bin/sh has no printf of its own, and another would show the token to everybody there"
                    .to_owned(),
            ),
            1 | 2 | 4 | 48 => Trouble::NoWay(format!("curl on the node is too old: {said}")),
            7 => Trouble::Closed(refused(&self.at.host, self.at.port, port == KubeletPort::Api)),
            28 if said.contains("onnection tim") => Trouble::Frozen(FIRST_CONTACT),
            28 => Trouble::Silent(waited),
            35 => Trouble::Closed(format!("no TLS with the kubelet: {said}; does something else listen at that port?")),
            52 | 56 => Trouble::Broken("the connection was closed before an answer came".to_owned()),
            _ => Trouble::Broken(if said.is_empty() { format!("curl ended with {code}") } else { said.to_owned() }),
        }
    }

    fn stopped(&self, exit: &CommandExit, cancel: &CancellationToken) -> Trouble {
        match exit {
            _ if cancel.is_cancelled() => Trouble::Cancelled,
            CommandExit::Signal(name) => Trouble::Broken(format!("curl was ended by signal {name}")),
            CommandExit::NotStarted(words) => Trouble::NoWay(words.clone()),
            _ => Trouble::Lost("the SSH connection was lost while curl ran".to_owned()),
        }
    }
}

/// Returns how the body of a 200 ended.
fn ended(end: &CommandEnd) -> BodyEnd {
    match &end.exit {
        CommandExit::Code(0) if end.complete => BodyEnd::Whole,
        CommandExit::Code(0) => BodyEnd::LinkLost,
        CommandExit::Code(28) | CommandExit::TimedOut => BodyEnd::Stopped(Stopped::Deadline),
        CommandExit::Code(_) | CommandExit::Signal(_) | CommandExit::NotStarted(_) => BodyEnd::Cut,
        CommandExit::Stopped(why) => BodyEnd::Stopped(*why),
        CommandExit::Unknown => BodyEnd::LinkLost,
    }
}

/// Returns the line that becomes curl's configuration, escaped for `printf %b`; empty without a token.
///
/// # Errors
/// If the token holds what no token can have.
pub(in crate::kubelet) fn input(bearer: Option<&SecretString>) -> Result<SecretString, String> {
    let Some(token) = bearer else { return Ok(SecretString::from(String::new())) };
    let token = token.expose_secret();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "the token is empty or holds a character that no token can have (a space, a line break or the like)"
                .to_owned(),
        );
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    // Of its size from the start: a growing string would leave copies of the token behind.
    let mut line = String::with_capacity(64 + token.len() * 10);
    line.push_str("header = \\0042Authorization: Bearer ");
    for byte in token.bytes() {
        if plain(byte) {
            line.push(char::from(byte));
            continue;
        }
        if matches!(byte, b'"' | b'\\') {
            // For curl, which reads it between quotes.
            line.push_str("\\0134");
        }
        line.push_str("\\0");
        for shift in [6, 3, 0] {
            line.push(char::from(b'0' + (byte >> shift & 7)));
        }
    }
    line.push_str("\\0042\\n");
    Ok(sealed(line))
}

/// Moves a secret into memory of its exact size, and wipes where it was.
fn sealed(line: String) -> SecretString {
    let line = zeroize::Zeroizing::new(line);
    SecretString::from(Box::<str>::from(line.as_str()))
}

/// Returns curl's version from the first line of `curl --version`.
pub(in crate::kubelet) fn version(out: &[u8]) -> Option<(u32, u32)> {
    let text = out.strip_prefix(b"curl ")?;
    let text = std::str::from_utf8(text.get(..32).unwrap_or(text)).ok()?;
    let mut numbers = text.split(['.', ' ', '-']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns the certificates in a text that holds more than that.
fn certificates(out: &[u8]) -> Vec<CertificateDer<'static>> {
    let text = String::from_utf8_lossy(out);
    let parts = text.split("-----BEGIN CERTIFICATE-----").skip(1).take(CHAIN_MOST);
    let bodies = parts.filter_map(|part| part.split_once("-----END CERTIFICATE-----"));
    bodies
        .filter_map(|(body, _)| {
            let packed: String = body.chars().filter(|c| !c.is_whitespace()).collect();
            STANDARD.decode(packed).ok().map(CertificateDer::from)
        })
        .collect()
}

/// Keeps the beginning of both streams.
#[derive(Default)]
pub(in crate::kubelet) struct Shown {
    pub(in crate::kubelet) out: Vec<u8>,
    pub(in crate::kubelet) err: Vec<u8>,
}

impl Sink for Shown {
    fn write<'a>(
        &'a mut self,
        stream: StdStream,
        chunk: bytes::Bytes,
    ) -> futures::future::BoxFuture<'a, std::ops::ControlFlow<()>> {
        let kept = if stream == StdStream::Out { &mut self.out } else { &mut self.err };
        let room = SHOWN.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
        Box::pin(std::future::ready(std::ops::ControlFlow::Continue(())))
    }
}
