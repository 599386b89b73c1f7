//! plegcollect: agentless evidence collector for Kubernetes nodes.
//!
//! The flow, which is also the order of the modules: flags select targets from
//! the [`inventory`]; the engine in [`collect`] opens one [`session`] per target
//! under a limit; a probe yields facts; facts and selection make the node
//! [`plan`]; changes to the node are made and undone by [`change`]; every step's evidence streams through redaction and spool into the
//! node's [`bundle`]; the manifest seals it; [`event`]s feed the [`progress`]
//! display all along; [`report`] tells at the end what was got and what was not.
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
pub mod progress;
pub mod report;
pub mod cli;
