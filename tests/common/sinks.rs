//! Sinks and shortcuts for tests of sessions.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use plegcollect::inventory::Target;
use plegcollect::session::{Connector, ConnectorOptions, ExecEnd, Session, SessionError, Sink, StdStream};
use tokio_util::sync::CancellationToken;

/// Longer than any test may take; a test that gets here fails on its assertions.
pub const LONG: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Collect {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl Sink for Collect {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        match stream {
            StdStream::Out => self.out.extend_from_slice(&chunk),
            StdStream::Err => self.err.extend_from_slice(&chunk),
        }
        async { ControlFlow::Continue(()) }.boxed()
    }
}

/// Breaks once it has seen that many bytes.
pub struct Enough(pub usize);

impl Sink for Enough {
    fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.0 = self.0.saturating_sub(chunk.len());
        let done = self.0 == 0;
        async move { if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}

/// Takes nothing before its gate is opened; tells of chunks as they come, and of bytes of
/// standard output taken.
pub struct Gated {
    pub came: Arc<tokio::sync::Semaphore>,
    pub gate: CancellationToken,
    pub bytes: Arc<AtomicUsize>,
}

impl Gated {
    /// Returns one whose gate is open, and what tells of chunks.
    pub fn open() -> (Self, Arc<tokio::sync::Semaphore>) {
        let came = Arc::new(tokio::sync::Semaphore::new(0));
        let gate = CancellationToken::new();
        gate.cancel();
        (Self { came: Arc::clone(&came), gate, bytes: Arc::default() }, came)
    }
}

impl Sink for Gated {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        async move {
            self.came.add_permits(1);
            self.gate.cancelled().await;
            match stream {
                StdStream::Out => {
                    self.bytes.fetch_add(chunk.len(), Ordering::SeqCst);
                }
                // Start-up files of the login shell may have something to say.
                StdStream::Err => eprintln!("standard error: {}", String::from_utf8_lossy(&chunk)),
            }
            ControlFlow::Continue(())
        }
        .boxed()
    }
}

pub fn connector() -> Arc<Connector> {
    Connector::new(ConnectorOptions { attempts: 1, ..ConnectorOptions::default() })
}

pub async fn connect(target: &Target) -> Session {
    connector().connect(target, &CancellationToken::new(), &mut |_, _, _| {}).await.unwrap()
}

pub async fn run(session: &Session, command: &str) -> Result<(ExecEnd, Collect), SessionError> {
    let mut sink = Collect::default();
    let end = session.exec(command, None, LONG, &mut sink, &CancellationToken::new()).await?;
    Ok((end, sink))
}

/// Runs forty at a time; `{i}` in the command is the number of each, which it must print.
pub async fn forty(session: &Session, command: &str) -> bool {
    let said = join_all((0..40).map(|i| {
        let command = command.replace("{i}", &i.to_string());
        async move { says(session, &command).await }
    }));
    said.await.iter().enumerate().all(|(i, said)| *said == format!("{i}\n"))
}

pub async fn says(session: &Session, command: &str) -> String {
    let (end, sink) = run(session, command).await.unwrap();
    assert!(end.complete, "{command}: {end:?}");
    String::from_utf8(sink.out).unwrap()
}
