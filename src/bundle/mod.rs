//! The file format: one `<node>.tar.zst` per node and one `run.json` per run. Evidence is
//! decoded from the wire, redacted, bounded and hashed on its way in; nothing else writes
//! bundles, and nothing outside this module knows tar or zstd.

mod archive;
mod decode;
mod error;
mod intake;
mod message;
mod spool;
mod step_files;
mod walk;
mod worker;

pub mod atomic;
pub mod layout;
pub mod manifest;
pub mod packed;
pub mod reader;
pub mod redact;
pub mod run_record;
pub mod verify;
pub mod writer;

pub use error::BundleError;
pub(crate) use error::free_bytes;
pub use layout::{BundlePath, RunDir};
pub use manifest::{Closing, Ending, FormatVersion, Header, Manifest};
pub use reader::{Bundle, ReadError};
pub use redact::{RedactConfig, RedactRule, Redactor};
pub use run_record::RunRecord;
pub use verify::{VerifyReport, verify};
pub use writer::{BundleOptions, BundleWriter, Sealed, StepEnd, StepSink};
