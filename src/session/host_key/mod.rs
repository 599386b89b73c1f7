//! Who the server is. `judge` decides about the key or certificate it shows; `known_hosts` reads
//! and matches the files, `known_hosts_cache` parses each once per run, `known_hosts_file` appends.

mod certificate;
mod judge;
mod known_hosts;
mod known_hosts_cache;
mod known_hosts_file;
#[cfg(test)]
mod tests;

pub(in crate::session) use judge::{Accepted, HostKeyJudge, KeyPreference};
pub(crate) use known_hosts_file::{Locked, Stamp};
