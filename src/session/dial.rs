//! TCP from here to a server: name lookup, then all its addresses within one budget, a slow one
//! not holding up the next. Classifies what goes wrong. Called by `connect.rs`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{FailureKind, SessionError, Timings};
use crate::inventory::target::{AddressFamily, Endpoint, Hop};

/// Head start of an address over the next one (RFC 8305 says 250 ms; links to sick nodes are slow
/// and a second connection to the same sshd costs it one of its MaxStartups).
const HEAD_START: Duration = Duration::from_millis(500);

/// Connects to the endpoint of `hop` by `deadline`; notes times as it goes.
///
/// # Cancel safety
/// May be dropped at any time; a name lookup under way ends in its own thread.
pub(crate) async fn dial(hop: &Hop, deadline: Instant, timings: &mut Timings) -> Result<TcpStream, SessionError> {
    let addresses = resolve(hop, deadline, timings).await?;
    let started = Instant::now();
    let bind = local_address(hop)?;
    let result = race(&addresses, bind, deadline).await;
    timings.tcp_ms = Some(millis(started.elapsed()));
    let stream = result.map_err(|failures| refused(&hop.endpoint, &failures, hop.connect_timeout))?;
    tune(&stream, hop);
    Ok(stream)
}

/// Returns the time `span` after `from`; a span nobody can live to see becomes thirty years.
pub(crate) fn later(from: Instant, span: Duration) -> Instant {
    from.checked_add(span).unwrap_or_else(|| from + Duration::from_secs(86_400 * 365 * 30))
}

/// Returns whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Silence after which a link counts as dead, from the keepalives: russh gives up when keepalive
/// n + 1 is due, but does not notice while a write is stuck; this is a little later.
pub(crate) fn silence(hop: &Hop) -> Duration {
    keepalive(hop).saturating_mul(hop.keepalive_max.max(1).saturating_add(1)).saturating_add(Duration::from_secs(10))
}

/// Interval of keepalives. None at all would hang for ever on a frozen peer, so 0 means 15 s.
pub(crate) fn keepalive(hop: &Hop) -> Duration {
    if hop.keepalive_interval.is_zero() { Duration::from_secs(15) } else { hop.keepalive_interval }
}

async fn resolve(hop: &Hop, deadline: Instant, timings: &mut Timings) -> Result<Vec<SocketAddr>, SessionError> {
    let Endpoint { host, port } = &hop.endpoint;
    let mut addresses = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(ip, *port)]
    } else {
        let started = Instant::now();
        let answer = timeout_at(deadline, lookup_host((host.as_str(), *port))).await;
        timings.dns_ms = Some(millis(started.elapsed()));
        match answer {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(e)) => return Err(SessionError::new(FailureKind::Dns, format!("{host} does not resolve: {e}"))),
            Err(_) => {
                let text = format!("the lookup of {host} got no answer within {} s", hop.connect_timeout.as_secs());
                return Err(SessionError::new(FailureKind::Dns, text));
            }
        }
    };
    let family = match hop.address_family {
        AddressFamily::Any => "",
        AddressFamily::Inet => "IPv4 ",
        AddressFamily::Inet6 => "IPv6 ",
    };
    addresses.retain(|a| match hop.address_family {
        AddressFamily::Any => true,
        AddressFamily::Inet => a.is_ipv4(),
        AddressFamily::Inet6 => a.is_ipv6(),
    });
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|a| seen.insert(*a));
    if addresses.is_empty() {
        return Err(SessionError::new(FailureKind::Dns, format!("{host} has no {family}address")));
    }
    Ok(addresses)
}

fn local_address(hop: &Hop) -> Result<Option<IpAddr>, SessionError> {
    let Some(text) = &hop.bind_address else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        SessionError::new(FailureKind::LocalFile, format!("bind address {text:?} of {} is no IP address", hop.endpoint))
    })
}

/// Tries all addresses, each a head start after the one before or when that one failed.
async fn race(
    addresses: &[SocketAddr],
    bind: Option<IpAddr>,
    deadline: Instant,
) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = addresses.iter().copied();
    let mut trying = FuturesUnordered::new();
    let mut failures = Vec::new();
    let mut unanswered: Vec<SocketAddr> = Vec::new();
    let mut next = Instant::now();
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            biased;
            Some((address, result)) = trying.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(e) => {
                    unanswered.retain(|a| *a != address);
                    failures.push((address, e));
                    next = Instant::now();
                }
            },
            () = sleep_until(deadline) => break,
            () = sleep_until(next), if more => {
                if let Some(address) = waiting.next() {
                    unanswered.push(address);
                    trying.push(async move { (address, connect(address, bind).await) });
                }
                next = Instant::now() + HEAD_START;
            }
        }
        if trying.is_empty() && waiting.len() == 0 {
            break;
        }
    }
    failures.extend(unanswered.into_iter().map(|a| (a, io::ErrorKind::TimedOut.into())));
    Err(failures)
}

async fn connect(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(address).await
}

/// Sets what keeps the connection prompt and mortal; it works without, so failures are ignored.
fn tune(stream: &TcpStream, hop: &Hop) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        // The kernel's own limit would be some 15 minutes for data nobody acknowledges.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(silence(hop)));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = hop;
}

fn class(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FailureKind::Reset,
        // A firewall that answers "administratively prohibited" arrives as EACCES or EHOSTUNREACH.
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::PermissionDenied => FailureKind::Unreachable,
        io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
        _ => FailureKind::Other,
    }
}

/// Returns the failure that tells most: an address that answered at all outweighs silence.
fn refused(endpoint: &Endpoint, failures: &[(SocketAddr, io::Error)], budget: Duration) -> SessionError {
    let weight = |kind| match kind {
        FailureKind::Refused => 0,
        FailureKind::Reset => 1,
        FailureKind::Unreachable => 2,
        FailureKind::ConnectTimeout => 3,
        _ => 4,
    };
    let Some((address, error)) = failures.iter().min_by_key(|(_, e)| weight(class(e))) else {
        // Only if the budget was spent before the first address could be tried.
        let text = format!("{endpoint}: no time was left to connect ({} s)", budget.as_secs());
        return SessionError::new(FailureKind::ConnectTimeout, text);
    };
    let shown = if endpoint.host == address.ip().to_string() {
        endpoint.to_string()
    } else {
        format!("{endpoint} ({})", address.ip())
    };
    let others = match failures.len() {
        0 | 1 => String::new(),
        n => format!("; {} other address(es) failed too", n - 1),
    };
    let kind = class(error);
    let text = match kind {
        FailureKind::Refused => format!("{shown} refused the connection{others}"),
        FailureKind::ConnectTimeout => format!("{shown} did not answer within {} s{others}", budget.as_secs()),
        FailureKind::Reset => format!("{shown} reset the connection{others}"),
        _ => format!("{shown} cannot be reached: {error}{others}"),
    };
    SessionError::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 22))
    }

    #[test]
    fn the_most_telling_failure_is_reported() {
        let endpoint = Endpoint { host: "node".into(), port: 22 };
        let failures = [
            (address(1), io::ErrorKind::TimedOut.into()),
            (address(2), io::ErrorKind::ConnectionRefused.into()),
            (address(3), io::ErrorKind::HostUnreachable.into()),
        ];
        let error = refused(&endpoint, &failures, Duration::from_secs(10));
        assert_eq!(error.kind, FailureKind::Refused);
        assert_eq!(error.text, "node:22 (10.0.0.2) refused the connection; 2 other address(es) failed too");
        let error = refused(&endpoint, &failures[..1], Duration::from_secs(10));
        assert_eq!(error.kind, FailureKind::ConnectTimeout);
        assert_eq!(error.text, "node:22 (10.0.0.1) did not answer within 10 s");
    }

    #[test]
    fn an_address_is_not_told_twice() {
        let endpoint = Endpoint { host: "10.0.0.1".into(), port: 22 };
        let error = refused(&endpoint, &[(address(1), io::ErrorKind::ConnectionRefused.into())], Duration::ZERO);
        assert_eq!(error.text, "10.0.0.1:22 refused the connection");
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = closed.local_addr().unwrap();
        drop(closed);
        let stream = race(&[dead, live], None, Instant::now() + Duration::from_secs(10)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let failures = race(&[dead], None, Instant::now() + Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(class(&failures[0].1), FailureKind::Refused);
    }
}
