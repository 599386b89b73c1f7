//! What, as data: the step catalog, the facts of a node, and the plan built from both; what API servers are asked, and the
//! rights that all requests need. Pure; no I/O.

pub mod build;
pub mod capability;
pub mod catalog;
pub mod changes;
pub mod cluster;
pub mod facts;
mod keys;
pub mod kubelet;
pub mod logs;
pub mod placeholder;
pub mod probe;
pub mod rbac;
pub mod schema;
pub mod selection;
pub mod step;
mod way;

pub use build::build;
pub use catalog::Catalog;
pub use changes::{ChangeId, ChangePolicy, MadeBy};
pub use cluster::{CLUSTER_STEPS, ClusterAsk, ClusterRule, ClusterStep};
pub use facts::NodeFacts;
pub use kubelet::{KubeletGet, KubeletPort, KubeletSelection, RbacRule};
pub use logs::{LogFiles, LogOf};
pub(crate) use placeholder::is_unit_name;
pub use schema::{CatalogError, Profile, StepSpec};
pub use selection::{Selection, SelectionError, Since, StepPattern};
pub use step::{Action, Bounds, ChangeStep, Encoding, NodePlan, Phase, PlannedStep, Run, StepId, What};
