//! What a process of this machine prints where a token is expected: bounded, in memory that is wiped, and not waited for longer
//! than the process itself. Starts nothing; used for token commands and for exec plug-ins.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use crate::session::process_group::ProcessGroup;

/// After the process has ended: what it left running may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Kept of its standard error: the end, where the reason usually is.
const COMPLAINTS: usize = 2 << 10;

/// How it ended, and what it had printed by then.
pub(crate) struct Printed {
    pub(crate) status: ExitStatus,
    /// The beginning of its standard output.
    pub(crate) output: Zeroizing<Vec<u8>>,
    /// The end of its standard error.
    pub(crate) complaints: Zeroizing<Vec<u8>>,
}

/// Waits for the process, both of whose outputs are pipes, and keeps `most` bytes of the first.
///
/// # Errors
/// It cannot be waited for.
///
/// # Cancel safety
/// Dropped early, what it printed is lost; the process goes on.
pub(crate) async fn printed(group: &mut ProcessGroup, most: usize) -> std::io::Result<Printed> {
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    // All at once: a buffer that grows leaves copies behind.
    let mut output = Zeroizing::new(Vec::with_capacity(most));
    let mut complaints = Zeroizing::new(Vec::with_capacity(COMPLAINTS * 2));
    let status = {
        let reading = async {
            tokio::join!(head(stdout, most, &mut output), tail(stderr, &mut complaints));
        };
        let mut reading = std::pin::pin!(reading);
        let mut whole = false;
        let status = loop {
            tokio::select! {
                () = &mut reading, if !whole => whole = true,
                status = group.child.wait() => break status?,
            }
        };
        if !whole {
            let _held_open = tokio::time::timeout(LAST_WORDS, &mut reading).await;
        }
        status
    };
    Ok(Printed { status, output, complaints })
}

/// Reads into `into` what it has room for, and the rest to nowhere.
async fn head(from: Option<impl AsyncRead + Unpin>, most: usize, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = Zeroizing::new([0_u8; 4096]);
    while let Ok(n @ 1..) = from.read(chunk.as_mut_slice()).await {
        let room = most.saturating_sub(into.len()).min(n);
        into.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

/// Reads all, and keeps the end.
async fn tail(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = Zeroizing::new([0_u8; 1024]);
    while let Ok(n @ 1..) = from.read(chunk.as_mut_slice()).await {
        into.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let surplus = into.len().saturating_sub(COMPLAINTS);
        into.drain(..surplus);
    }
}
