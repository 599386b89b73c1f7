//! Requests through a channel of an SSH connection, and that connection's death.

use std::sync::{Arc, Mutex};

use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session as Serving, VerifiedPublicKey};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio_util::sync::CancellationToken;

use super::pki::{Authority, VERSIONS};
use super::server::{Act, TestServer, say};
use super::{Collect, LONG, get, until, whole};
use crate::session::http::{BodyEnd, HttpError, send};
use crate::session::server_tests::connect;
use crate::session::{FailureKind, Session};

/// Forwards to this machine, except to port 1; its connections can be ended from outside.
#[derive(Clone, Default)]
struct Forwards {
    connection: Arc<Mutex<Option<Handle>>>,
}

impl Forwards {
    async fn die(&self) {
        let connection = self.connection.lock().unwrap().clone().unwrap();
        connection.disconnect(Disconnect::ByApplication, "good night".into(), String::new()).await.unwrap();
    }
}

impl Handler for Forwards {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Serving,
    ) -> Result<(), russh::Error> {
        *self.connection.lock().unwrap() = Some(session.handle());
        if port == 1 {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        reply.accept().await;
        let address = (host.to_owned(), u16::try_from(port).unwrap());
        tokio::spawn(async move {
            let mut near = channel.into_stream();
            let mut far = tokio::net::TcpStream::connect(address).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        Ok(())
    }
}

#[tokio::test]
async fn a_dead_link_is_told_from_a_server_that_closes() {
    let authority = Authority::new("kubernetes");
    let identity = authority.signs(&["worker-1"], |_| {});
    let acts = [
        ("/whole", vec![say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")]),
        ("/cut", vec![say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), Act::Drop]),
        ("/slow", vec![say("HTTP/1.1 200 OK\r\n\r\nhel"), Act::Hang]),
        ("/silent", vec![Act::Hang]),
    ];
    let encrypted = TestServer::start(Some(identity.server(VERSIONS[1], None)), &acts).await;
    let plain = TestServer::start(None, &acts).await;
    let never = CancellationToken::new();
    for server in [encrypted.tls(authority.trust(), &["worker-1"]), plain.plain()] {
        let ssh = Forwards::default();
        let session = Session::ssh(connect(ssh.clone()).await);
        assert_eq!(whole(send(&session, &server, &get("/whole"), &never).await.unwrap()).await, b"hello");
        let answer = send(&session, &server, &get("/cut"), &never).await.unwrap();
        assert_eq!(answer.drain(LONG, &mut Collect::default(), &never).await, BodyEnd::Cut);
        // Dropped early, and the connection goes on.
        drop(send(&session, &server, &get("/slow"), &never).await.unwrap());

        let mut forbidden = server.clone();
        forbidden.port = 1;
        let error = send(&session, &forbidden, &get("/"), &never).await.err().unwrap();
        assert!(matches!(&error, HttpError::Connect(e) if e.kind == FailureKind::ExecRefused), "{error:?}");

        let answer = send(&session, &server, &get("/slow"), &never).await.unwrap();
        let mut sink = Collect { cancel: Some(CancellationToken::new()), ..Collect::default() };
        let begun = sink.cancel.clone().unwrap();
        let (end, ()) = tokio::join!(answer.drain(LONG, &mut sink, &never), async {
            begun.cancelled().await;
            ssh.die().await;
        });
        assert_eq!((end, sink.bytes.as_slice()), (BodyEnd::LinkLost, &b"hel"[..]));

        let session = Session::ssh(connect(ssh.clone()).await);
        let before = (encrypted.asked().len(), plain.asked().len());
        let (silent, request) = (server.clone(), get("/silent"));
        let waiting = send(&session, &silent, &request, &never);
        let (error, ()) = tokio::join!(waiting, async {
            until("the request", || (encrypted.asked().len(), plain.asked().len()) != before).await;
            ssh.die().await;
        });
        let error = error.err().unwrap();
        assert!(matches!(&error, HttpError::Connect(e) if e.kind == FailureKind::LinkLost), "{error:?}");
        assert!(error.to_string().contains("good night"), "{error}");
    }
}
