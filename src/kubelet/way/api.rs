//! A request through the node proxy of an API server, with the API server's own credential.

use tokio::time::Instant;

use crate::kubelet::NodeProxy;
use crate::kubelet::delivery::Delivery;
use crate::kubelet::request::{Ask, Body, Reply, Trouble};
use crate::plan::Encoding;
use crate::printable::printable;
use crate::session::Stopped;
use crate::session::http::{BodyEnd, Method};

/// Makes one request for the kubelet of `node`, its name in the cluster.
///
/// # Errors
/// When the API server gave no answer.
///
/// # Cancel safety
/// May be dropped at any time; the request may have been sent.
pub(in crate::kubelet) async fn ask(
    proxy: &dyn NodeProxy,
    node: &str,
    ask: &Ask<'_>,
    delivery: &mut Delivery<'_>,
) -> Result<Reply, Trouble> {
    let begun = Instant::now();
    let answer = match ask.method {
        Method::Get => proxy.get(node, ask.path, ask.within, delivery, ask.cancel).await,
        Method::Put => proxy.put(node, ask.path, ask.body, ask.within).await,
    };
    let took = begun.elapsed();
    let answer = match answer {
        Ok(answer) => answer,
        Err(_) if ask.cancel.is_cancelled() => return Err(Trouble::Cancelled),
        Err(why) => return Err(Trouble::Broken(printable(&why, 400))),
    };
    let body = if answer.status != 200 || ask.method == Method::Put {
        Body::Kept(answer.body)
    } else {
        // An empty answer never came to the sink.
        let open = delivery.is_open() || delivery.open(Encoding::Plain).await;
        match (open, answer.whole) {
            (false, _) => Body::NotTaken,
            (true, _) if delivery.broke => Body::Passed(BodyEnd::Stopped(Stopped::Sink)),
            (true, true) => Body::Passed(BodyEnd::Whole),
            _ if ask.cancel.is_cancelled() => Body::Passed(BodyEnd::Stopped(Stopped::Cancelled)),
            _ if took >= ask.within => Body::Passed(BodyEnd::Stopped(Stopped::Deadline)),
            _ => Body::Passed(BodyEnd::Cut),
        }
    };
    Ok(Reply { status: answer.status, body, took, peer: None })
}
