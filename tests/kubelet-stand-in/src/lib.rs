//! A kubelet for tests: it serves what real kubelets answered, byte for byte, behind the same authentication and
//! authorization, and misbehaves on demand. [`apiserver`] is the same of a kube-apiserver. README.md tells how to run it; it is never part of plegcollect.
//!
//! A request goes through [`server`] (connection, TLS), [`fault`] (what is to go wrong), [`user`] (who asks),
//! [`access`] (which right the path needs) and [`recording`] (what is answered); [`request_log`] tells what happened.

pub mod access;
pub mod apiserver;
pub mod answer;
pub mod body;
pub mod fault;
pub mod flags;
pub mod pki;
pub mod recording;
pub mod reply;
pub mod request_log;
pub mod server;
pub mod tls;
pub mod user;
pub mod verbosity;

use std::io;

/// Returns an error that says what failed and on what.
pub fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
