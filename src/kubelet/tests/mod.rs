//! Kubelets in this process that go wrong, asked through this machine as a node.

mod answers;
mod curl;
mod refusals;
mod ways;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio_rustls::rustls::version::TLS13;
use tokio_util::sync::CancellationToken;

use super::test_support::{facts_with, target};
use super::*;
use crate::credential::{CredentialError, TokenSource};
use crate::session::http::tests::pki::{Authority, Identity};
use crate::session::http::tests::server::{Act, TestServer, say};
use crate::session::http::tests::until;
use crate::session::{Connector, ConnectorOptions, StdStream};

const NODE: &str = "worker-001";
const TOKEN: &str = "eyJhbGciOi.first-token.c2lnbmF0dXJl";
const OTHER: &str = "eyJhbGciOi.other-token.c2lnbmF0dXJl";

/// Gives one token after the other.
struct Tokens(Mutex<VecDeque<&'static str>>);

impl TokenSource for Tokens {
    fn token(&self, _: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        let next = self.0.lock().unwrap().pop_front();
        async move { Ok(next.map(SecretString::from)) }.boxed()
    }
    fn renewable(&self) -> bool {
        true
    }
}

fn tokens(all: &[&'static str]) -> Credential {
    let source = Tokens(Mutex::new(all.iter().copied().collect()));
    Credential::new("token from a test", Some(Box::new(source)), None, Arc::new(|_| {}))
}

/// Returns a credential that has given its first token long enough ago to be asked for another.
async fn aged(all: &[&'static str]) -> Credential {
    let credential = tokens(all);
    credential.bearer().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    credential
}

fn access(port: u16) -> KubeletAccess {
    KubeletAccess { credential: Some(tokens(&[TOKEN])), port: Some(port), ..KubeletAccess::none() }
}

fn kubelet(access: &KubeletAccess) -> Kubelet {
    Kubelet::new(access, &target(NODE, None), &facts_with(&["kubelet"]))
}

async fn here() -> Session {
    let connector = Connector::new(ConnectorOptions::default());
    connector.connect(&target(NODE, None), &CancellationToken::new(), &mut |_, _, _| {}).await.unwrap()
}

/// Keeps an answer, up to a limit.
#[derive(Default)]
struct Kept {
    encoding: Option<Encoding>,
    bytes: Vec<u8>,
    limit: Option<usize>,
    began: usize,
}

impl Receiver for Kept {
    fn begin(&mut self, encoding: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
        self.encoding = Some(encoding);
        self.began += 1;
        async move { Some(self as &mut dyn Sink) }.boxed()
    }
}

impl Sink for Kept {
    fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.bytes.extend_from_slice(&chunk);
        let full = self.limit.is_some_and(|limit| self.bytes.len() >= limit);
        async move { if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}

fn api(path: &str, seconds: u64) -> KubeletGet {
    let bounds = Bounds { timeout: Duration::from_secs(seconds), grace: Duration::ZERO, max_bytes: u64::MAX };
    KubeletGet { port: KubeletPort::Api, path: path.to_owned(), bounds, gzip: false }
}

async fn ask(kubelet: &Kubelet, path: &str) -> (GetEnd, Kept) {
    let mut kept = Kept::default();
    let end = kubelet.get(&here().await, &api(path, 10), &mut kept, &CancellationToken::new()).await;
    assert!(!format!("{end:?}").contains("-token."), "{end:?}");
    (end, kept)
}

fn detail(end: &GetEnd) -> &str {
    end.detail.as_deref().unwrap_or_default()
}

fn answer(status: &str, body: &str) -> Vec<Act> {
    vec![say(&format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))]
}

/// A kubelet that lets one token in, and has one certificate of its own.
async fn serve(identity: &Identity, token: &'static str, paths: &[(&'static str, Vec<Act>)]) -> TestServer {
    let paths: Vec<(&'static str, Vec<Act>)> = paths.to_vec();
    TestServer::start_with(0, Some(identity.server(&TLS13, None)), move |request| {
        let head = request.to_ascii_lowercase();
        if !head.contains(&format!("authorization: bearer {}\r\n", token.to_ascii_lowercase())) {
            return answer("401 Unauthorized", "Unauthorized");
        }
        let path = request.split(' ').nth(1).unwrap();
        let found = paths.iter().find(|(known, _)| *known == path).map(|(_, acts)| acts.clone());
        found.unwrap_or_else(|| answer("404 Not Found", "404 page not found\n"))
    })
    .await
}

fn own() -> Identity {
    Identity::own(&["kubelet"], |_| {})
}

fn with_token(server: &TestServer) -> Vec<String> {
    server.asked().into_iter().filter(|r| r.to_ascii_lowercase().contains("authorization")).collect()
}
