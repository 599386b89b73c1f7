//! plegcollect: agentless evidence collector for Kubernetes nodes.
//!
//! The flow: flags select targets from the [`inventory`], or the [`cluster`]'s API server does; the engine in [`collect`]
//! opens one [`session`] per target under a limit; a probe yields facts; facts and selection make the node [`plan`]. Most
//! steps are commands on the node. Others ask the [`kubelet`] over HTTP, through the session, with a [`credential`]; beside
//! the nodes the API servers are asked for the cluster's evidence. Changes to the node are made and undone by [`change`].
//! Every step's [`evidence`] streams through redaction and spool into the node's [`bundle`]; the manifest seals it;
//! [`event`]s feed the [`progress`] display all along; [`analyze`] reads bundles back; [`report`] tells what was found, what was
//! got and what was not.
//!
//! The modules stand in the order in which they may use each other, the first knowing of no other.
//!
//! A token comes from a source in [`credential`], is told to the redactor of the
//! run, and leaves the program in three places only: the header that
//! `session/http/exchange.rs` writes inside TLS to a kubelet, the pipe that
//! `kubelet/way/curl.rs` feeds to curl on a node, and the header that
//! `cluster/api/server.rs` adds for an API server. `tests/layering.rs` holds where
//! secrets are unwrapped.
//!
//! Imports go one way only; `tests/layering.rs` holds the table.

pub mod environment;
pub mod printable;
mod wording;

pub mod inventory;
pub mod plan;
pub mod evidence;
pub mod event;
pub mod session;
pub mod credential;
pub mod kubelet;
pub mod cluster;
pub mod change;
pub mod bundle;
pub mod collect;
pub mod analyze;
pub mod progress;
pub mod report;
pub mod cli;
