//! Who: the inventory file, node patterns, `ssh -G`, and the targets they resolve to.

pub mod access;
mod access_keys;
mod bracket;
mod document;
mod error;
mod fold;
mod groups;
mod jump;
mod local;
mod names;
mod pattern;
mod placed;
mod resolve;
mod route;
mod schema;
mod sections;
mod selector;
mod settings;
mod settings_keys;
mod ssh_answer;
mod ssh_config;
pub mod target;
mod tokens;

pub use access_keys::check_api_server;
pub(crate) use error::did_you_mean;
pub use error::{InventoryError, PatternError};
pub use fold::{fold, natural};
pub use placed::{FoundBy, FromCluster, InCluster, Placed};
pub use resolve::Provenance;
pub use schema::{DEFAULT_MAX_NODES, Group, Inventory, Node, UserStep};
pub use sections::{Changes, DockerdDebug, Limits, Logs, Redact, RedactRule};
pub use selector::{Overrides, Selected, SelectionRequest, select, wants_stdin};
pub use settings::{Agent, JumpSpec, Origin, Route, Settings};
pub use target::{NodeName, Target};
