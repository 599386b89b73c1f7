//! Requests against servers in this process, one row for each way a server can go wrong.

mod bodies;
mod deaf;
mod heads;
pub(crate) mod pki;
pub(crate) mod server;
mod ssh;
mod trust;

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::{Answer, HttpError, Method, Request, Server, send};
use crate::session::{Session, Sink, StdStream};

/// Long enough for a machine under load; never waited for by a test that passes.
const LONG: Duration = Duration::from_secs(60);
const TOKEN: &str = "eyJhbGciOi.not-a-real-token.c2lnbmF0dXJl";

fn get(path: &str) -> Request<'_> {
    Request { method: Method::Get, path, bearer: None, gzip: false, body: Bytes::new(), head_within: LONG }
}

async fn ask(server: &Server, request: &Request<'_>) -> Result<Answer, HttpError> {
    send(&Session::local(), server, request, &CancellationToken::new()).await
}

/// Returns the failure of a request with a token, which is not to be seen in it.
async fn failure(server: &Server, path: &str) -> HttpError {
    let token = SecretString::from(TOKEN);
    let error = ask(server, &Request { bearer: Some(&token), ..get(path) }).await.err().expect("an answer came");
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
    error
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"));
}

async fn whole(answer: Answer) -> Vec<u8> {
    let mut sink = Collect::default();
    let end = answer.drain(LONG, &mut sink, &CancellationToken::new()).await;
    assert_eq!(end, super::BodyEnd::Whole);
    sink.bytes
}

/// Keeps what comes, up to a limit; after a number of bytes it cancels.
#[derive(Default)]
struct Collect {
    bytes: Vec<u8>,
    /// Breaks from here on.
    most: Option<usize>,
    /// Cancelled once something came.
    cancel: Option<CancellationToken>,
}

impl Sink for Collect {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        assert_eq!(stream, StdStream::Out);
        assert!(!chunk.is_empty());
        self.bytes.extend_from_slice(&chunk);
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
        let enough = self.most.is_some_and(|most| self.bytes.len() >= most);
        async move { if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}
