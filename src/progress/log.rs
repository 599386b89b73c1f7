//! Where `tracing` writes: standard error, or above the bars while there are any, so that log
//! lines and bars do not tear each other. The cli hands it to the subscriber, and the same one to
//! the display.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::bars::Painter;

/// Makes writers for `tracing_subscriber::fmt`. Clones share their destination.
#[derive(Clone, Default)]
pub struct LogWriter(Arc<Mutex<Option<Arc<Mutex<Painter>>>>>);

impl LogWriter {
    /// Returns a writer to standard error; a display with bars that is given it takes over for its time.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn attach(&self, painter: Option<Arc<Mutex<Painter>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = painter;
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

/// Writes one log line.
#[derive(Debug)]
pub struct LogLine(LogWriter);

impl Write for LogLine {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let painter = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A display that died leaves its lock poisoned: then lines go straight to standard error.
        match painter.as_ref().and_then(|p| p.lock().ok()) {
            Some(mut painter) => painter.print(buf),
            // A log line that cannot be written must not become an error of the run.
            None => drop(io::stderr().write_all(buf)),
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(self.clone())
    }
}
