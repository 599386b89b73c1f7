//! Opens channels, one task per connection: a caller that gives up loses nothing, because the
//! opening goes on here and a channel nobody waits for any more is closed. Also finds the text
//! that belongs to a refusal, which russh hands to the handler without saying whose it is.

use std::pin::Pin;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::{mpsc, oneshot};
use tokio::task::unconstrained;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::client_handler::ClientHandler;
use super::link::Link;
use super::slots::Slot;

/// Requests that wait for the opener; it only forwards them, so a few are plenty.
const QUEUE: usize = 16;

/// What to open.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// A session channel, for one exec.
    Session,
    /// direct-tcpip.
    Tcp { host: String, port: u16 },
    /// direct-streamlocal.
    Unix { path: String },
}

/// Why a channel was not opened. The slot comes back where one was given along.
pub(crate) enum NotOpened {
    /// The server refused, with its code and text.
    Refused { reason: ChannelOpenFailure, text: String, slot: Option<Slot> },
    /// The link is gone.
    LinkLost,
}

/// A channel and the slot it occupies.
pub(crate) struct Opened {
    pub(crate) channel: Channel<Msg>,
    pub(crate) slot: Option<Slot>,
}

struct Request {
    wanted: Wanted,
    slot: Option<Slot>,
    reply: oneshot::Sender<Result<Opened, NotOpened>>,
}

/// The task that opens channels; ends with this value.
pub(crate) struct Opener {
    requests: mpsc::Sender<Request>,
    _task: AbortOnDropHandle<()>,
}

impl Opener {
    pub(crate) fn start(handle: Arc<Handle<ClientHandler>>, link: Arc<Link>, tasks: &TaskTracker) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let task = tasks.spawn(run(handle, link, tasks.clone(), queue));
        Self { requests, _task: AbortOnDropHandle::new(task) }
    }

    /// Opens a channel; not bounded in time.
    ///
    /// # Cancel safety
    /// May be dropped at any time: the channel is closed once it is open, and its slot comes
    /// back then.
    pub(crate) async fn open(&self, wanted: Wanted, slot: Option<Slot>) -> Result<Opened, NotOpened> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request { wanted, slot, reply }).await.is_err() {
            return Err(NotOpened::LinkLost);
        }
        answer.await.unwrap_or(Err(NotOpened::LinkLost))
    }
}

type Outcome = (Result<Channel<Msg>, russh::Error>, Option<Slot>, oneshot::Sender<Result<Opened, NotOpened>>);

/// Runs all opens of a connection in this one task. That is what makes the texts of refusals
/// certain: russh wakes the openers in the order of the server's refusals and calls the handler in
/// the same order; `FuturesUnordered` yields in the order of the wakes (`unconstrained` keeps
/// tokio's budget from putting one back in the queue).
async fn run(
    handle: Arc<Handle<ClientHandler>>,
    link: Arc<Link>,
    tasks: TaskTracker,
    mut queue: mpsc::Receiver<Request>,
) {
    let mut opening: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = queue.recv() => {
                let Some(Request { wanted, slot, reply }) = request else { return };
                let handle = Arc::clone(&handle);
                opening.push(Box::pin(unconstrained(async move {
                    (open(&handle, wanted).await, slot, reply)
                })));
            }
            Some((result, slot, reply)) = opening.next() => match result {
                Ok(channel) => {
                    if let Err(Ok(unwanted)) = reply.send(Ok(Opened { channel, slot })) {
                        tasks.spawn(close(unwanted, Arc::clone(&link)));
                    }
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    let text = link.take_refusal().await;
                    let _ = reply.send(Err(NotOpened::Refused { reason, text, slot }));
                }
                Err(_) => {
                    let _ = reply.send(Err(NotOpened::LinkLost));
                }
            }
        }
    }
}

fn open(handle: &Handle<ClientHandler>, wanted: Wanted) -> BoxFuture<'_, Result<Channel<Msg>, russh::Error>> {
    match wanted {
        Wanted::Session => handle.channel_open_session().boxed(),
        // The originator is ours to state; servers log it and nothing more.
        Wanted::Tcp { host, port } => handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).boxed(),
        Wanted::Unix { path } => handle.channel_open_direct_streamlocal(path).boxed(),
    }
}

/// Closes a channel nobody waits for; its slot is free once the server can know.
async fn close(opened: Opened, link: Arc<Link>) {
    tokio::select! {
        _ = opened.channel.close() => {}
        () = link.dead() => {}
    }
    drop(opened.slot);
}
