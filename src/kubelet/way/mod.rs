//! The ways a request goes: through the SSH connection, by curl on the node, or through an API server. Each does one request
//! and judges nothing. Called by `asking.rs`.

pub(super) mod api;
pub(super) mod curl;
pub(super) mod curl_output;
pub(super) mod forward;

/// Bytes kept of the body of a refusal.
const KEPT: usize = 64 * 1024;
