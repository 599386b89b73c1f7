//! A request through the SSH connection: the channel ends at the kubelet's port, TLS in this program.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::KEPT;
use crate::kubelet::delivery::Delivery;
use crate::kubelet::request::{Ask, Body, Reply, Trouble};
use crate::kubelet::trust::KubeletJudge;
use crate::plan::Encoding;
use crate::session::http::{HttpError, Request, Server, send};
use crate::session::{FailureKind, Session, SessionError};

/// The body of a refusal is a line, sent together with its head.
const TEXT_WITHIN: Duration = Duration::from_secs(5);

/// Makes one request.
///
/// # Errors
/// When no head came.
///
/// # Cancel safety
/// May be dropped at any time; the request may have been sent.
pub(in crate::kubelet) async fn ask(
    session: &Session,
    server: &Server,
    judge: &KubeletJudge,
    ask: &Ask<'_>,
    delivery: &mut Delivery<'_>,
) -> Result<Reply, Trouble> {
    let begun = Instant::now();
    let request = Request {
        method: ask.method,
        path: ask.path,
        bearer: ask.bearer,
        gzip: ask.gzip,
        body: Bytes::copy_from_slice(ask.body.as_bytes()),
        head_within: ask.head_within,
    };
    let answer = send(session, server, &request, ask.cancel).await.map_err(|error| trouble(error, server, judge))?;
    let took = begun.elapsed();
    let (status, peer) = (answer.status, answer.peer.clone());
    let left = ask.within.saturating_sub(took);
    let body = if status != 200 {
        Body::Kept(answer.text(KEPT, left.clamp(Duration::from_millis(100), TEXT_WITHIN)).await)
    } else if delivery.open(if answer.gzip { Encoding::Gzip } else { Encoding::Plain }).await {
        Body::Passed(answer.drain(left, delivery, ask.cancel).await)
    } else {
        Body::NotTaken
    };
    Ok(Reply { status, body, took, peer })
}

fn trouble(error: HttpError, server: &Server, judge: &KubeletJudge) -> Trouble {
    match error {
        HttpError::Connect(error) => unconnected(&error, server),
        HttpError::Tls(failure) => Trouble::Closed(judge.refusal(&failure)),
        HttpError::NoAnswer { after, tls_done: true } => Trouble::Silent(after),
        HttpError::NoAnswer { after, tls_done: false } => Trouble::Frozen(after),
        HttpError::Broken(why) => Trouble::Broken(why),
    }
}

fn unconnected(error: &SessionError, server: &Server) -> Trouble {
    match error.kind {
        FailureKind::Cancelled => Trouble::Cancelled,
        FailureKind::LinkLost | FailureKind::Deadline => Trouble::Lost(error.text.clone()),
        FailureKind::ExecRefused => {
            Trouble::NoWay(format!("{} (AllowTcpForwarding, PermitOpen or DisableForwarding of its sshd)", error.text))
        }
        FailureKind::Refused => Trouble::Closed(refused(&server.host, server.port, server.tls.is_some())),
        FailureKind::ConnectTimeout => Trouble::Frozen(crate::kubelet::FIRST_CONTACT),
        _ => Trouble::Closed(format!("{}; [kubelet] address says where it listens", error.text)),
    }
}

/// Returns the sentence for a port that nothing listens at.
pub(in crate::kubelet) fn refused(host: &str, port: u16, api: bool) -> String {
    let at = crate::wording::safe(&crate::inventory::target::Endpoint { host: host.to_owned(), port }.to_string());
    if api {
        format!(
            "nothing listens at {at} on the node (connection refused): the kubelet is stopped, or it listens elsewhere, which \
             [kubelet] address and port of the inventory can say"
        )
    } else {
        format!(
            "nothing listens at {at} on the node (connection refused): the kubelet is stopped, or its health port is \
             elsewhere or switched off (healthzPort and healthzBindAddress of its configuration)"
        )
    }
}
