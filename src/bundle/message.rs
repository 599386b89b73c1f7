//! What the asynchronous side tells the blocking side of a bundle, and how it is answered. Sent by `writer.rs` over a
//! bounded queue, taken by `worker.rs`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::BundleError;
use super::intake::{Paths, Shared};
use super::layout::BundlePath;
use super::manifest::Closing;
use super::writer::{Sealed, StepEnd};
use crate::evidence::{FileRecord, StepRecord};
use crate::plan::step::{Encoding, PlannedStep};
use crate::session::StdStream;

type Reply<T> = oneshot::Sender<Result<T, BundleError>>;

pub(crate) enum Message {
    File {
        path: BundlePath,
        bytes: Vec<u8>,
        reply: Reply<FileRecord>,
    },
    Open {
        key: u64,
        step: Box<PlannedStep>,
        paths: Box<Paths>,
        encoding: Encoding,
        cap: u64,
        shared: Arc<Shared>,
        reply: Reply<()>,
    },
    Data {
        key: u64,
        stream: StdStream,
        chunk: Bytes,
    },
    Finish {
        key: u64,
        end: Box<StepEnd>,
        reply: Reply<StepRecord>,
    },
    Record {
        record: Box<StepRecord>,
        reply: Reply<StepRecord>,
    },
    Seal {
        closing: Box<Closing>,
        reply: Reply<Sealed>,
    },
    Abandon {
        reply: Reply<()>,
    },
}
