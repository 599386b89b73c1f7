//! The engine: bounded fan-out over targets, one node's life from connect to seal, one step
//! within its bounds; requests to a node's kubelet beside its steps, and API servers asked beside all
//! nodes. Displays nothing, reads no flags; everything it has to say is an event. Called by `cli/`.

mod changes;
mod cluster;
mod cluster_step;
mod ending;
mod fleet;
mod foreseen;
mod keeper;
mod kubelet;
mod made;
mod node;
mod open_changes;
mod phase;
mod planned;
mod probe;
mod proof;
mod shutdown;
mod stacks;
mod step;
mod stop;
mod sudo_password;
mod verbosity;
mod way;

pub use cluster::ClusterRun;
pub use fleet::{RunError, RunOptions, RunOutcome, run};
pub use foreseen::Foreseen;
pub use node::RunIdentity;
pub use open_changes::OpenChanges;
pub use planned::{PlannedNode, plan_node, reach_node};
pub use shutdown::Shutdown;
pub use sudo_password::SudoPassword;
pub use way::OneSession;
