//! Tests against a server of our own making, for what sshd never does: leave an exec request
//! unanswered, refuse it, open channels towards us, say good-bye with words.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, future::join_all};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session as Server, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::auth::KeyRing;
use super::connect::Keep;
use super::handshake::{Handshake, Role};
use super::host_key::HostKeyJudge;
use super::ssh::{OPEN_BUDGET, SshSession};
use super::{ConnectionFacts, FailureKind, SessionError, Sink, StdStream, Timings};
use crate::inventory::target::{AddressFamily, Credentials, Endpoint, Hop, HostKeyMode, HostKeyPolicy};

/// Does what the command says.
#[derive(Clone, Default)]
struct Odd {
    /// Outcomes of the channels it tried to open towards us.
    towards_us: Arc<Mutex<Vec<bool>>>,
    /// Channels neither side has closed.
    open: Arc<Mutex<HashSet<ChannelId>>>,
    /// Answers no request to open a channel.
    mute: bool,
}

impl Handler for Odd {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Server,
    ) -> Result<(), russh::Error> {
        if self.mute {
            std::mem::forget(reply);
            return Ok(());
        }
        self.open.lock().unwrap().insert(channel.id());
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Server,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Server) -> Result<(), russh::Error> {
        self.open.lock().unwrap().remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Server,
    ) -> Result<(), russh::Error> {
        match command {
            b"hang" => {}
            b"refuse" => session.channel_failure(channel)?,
            b"bye" => session.disconnect(Disconnect::ByApplication, "closing \x1b[2Jfor the night", "")?,
            b"intrude" => {
                session.channel_success(channel)?;
                let (handle, outcomes) = (session.handle(), Arc::clone(&self.towards_us));
                tokio::spawn(async move {
                    let all = [
                        handle.channel_open_agent().await,
                        handle.channel_open_session().await,
                        handle.channel_open_direct_tcpip("h", 1, "o", 2).await,
                        handle.channel_open_direct_streamlocal("/s").await,
                        handle.channel_open_forwarded_tcpip("h", 1, "o", 2).await,
                        handle.channel_open_forwarded_streamlocal("/s").await,
                        handle.channel_open_x11("o", 1).await,
                    ];
                    *outcomes.lock().unwrap() = all.iter().map(Result::is_ok).collect();
                    let _ = handle.exit_status_request(channel, 0).await;
                    let _ = handle.close(channel).await;
                });
            }
            _ => {
                // No success message: some servers send the output first.
                session.data(channel, Bytes::copy_from_slice(command))?;
                session.exit_status_request(channel, 300)?;
                session.close(channel)?;
                self.open.lock().unwrap().remove(&channel);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Collect(Vec<u8>);

impl Sink for Collect {
    fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.0.extend_from_slice(&chunk);
        async { ControlFlow::Continue(()) }.boxed()
    }
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// Connects to `server` through memory.
pub(super) async fn connect(server: impl Handler<Error = russh::Error> + Send + 'static) -> SshSession {
    let dir = tempfile::tempdir().unwrap();
    let (known, identity) = (dir.path().join("known_hosts"), dir.path().join("id"));
    let host_key = key(1).public_key().to_openssh().unwrap();
    std::io::Write::write_all(
        &mut std::fs::File::create(&known).unwrap(),
        format!("[odd]:2222 {host_key}\n").as_bytes(),
    )
    .unwrap();
    key(2).write_openssh_file(&identity, LineEnding::LF).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let config = Arc::new(russh::server::Config { keys: vec![key(1)], ..Default::default() });
    let running = russh::server::run_stream(config, far, server);
    let hop = Hop {
        endpoint: Endpoint { host: "odd".into(), port: 2222 },
        user: "root".into(),
        credentials: Credentials {
            identity_files: vec![identity],
            certificate_files: Vec::new(),
            identities_only: true,
            agent_socket: None,
        },
        host_key: HostKeyPolicy {
            mode: HostKeyMode::Strict,
            known_hosts: vec![known],
            alias: None,
            pinned: Vec::new(),
        },
        connect_timeout: Duration::from_secs(20),
        auth_timeout: Duration::from_secs(20),
        keepalive_interval: Duration::ZERO,
        keepalive_max: 3,
        address_family: AddressFamily::Any,
        bind_address: None,
        compression: false,
    };
    let (judge, keys) = (Arc::new(HostKeyJudge::new()), KeyRing::new(true, None));
    let handshake = Handshake {
        hop: &hop,
        role: Role { behind_jump: false, carries: false },
        judge: &judge,
        keys: &keys,
        slots: 8,
        deadline: Instant::now() + hop.connect_timeout,
        facts: ConnectionFacts::default(),
    };
    let mut timings = Timings::default();
    let (session, running) = tokio::join!(handshake.run(near, Keep::Nothing, &mut timings), running);
    drop(running.unwrap());
    session.unwrap()
}

async fn run(session: &SshSession, command: &str) -> Result<(super::ExecEnd, Vec<u8>), SessionError> {
    let (mut sink, never) = (Collect::default(), CancellationToken::new());
    let end = session.exec(command, None, Duration::from_secs(600), &mut sink, &never).await?;
    Ok((end, sink.0))
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_exec_request_is_stalled_and_its_channel_closed() {
    let server = Odd::default();
    let session = connect(server.clone()).await;
    let started = Instant::now();
    let errors = join_all((0..8).map(|_| run(&session, "hang"))).await;
    assert!(errors.iter().all(|e| e.as_ref().is_err_and(|e| e.kind == FailureKind::ExecStalled)));
    assert!(started.elapsed() < OPEN_BUDGET * 2, "all at once, not one after the other");
    assert_eq!(run(&session, "echo").await.unwrap().1, b"echo");
    assert!(server.open.lock().unwrap().is_empty(), "closed on the server");
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_open_is_stalled() {
    let session = connect(Odd { mute: true, ..Odd::default() }).await;
    let started = Instant::now();
    let errors = join_all((0..8).map(|_| run(&session, "echo"))).await;
    assert!(errors.iter().all(|e| e.as_ref().is_err_and(|e| e.kind == FailureKind::ExecStalled)));
    assert!(started.elapsed() < OPEN_BUDGET * 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_exec_request_is_told_and_its_channel_closed() {
    let server = Odd::default();
    let session = connect(server.clone()).await;
    let error = run(&session, "refuse").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::ExecRefused, "{error}");
    assert_eq!(session.slots(), 8, "that is no refusal of a channel");
    assert_eq!(run(&session, "echo").await.unwrap().1, b"echo");
    assert!(server.open.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn output_counts_as_an_answer() {
    let session = connect(Odd::default()).await;
    let (end, out) = run(&session, "whatever").await.unwrap();
    assert_eq!((end.status, end.complete, out.as_slice()), (Some(300), true, &b"whatever"[..]));
}

#[tokio::test(start_paused = true)]
async fn channels_towards_us_are_all_rejected() {
    let server = Odd::default();
    let session = connect(server.clone()).await;
    assert!(run(&session, "intrude").await.unwrap().0.complete);
    assert_eq!(*server.towards_us.lock().unwrap(), [false; 7]);
}

#[tokio::test(start_paused = true)]
async fn a_servers_good_bye_is_quoted_without_its_control_characters() {
    let session = connect(Odd::default()).await;
    let error = run(&session, "bye").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::LinkLost, "nothing of the command ran");
    assert_eq!(error.text, "odd:2222 ended the connection: closing for the night");
    assert_eq!(session.cause_of_death().unwrap().text, error.text);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_for_a_slot_says_so() {
    let session = connect(Odd::default()).await;
    let (cancel, never) = (CancellationToken::new(), CancellationToken::new());
    let mut sinks: Vec<_> = (0..8).map(|_| Collect::default()).collect();
    let long = Duration::from_secs(600);
    let hanging = join_all(sinks.iter_mut().map(|s| session.exec("hang", None, long, s, &never)));
    let mut sink = Collect::default();
    let waiting = session.exec("echo", None, long, &mut sink, &cancel);
    let canceller = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    };
    let (_, error, ()) = tokio::join!(hanging, waiting, canceller);
    assert_eq!(error.unwrap_err().kind, FailureKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_has_its_text() {
    let session = connect(Odd::default()).await;
    let deadline = Instant::now() + OPEN_BUDGET;
    let errors = join_all((0..20).map(|i| session.open_tcp("there", i, deadline))).await;
    for (i, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_err();
        assert_eq!(error.kind, FailureKind::Refused, "{error}");
        assert!(error.text.starts_with(&format!("odd:2222 could not connect to there:{i}: ")), "{error}");
    }
}
