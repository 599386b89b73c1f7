//! An outlet: a thread that writes to a terminal, a pipe or a file, behind a bounded queue. Whoever
//! feeds it never waits: a stopped terminal, a paused pager, a closed pipe or a full disk costs
//! display lines, not the run. Used by every display and for `run.log`.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Bytes that may wait for a slow reader; the lines of some ten thousand events.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Time without a single byte written after which a stuck reader is given up at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the chunk that tells how many were left out.
pub(crate) type LossNotice = fn(u64) -> Vec<u8>;

pub(crate) struct Outlet {
    shared: Arc<Shared>,
    notice: Option<LossNotice>,
    done: Option<oneshot::Receiver<()>>,
}

/// What became of the output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OutletEnd {
    /// The error that ended writing, if one did.
    pub(crate) error: Option<String>,
    /// Chunks that were not written.
    pub(crate) lost: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    /// Bytes in `queue` and in the chunk being written.
    waiting: usize,
    /// Bytes written so far: tells slow from stuck.
    written: u64,
    closed: bool,
    error: Option<String>,
    /// Left out since the last notice, and in all.
    gap: u64,
    lost: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    /// Starts the thread that writes to `to`. If no thread can be had, everything is discarded.
    pub(crate) fn new(name: &str, to: impl Write + Send + 'static, notice: Option<LossNotice>) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (tx, rx) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            write_all(&theirs, to);
            let _ = tx.send(());
        });
        if let Err(e) = started {
            shared.lock().error = Some(e.to_string());
        }
        Self { shared, notice, done: Some(rx) }
    }

    /// Queues a chunk, whole or not at all. Never waits.
    pub(crate) fn push(&self, chunk: Vec<u8>) {
        let mut s = self.shared.lock();
        if s.error.is_some() || s.closed || s.waiting.saturating_add(chunk.len()) > QUEUE_BYTES {
            s.gap += 1;
            s.lost += 1;
            return;
        }
        let gap = std::mem::take(&mut s.gap);
        if let (1.., Some(notice)) = (gap, self.notice) {
            let text = notice(gap);
            s.waiting += text.len();
            s.queue.push_back(text);
        }
        s.waiting += chunk.len();
        s.queue.push_back(chunk);
        drop(s);
        self.shared.changed.notify_all();
    }

    /// Returns whether everything queued has been written (or nothing ever will be).
    pub(crate) fn is_idle(&self) -> bool {
        let s = self.shared.lock();
        s.waiting == 0 || s.error.is_some()
    }

    /// Waits, blocking the thread, until all is written or `limit` has passed; for `Drop` only.
    pub(crate) fn wait_idle(&self, limit: Duration) {
        let s = self.shared.lock();
        drop(self.shared.changed.wait_timeout_while(s, limit, |s| s.waiting > 0 && s.error.is_none()));
    }

    /// Takes no more, and waits until the rest is written, for as long as bytes keep moving.
    pub(crate) async fn finish(mut self) -> OutletEnd {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(mut done) = self.done.take() {
            let mut before = None;
            while tokio::time::timeout(PATIENCE, &mut done).await.is_err() {
                let now = Some(self.shared.lock().written);
                if now == before {
                    break;
                }
                before = now;
            }
        }
        let s = self.shared.lock();
        let stuck = s.waiting > 0 && s.error.is_none();
        OutletEnd {
            error: s.error.clone().or_else(|| stuck.then(|| "the reader takes no more".to_owned())),
            lost: s.lost + u64::try_from(s.queue.len()).unwrap_or(u64::MAX),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

fn write_all(shared: &Shared, mut to: impl Write) {
    loop {
        let mut s = shared.lock();
        let chunk = loop {
            if let Some(chunk) = s.queue.pop_front() {
                break chunk;
            }
            if s.closed {
                return;
            }
            s = shared.changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        };
        drop(s);
        let result = to.write_all(&chunk).and_then(|()| to.flush());
        let mut s = shared.lock();
        s.waiting = s.waiting.saturating_sub(chunk.len());
        match result {
            Ok(()) => s.written += u64::try_from(chunk.len()).unwrap_or(u64::MAX),
            Err(e) => {
                // A terminal or pipe that failed once is not tried again.
                s.error = Some(e.to_string());
                s.lost += 1 + u64::try_from(s.queue.len()).unwrap_or(u64::MAX);
                s.queue.clear();
                s.waiting = 0;
            }
        }
        let over = s.error.is_some();
        drop(s);
        shared.changed.notify_all();
        if over {
            return;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    /// A writer whose bytes can be looked at.
    #[derive(Clone, Default)]
    pub(crate) struct Shelf(Arc<Mutex<Vec<u8>>>);

    impl Shelf {
        pub(crate) fn take(&self) -> Vec<u8> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    impl Write for Shelf {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer that blocks until it is told to go on.
    struct Stuck(mpsc::Receiver<()>, Shelf);

    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn writes_everything_in_order() {
        let shelf = Shelf::default();
        let outlet = Outlet::new("test", shelf.clone(), None);
        for i in 0..1000 {
            outlet.push(format!("{i}\n").into_bytes());
        }
        assert_eq!(outlet.finish().await, OutletEnd::default());
        let want: String = (0..1000).map(|i| format!("{i}\n")).collect();
        assert_eq!(String::from_utf8(shelf.take()).unwrap(), want);
    }

    #[tokio::test]
    async fn a_broken_pipe_is_told_and_costs_nothing_else() {
        let outlet = Outlet::new("test", Broken, None);
        outlet.push(b"a".to_vec());
        outlet.wait_idle(Duration::from_secs(10));
        outlet.push(b"b".to_vec());
        let end = outlet.finish().await;
        assert!(end.error.is_some());
        assert_eq!(end.lost, 2);
    }

    #[tokio::test]
    async fn a_stuck_reader_never_blocks_and_the_gap_is_told() {
        let (go, gate) = mpsc::channel();
        let shelf = Shelf::default();
        let outlet = Outlet::new("test", Stuck(gate, shelf.clone()), Some(|n| format!("lost {n}\n").into_bytes()));
        outlet.push(b"first\n".to_vec());
        let big = vec![b'x'; QUEUE_BYTES / 4];
        for _ in 0..10 {
            outlet.push(big.clone());
        }
        assert!(!outlet.is_idle());
        assert!(outlet.shared.lock().waiting <= QUEUE_BYTES);
        // Let it run again: what was queued comes, then the notice, then what follows.
        drop(go);
        outlet.wait_idle(Duration::from_secs(60));
        outlet.push(b"after\n".to_vec());
        let end = outlet.finish().await;
        assert_eq!((end.error, end.lost), (None, 7));
        let text = String::from_utf8(shelf.take()).unwrap();
        assert!(text.starts_with("first\nxxx") && text.ends_with("xlost 7\nafter\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_stuck_for_good_is_given_up() {
        let (_go, gate) = mpsc::channel();
        let outlet = Outlet::new("test", Stuck(gate, Shelf::default()), None);
        outlet.push(b"never".to_vec());
        assert!(outlet.finish().await.error.is_some());
    }
}
