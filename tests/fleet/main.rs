//! Tests on real nodes: systemd, OpenSSH, dockerd and containerd booted by `scripts/fleet`.
//! Run by `scripts/test`; on their own:
//! `scripts/fleet up 9 --bastion && PLEGCOLLECT_FLEET=.fleet cargo test --test fleet -- --ignored --test-threads=1`

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests, and functions only they call"
)]

mod asked;
mod bastion;
mod campaign;
mod changes;
mod cluster;
mod disk;
mod evidence;
mod faults;
mod fingerprint;
mod kill;
mod kubelet;
mod machine;
mod nine;
mod nodes;
mod recognise;
mod refusals;
mod residue;
mod running;
mod secrets;
mod stacks;
mod streams;
mod support;
mod three;
mod trial;
mod trigger;
mod verbosity;
mod window;
mod window_rows;
