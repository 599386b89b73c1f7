//! The canvas: what indicatif takes for the terminal. Gathers the bytes of a frame; the painter
//! sends them on as one piece.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::bars::Size;

/// What indicatif takes for the terminal. Never fails: `MultiProgress::suspend` panics on an error.
#[derive(Debug, Clone)]
pub(super) struct Canvas(Arc<Mutex<Drawn>>);

/// The bytes drawn since they were last sent.
///
/// indicatif fills every row with spaces and lets the terminal wrap into the next. Here rows end
/// with a line break instead, and spaces become "erase the rest": otherwise a terminal that is
/// resized joins all rows into one, and text copied from it comes as one long line.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) out: Vec<u8>,
    /// Column of the cursor, as far as this row was written.
    col: usize,
    pub(super) size: Size,
}

impl Drawn {
    fn write(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if text == "\r" {
            self.col = 0;
            self.out.push(b'\r');
            return;
        }
        let width = usize::from(self.size.1);
        if self.col >= width {
            self.out.extend_from_slice(b"\r\n");
            self.col = 0;
        }
        if self.col + text.len() == width && text.bytes().all(|b| b == b' ') {
            self.out.extend_from_slice(b"\x1b[K");
            self.col = width;
        } else {
            self.out.extend_from_slice(text.as_bytes());
            self.col += visible_columns(text);
        }
    }
}

/// Returns the columns of a text that may hold colours.
pub(super) fn visible_columns(text: &str) -> usize {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().map_or(0, crate::wording::columns);
    first + parts.map(|p| p.split_once('m').map_or(0, |(_, rest)| crate::wording::columns(rest))).sum::<usize>()
}

impl Canvas {
    pub(super) fn new(size: Size) -> Self {
        Self(Arc::new(Mutex::new(Drawn { out: Vec::new(), col: 0, size })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Drawn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, text: &str) -> io::Result<()> {
        self.lock().out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn go(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.put(&format!("\u{1b}[{n}{direction}")) }
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.lock().size.1
    }

    fn height(&self) -> u16 {
        self.lock().size.0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.lock().write(s);
        self.lock().col = 0;
        self.put("\r\n")
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.lock().write(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.lock().col = 0;
        self.put("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        // At the start of its last row: an echoed ^C then spoils two characters, not a row.
        self.lock().write("\r");
        Ok(())
    }
}
