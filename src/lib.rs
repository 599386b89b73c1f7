//! plegcollect: agentless evidence collector for Kubernetes nodes.

pub mod printable;
mod wording;

pub mod inventory;
pub mod plan;
pub mod evidence;
pub mod event;
pub mod session;
pub mod bundle;
pub mod collect;
pub mod progress;
pub mod report;
