//! What comes back from the wrapper: output passed on, records kept, and made out of them, of exit
//! status and clock, how the command ended.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::compose::{Escalation, Frame};
use super::framing::{Framer, Piece};
use super::{CommandEnd, CommandExit};
use crate::plan::step::Encoding;
use crate::printable::printable_bytes;
use crate::session::{ExecEnd, FailureKind, SessionError, Sink, StdStream, Stopped};

/// Login shells of overloaded nodes take seconds; one that has not run our first line by then is
/// called stalled, and that is evidence.
pub(super) const START_BUDGET: Duration = Duration::from_secs(10);
/// After the command's end and this long without a byte, output is held open by something that
/// the command left behind.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Stacks kept.
const HUNG_MAX: usize = 64 * 1024;
/// Unkillable processes listed.
const UNKILLABLE_MAX: usize = 64;
/// Resolution of /proc/uptime, twice (both ends are rounded down), and a little.
const CLOCK_SLACK: Duration = Duration::from_millis(30);

/// Why we stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// The wrapper never began.
    Start,
    /// The command has ended, and somebody holds its output open.
    End,
}

/// What the sink tells the timer.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Milliseconds after the begin at which the channel was open; `u64::MAX` until then.
    opened_ms: AtomicU64,
    started: AtomicBool,
    ended: AtomicBool,
    /// Milliseconds after the begin at which the last byte came, or was stored at last.
    last_ms: AtomicU64,
    /// The sink has a chunk in hand: silence is then our own disk's.
    storing: AtomicBool,
}

impl Pulse {
    pub(super) const fn new() -> Self {
        Self {
            opened_ms: AtomicU64::new(u64::MAX),
            started: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            last_ms: AtomicU64::new(0),
            storing: AtomicBool::new(false),
        }
    }

    pub(super) fn overdue(&self, begun: Instant) -> Option<Late> {
        if !self.started.load(Ordering::Relaxed) {
            let opened = Duration::from_millis(self.opened_ms.load(Ordering::Relaxed));
            (begun.elapsed().saturating_sub(opened) >= START_BUDGET).then_some(Late::Start)
        } else if self.ended.load(Ordering::Relaxed) && !self.storing.load(Ordering::Relaxed) {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            (begun.elapsed() >= last + LINGER).then_some(Late::End)
        } else {
            None
        }
    }
}

/// The last words of the wrapper.
#[derive(Debug, Clone, Copy)]
struct Trailer {
    /// Exit status; `None`: given up, processes are left.
    status: Option<i32>,
    took: Option<Duration>,
}

/// Passes a command's output on and keeps the records.
pub(super) struct Framed<'a> {
    sink: &'a mut dyn Sink,
    out: Framer,
    err: Framer,
    begun: Instant,
    pulse: Arc<Pulse>,
    trailer: Option<Trailer>,
    packer: Option<i32>,
    hung: Vec<u8>,
    unkillable: Vec<u32>,
    first_byte: Option<Duration>,
    out_bytes: bool,
    err_head: Vec<u8>,
}

impl Sink for Framed<'_> {
    fn opened(&mut self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.pulse.opened_ms.store(now, Ordering::Relaxed);
    }

    fn write<'s>(&'s mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'s, ControlFlow<()>> {
        async move {
            self.pulse.storing.store(true, Ordering::Relaxed);
            let mut pieces = Vec::new();
            match stream {
                StdStream::Out => self.out.push(chunk, &mut pieces),
                StdStream::Err => self.err.push(chunk, &mut pieces),
            }
            if self.out.started() || self.err.started() {
                self.pulse.started.store(true, Ordering::Relaxed);
            }
            let flow = self.take(stream, pieces).await;
            let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.pulse.last_ms.store(now, Ordering::Relaxed);
            self.pulse.storing.store(false, Ordering::Relaxed);
            flow
        }
        .boxed()
    }
}

impl<'a> Framed<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink, token: &str, begun: Instant, pulse: Arc<Pulse>) -> Self {
        Self {
            sink,
            out: Framer::new(token, false),
            err: Framer::new(token, true),
            begun,
            pulse,
            trailer: None,
            packer: None,
            hung: Vec::new(),
            unkillable: Vec::new(),
            first_byte: None,
            out_bytes: false,
            err_head: Vec::new(),
        }
    }

    async fn take(&mut self, stream: StdStream, pieces: Vec<Piece>) -> ControlFlow<()> {
        for piece in pieces {
            match piece {
                Piece::Record(record) => self.note(&record),
                Piece::Data(data) => {
                    self.first_byte.get_or_insert(self.begun.elapsed());
                    match stream {
                        StdStream::Out => self.out_bytes = true,
                        StdStream::Err => {
                            let room = 512_usize.saturating_sub(self.err_head.len());
                            self.err_head.extend(data.iter().take(room));
                        }
                    }
                    self.sink.write(stream, data).await?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Gives up what was held back. The sink's verdict no longer matters.
    pub(super) async fn finish(&mut self) {
        for stream in [StdStream::Out, StdStream::Err] {
            let mut pieces = Vec::new();
            match stream {
                StdStream::Out => self.out.finish(&mut pieces),
                StdStream::Err => self.err.finish(&mut pieces),
            }
            let _ended_anyway = self.take(stream, pieces).await;
        }
    }

    fn note(&mut self, record: &[u8]) {
        if let Some(line) = record.strip_prefix(b" h ") {
            if self.hung.len() + line.len() < HUNG_MAX {
                self.hung.extend_from_slice(line);
                self.hung.push(b'\n');
            }
            return;
        }
        let text = String::from_utf8_lossy(record);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["e", status, from, to] => {
                self.trailer = Some(Trailer { status: status.parse().ok(), took: between(from, to) });
                self.pulse.ended.store(true, Ordering::Relaxed);
            }
            ["z", status] => self.packer = status.parse().ok(),
            ["d", pid] if self.unkillable.len() < UNKILLABLE_MAX => self.unkillable.extend(pid.parse::<u32>()),
            _ => {}
        }
    }

    pub(super) fn conclude(
        self,
        frame: &Frame<'_>,
        end: &ExecEnd,
        late: Option<Late>,
        cancelled: bool,
    ) -> Result<CommandEnd, SessionError> {
        if !self.out.started() && !self.err.started() {
            if late == Some(Late::Start) {
                return Err(self.never_began(FailureKind::ExecStalled, "logged in, but commands do not start"));
            }
            if end.complete && end.stopped.is_none() {
                let status = end.status.map_or_else(|| "no status".to_owned(), |s| format!("exit status {s}"));
                let text = format!("the login shell did not run the command ({status})");
                return Err(self.never_began(FailureKind::ExecRefused, &text));
            }
        }
        let exit = self.exit(frame, end, late, cancelled);
        let packed = frame.packs();
        let arrived = match late {
            None => end.complete && end.stopped.is_none(),
            // Plain output had come to rest; packed output lacks its end. Where the server has not even told the
            // exit status, it is the link that rests, with who knows what still on its way.
            Some(_) => !packed && end.status.is_some(),
        };
        Ok(CommandEnd {
            complete: arrived && self.trailer.is_some() && (!packed || self.packer == Some(0)),
            encoding: if packed { frame.encoding } else { Encoding::Plain },
            hung: (exit == CommandExit::TimedOut && !self.hung.is_empty()).then_some(self.hung),
            unkillable: self.unkillable,
            took: self.trailer.and_then(|t| t.took).unwrap_or(end.took),
            first_byte: self.first_byte,
            as_root: false,
            exit,
        })
    }

    fn never_began(&self, kind: FailureKind, text: &str) -> SessionError {
        let noise = [self.out.noise(), self.err.noise()].concat();
        let said = printable_bytes(&noise, 1024);
        let said = said.trim();
        let text = if said.is_empty() { text.to_owned() } else { format!("{text}; the login shell said: {said}") };
        SessionError::new(kind, text)
            .with_hint("log in with ssh and look at the start-up files of the login shell (they must not read standard input) and at free memory and pids")
    }

    fn exit(&self, frame: &Frame<'_>, end: &ExecEnd, late: Option<Late>, cancelled: bool) -> CommandExit {
        let Some(trailer) = self.trailer else {
            return match end.stopped {
                Some(Stopped::Cancelled) if !cancelled && late.is_some() => CommandExit::Unknown,
                Some(why) => CommandExit::Stopped(why),
                // The outer timeout has killed a wrapper that could not write.
                None if end.complete && end.took >= frame.timeout => CommandExit::TimedOut,
                None => CommandExit::Unknown,
            };
        };
        let Some(status) = trailer.status else { return CommandExit::TimedOut };
        // timeout(1) says 124, or 137 if it took a KILL; so may a command of its own accord, but then
        // the bound has not passed.
        let full = trailer.took.is_some_and(|took| took + CLOCK_SLACK >= frame.timeout);
        if full && matches!(status, 124 | 137) {
            return CommandExit::TimedOut;
        }
        if let Some(words) = self.refused(frame, status) {
            return CommandExit::NotStarted(words);
        }
        signal_name(status.saturating_sub(128))
            .map_or(CommandExit::Code(status), |name| CommandExit::Signal(name.to_owned()))
    }

    /// sudo leaves with 1 and a complaint of its own when it runs nothing.
    fn refused(&self, frame: &Frame<'_>, status: i32) -> Option<String> {
        let words = String::from_utf8_lossy(&self.err_head);
        let complaint = words.starts_with("sudo: ") || words.starts_with("Sorry, ") || words.contains("\nsudo: ");
        (frame.escalation != Escalation::No && status == 1 && !self.out_bytes && complaint)
            .then(|| printable_bytes(&self.err_head, 512).trim().to_owned())
    }
}

/// Returns the time between two readings of /proc/uptime.
fn between(from: &str, to: &str) -> Option<Duration> {
    let from: f64 = from.parse().ok()?;
    let to: f64 = to.parse().ok()?;
    Duration::try_from_secs_f64(to - from).ok()
}

/// Returns the name of a signal, without `SIG`.
pub(crate) const fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}
