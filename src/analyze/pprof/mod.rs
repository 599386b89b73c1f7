//! Profiles in pprof's protobuf form, as Go programs answer them (gzip or plain): how many goroutines, who holds memory,
//! who uses the processor. One pass over functions and places, one over samples; only sums are kept. Hostile input
//! costs no more than [`MAX_UNPACKED`] bytes, a small multiple of that in memory, and time linear in it.
//!
//! The form: <https://github.com/google/pprof/blob/main/proto/profile.proto>. Its top level is walked by hand, because
//! decoding it whole would let two bytes of input become an object of a hundred; the messages in it are prost's work.

mod sums;
mod tables;
#[cfg(test)]
mod tests;
mod wire;

use std::cmp::Reverse;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use self::sums::Sums;
use self::tables::Tables;
use self::wire::{Field, message, proto, walk};

/// Most that a profile may be unpacked; one of a large API server's heap has 300 kB.
pub const MAX_UNPACKED: usize = 32 << 20;
/// Most kinds of values; a heap profile has four.
const MAX_KINDS: usize = 8;

/// Why a profile cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PprofError {
    /// The source failed, or its gzip stream is damaged or cut.
    #[error("cannot be read: damaged gzip, cut off, or the file itself")]
    Read(#[source] io::Error),
    /// It is larger than any genuine profile.
    #[error("unpacks to more than {} MiB: no genuine profile", MAX_UNPACKED >> 20)]
    TooLarge,
    /// It is not in this form.
    #[error("is no pprof profile: {0}")]
    Form(&'static str),
    /// A message in it is broken.
    #[error("is no pprof profile: a message in it is broken")]
    Message(#[source] prost::DecodeError),
}

/// A profile, summed up by function.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What is measured: one entry per column of values.
    pub kinds: Vec<Kind>,
    /// When it was taken, by the node's clock.
    pub taken: Option<Timestamp>,
    /// How long it was measured; zero for a snapshot.
    pub duration: Duration,
    /// Stacks in it.
    pub samples: u64,
    /// Sum of each column.
    pub totals: Vec<i64>,
    functions: Vec<Cost>,
}

/// A column of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// `goroutine`, `inuse_space`, `cpu`.
    pub name: Arc<str>,
    /// `count`, `bytes`, `nanoseconds`.
    pub unit: Arc<str>,
}

/// What one function costs, in all columns.
#[derive(Debug, Clone, PartialEq)]
struct Cost {
    name: Arc<str>,
    file: Arc<str>,
    flat: [i64; MAX_KINDS],
    cum: [i64; MAX_KINDS],
}

/// What one function costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Full name.
    pub function: Arc<str>,
    /// File it is in; may be empty.
    pub file: Arc<str>,
    /// In the function itself.
    pub flat: i64,
    /// In it and in what it calls; recursion counts once.
    pub cum: i64,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By what a function costs itself.
    Flat,
    /// With what it calls.
    Cum,
}

impl Profile {
    /// Reads a profile, packed by gzip or not.
    ///
    /// # Errors
    /// When it cannot be read or unpacked, is larger than [`MAX_UNPACKED`], or is no profile.
    pub fn read(source: impl Read) -> Result<Self, PprofError> {
        let mut start = Vec::new();
        let mut source = source;
        (&mut source).take(2).read_to_end(&mut start).map_err(PprofError::Read)?;
        let packed = start == [0x1f, 0x8b];
        let source = io::Cursor::new(start).chain(source);
        let most = u64::try_from(MAX_UNPACKED).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let read = if packed {
            MultiGzDecoder::new(source).take(most).read_to_end(&mut bytes)
        } else {
            source.take(most).read_to_end(&mut bytes)
        };
        read.map_err(PprofError::Read)?;
        if bytes.len() > MAX_UNPACKED {
            return Err(PprofError::TooLarge);
        }
        Self::of(&bytes)
    }

    fn of(bytes: &[u8]) -> Result<Self, PprofError> {
        let tables = Tables::of(bytes)?;
        let kinds = tables.kinds();
        if kinds.is_empty() {
            return Err(PprofError::Form("it does not say what it measures"));
        }
        let mut sums = Sums::new(&tables, kinds.len());
        walk(bytes, |field| match field {
            Field::Bytes(2, sample) => sums.add(&message::<proto::Sample>(sample)?),
            _ => Ok(()),
        })?;
        let Sums { costs, totals, samples, .. } = sums;
        Ok(Self {
            kinds,
            taken: (tables.time_nanos > 0)
                .then(|| Timestamp::from_nanosecond(i128::from(tables.time_nanos)).ok())
                .flatten(),
            duration: Duration::from_nanos(u64::try_from(tables.duration_nanos).unwrap_or(0)),
            samples,
            totals,
            functions: costs,
        })
    }

    /// Returns the sum of a column (`inuse_space`), if the profile has it.
    #[must_use]
    pub fn total(&self, kind: &str) -> Option<i64> {
        self.totals.get(self.column(kind)?).copied()
    }

    /// Returns how many goroutines there are, if this is a goroutine profile.
    #[must_use]
    pub fn goroutines(&self) -> Option<u64> {
        self.total("goroutine").or_else(|| self.total("goroutines")).and_then(|total| u64::try_from(total).ok())
    }

    /// Returns the `most` functions that cost most in a column, those that cost nothing left out. Empty if the profile
    /// has no such column: a heap has `inuse_space` (bytes held), a CPU profile `cpu` (nanoseconds).
    #[must_use]
    pub fn top(&self, kind: &str, order: Order, most: usize) -> Vec<Top> {
        let Some(column) = self.column(kind) else { return Vec::new() };
        let value = |values: &[i64; MAX_KINDS]| values.get(column).copied().unwrap_or(0);
        let mut tops: Vec<(i64, i64, &Cost)> = self
            .functions
            .iter()
            .map(|cost| (value(&cost.flat), value(&cost.cum), cost))
            .filter(|(flat, cum, _)| (if order == Order::Flat { *flat } else { *cum }) != 0)
            .collect();
        tops.sort_by_key(|(flat, cum, cost)| {
            let (first, second) = if order == Order::Flat { (*flat, *cum) } else { (*cum, *flat) };
            (Reverse(first), Reverse(second), Arc::clone(&cost.name))
        });
        let top = |(flat, cum, cost): (i64, i64, &Cost)| {
            let (function, file) = (Arc::clone(&cost.name), Arc::clone(&cost.file));
            Top { function, file, flat, cum }
        };
        tops.into_iter().take(most).map(top).collect()
    }

    fn column(&self, kind: &str) -> Option<usize> {
        self.kinds.iter().position(|known| &*known.name == kind)
    }
}
