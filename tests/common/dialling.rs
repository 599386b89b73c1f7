//! Ways to connect in tests, and servers that are no sshd.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use plegcollect::inventory::target::{Hop, Proxy};
use plegcollect::session::{Connector, ConnectorOptions, Session, SessionError};
use tokio_util::sync::CancellationToken;

use super::real_sshd::{Sshd, target};

pub fn connector(attempts: u32) -> Arc<Connector> {
    let max_backoff = Duration::from_millis(10);
    Connector::new(ConnectorOptions { attempts, max_backoff, ..ConnectorOptions::default() })
}

pub async fn through(connector: &Connector, hop: Hop, proxy: Proxy) -> Result<Session, SessionError> {
    connector.connect(&target(hop, proxy), &CancellationToken::new(), &mut |_, _, _| {}).await
}

pub async fn connect(hop: Hop, proxy: Proxy) -> Result<Session, SessionError> {
    through(&connector(1), hop, proxy).await
}

pub async fn failure(hop: Hop, proxy: Proxy) -> SessionError {
    connect(hop, proxy).await.unwrap_err()
}

/// A hop to `port` of this machine that gives up after a second.
pub fn to_port(sshd: &Sshd, port: u16) -> Hop {
    let mut hop = sshd.hop();
    hop.endpoint.port = port;
    hop.connect_timeout = Duration::from_secs(1);
    hop
}

/// Answers each connection with `words`, then does what `then` says; ends with the program.
pub fn server(words: &'static [u8], then: fn(&mut TcpStream)) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(words);
                then(&mut stream);
            });
        }
    });
    port
}

pub fn wait_for_end(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Ends its own side after the client's first words, and takes all that still comes: closing with bytes unread would be a
/// reset.
pub fn close(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1 << 16]);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Closes with a reset, as a firewall does, once the client has said something: sooner, its connect may see the reset.
pub fn reset(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1 << 16]);
    socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
}
