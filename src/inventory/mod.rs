//! Who: the inventory file, node patterns, `ssh -G`, and the targets they resolve to.

mod bracket;
mod document;
mod error;
mod fold;
mod groups;
mod jump;
mod local;
mod names;
mod pattern;
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

pub use error::{InventoryError, PatternError};
pub use fold::{fold, natural};
pub use resolve::Provenance;
pub use schema::{DEFAULT_MAX_NODES, Group, Inventory, Node, UserStep};
pub use sections::{Changes, DockerdDebug, Limits, Logs, Redact, RedactRule};
pub use selector::{Overrides, Selected, SelectionRequest, select, wants_stdin};
pub use settings::{Agent, JumpSpec, Origin, Route, Settings};
pub use target::{NodeName, Target};
