//! The inventory file: finding it, reading it, checking it. What its keys mean stands in inventory.example.toml.
//!
//! Every mistake is refused with file, line and key. `[[step]]` tables are handed on unread: `plan/` knows them.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::access::{ClusterSettings, KubeletSettings};
use super::access_keys::{read_cluster, read_kubelet};
use super::document::{Section, Source};
use super::error::InventoryError;
use super::groups;
use super::jump::parse_address;
use super::local::Local;
use super::names::Roster;
use super::pattern::{self, Subject};
use super::sections::{Changes, Limits, Logs, Redact, read_changes, read_limits, read_logs, read_redact};
use super::settings::Settings;
use super::settings_keys::read_settings;
use super::target::NodeName;

/// Nodes at most in one run unless the inventory or a flag says otherwise.
pub const DEFAULT_MAX_NODES: usize = 10_000;

/// An inventory, read and checked.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[defaults]`.
    pub defaults: Settings,
    /// `[groups.NAME]` in the order of the file, then tags that are no declared group.
    pub groups: Vec<Group>,
    /// `[[node]]` in the order of the file, patterns expanded; without any, the names its groups list.
    pub nodes: Vec<Node>,
    /// `[changes]`.
    pub changes: Changes,
    /// `[logs]`.
    pub logs: Logs,
    /// `[kubelet]`.
    pub kubelet: KubeletSettings,
    /// `[cluster]`.
    pub cluster: ClusterSettings,
    /// `[limits]`.
    pub limits: Limits,
    /// `[redact]`.
    pub redact: Redact,
    /// `[[step]]`.
    pub steps: Vec<UserStep>,
    pub(super) names: Vec<NodeName>,
    pub(super) places: HashMap<NodeName, usize>,
}

/// A group of nodes.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name, without '@'.
    pub name: String,
    /// Its nodes.
    pub members: Vec<NodeName>,
    /// What holds for all of them unless a node says otherwise.
    pub settings: Settings,
    /// Where it stands in the file, counted from 1; 0 for a tag.
    pub line: usize,
}

/// A node of the inventory.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Host name or address to connect to, if it is not the name.
    pub address: Option<String>,
    /// Groups and tags that hold it, in the order of [`Inventory::groups`].
    pub groups: Vec<String>,
    /// Its own settings.
    pub settings: Arc<Settings>,
    /// Where its entry stands in the file, counted from 1.
    pub line: usize,
}

/// `[[step]]`, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct UserStep {
    /// Its keys.
    pub table: toml::Table,
    /// Where it stands in the file, counted from 1.
    pub line: usize,
}

impl Inventory {
    /// Returns the inventory file to use: `explicit`, or the first that exists of `./inventory.toml`,
    /// `$XDG_CONFIG_HOME/plegcollect/inventory.toml` (`~/.config` without that variable) and
    /// `/etc/plegcollect/inventory.toml`. `None` where there is none.
    ///
    /// # Errors
    /// `./inventory.toml` is not safe to use unasked: an inventory can name commands to run here, so one that
    /// somebody else put into the current directory must be asked for.
    pub fn find(explicit: Option<&Path>) -> Result<Option<PathBuf>, InventoryError> {
        if let Some(path) = explicit {
            return Ok(Some(path.to_owned()));
        }
        let here = PathBuf::from("inventory.toml");
        if here.exists() {
            check_ownership(&here)?;
            return Ok(Some(here));
        }
        let config = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let places = [
            config.map(|dir| dir.join("plegcollect/inventory.toml")),
            Some(PathBuf::from("/etc/plegcollect/inventory.toml")),
        ];
        Ok(places.into_iter().flatten().find(|path| path.exists()))
    }

    /// Reads an inventory file. `max_nodes` bounds what its patterns may expand to; `None`: its own
    /// `limits.max-nodes`, or [`DEFAULT_MAX_NODES`].
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong.
    pub fn load(path: &Path, max_nodes: Option<usize>) -> Result<Self, InventoryError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| InventoryError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text, max_nodes, &Local::detect())
    }

    /// For tests elsewhere.
    #[cfg(test)]
    pub(crate) fn of_text(path: &Path, text: &str) -> Result<Self, InventoryError> {
        Self::parse(path, text, None, &Local::detect())
    }

    pub(crate) fn parse(path: &Path, text: &str, max: Option<usize>, local: &Local) -> Result<Self, InventoryError> {
        let file = path.display().to_string();
        let source = Source::new(&file, text);
        let document = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            source.fail(&span, "the inventory", &format!("not valid TOML: {}", error.message().trim_end_matches('\n')))
        })?;
        let root = Section::root(&source, &document);
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let limits = section(&root, "limits")?.map(|s| read_limits(&s)).transpose()?.unwrap_or_default();
        let max = max.or(limits.max_nodes).unwrap_or(DEFAULT_MAX_NODES);
        let defaults = section(&root, "defaults")?.map_or_else(
            || Ok(Settings::default()),
            |s| read_settings(&s, base, local).and_then(|settings| s.finish().map(|()| settings)),
        )?;
        let declared = groups::read(&root, base, local)?;
        let mut inventory = Self {
            path: path.to_owned(),
            defaults,
            groups: Vec::new(),
            nodes: Vec::new(),
            changes: section(&root, "changes")?.map(|s| read_changes(&s)).transpose()?.unwrap_or_default(),
            logs: section(&root, "logs")?.map(|s| read_logs(&s)).transpose()?.unwrap_or_default(),
            kubelet: section(&root, "kubelet")?.map(|s| read_kubelet(&s, base, local)).transpose()?.unwrap_or_default(),
            cluster: section(&root, "cluster")?.map(|s| read_cluster(&s, base, local)).transpose()?.unwrap_or_default(),
            limits,
            redact: section(&root, "redact")?.map(|s| read_redact(&s)).transpose()?.unwrap_or_default(),
            steps: Vec::new(),
            names: Vec::new(),
            places: HashMap::new(),
        };
        if let Some(reserved) = section(&root, "deliver")? {
            reserved.finish()?;
        }
        let mut wanted_groups = Vec::new();
        if let Some(nodes) = root.get("node") {
            for entry in nodes.sections()? {
                inventory.read_node(&entry, base, local, max, &mut wanted_groups)?;
            }
        }
        if let Some(steps) = root.get("step") {
            for step in steps.sections()? {
                inventory.steps.push(UserStep { table: step.to_table()?, line: step.line() });
            }
        }
        root.finish()?;
        groups::resolve(&mut inventory, declared, &wanted_groups, max)?;
        Ok(inventory)
    }

    /// Reads one `[[node]]`, which stands for several nodes if its name is a pattern.
    fn read_node(
        &mut self,
        entry: &Section<'_>,
        base: &Path,
        local: &Local,
        max: usize,
        wanted_groups: &mut Vec<groups::Wanted>,
    ) -> Result<(), InventoryError> {
        let Some(name) = entry.get("name") else {
            return Err(entry.fail("this entry has no name: add name = \"worker-001\""));
        };
        let text = name.string("a node name such as \"worker-001\", or a pattern such as \"worker-[001-120]\"")?;
        let parsed = pattern::parse(text).map_err(|error| name.fail(&error.to_string()))?;
        let Subject::Names(names) = &parsed.subject else {
            return Err(
                name.fail("expected a name: an address goes into the key `address`, a group into [groups.NAME]")
            );
        };
        if parsed.exclude || names.glob || names.user.is_some() || names.port.is_some() {
            return Err(name.fail("expected a plain name or brackets: user and port have keys of their own"));
        }
        let expanded = names.expand(max.saturating_sub(self.nodes.len())).map_err(|count| {
            name.fail(&format!(
                "{text:?} stands for {count} nodes, and {max} are allowed in all: raise limits.max-nodes"
            ))
        })?;
        let address = entry.get("address");
        let template = address.as_ref().map(|a| a.string("a host name or address")).transpose()?;
        if let (Some(address), Some(template)) = (&address, template)
            && expanded.len() > 1
            && !template.contains("{name}")
        {
            return Err(address.fail(&format!(
                "{} nodes would share this address: let it hold {{name}}, or write one entry for each",
                expanded.len()
            )));
        }
        for key in ["groups", "tags"] {
            let Some(list) = entry.get(key) else { continue };
            for group in list.strings("a group name")? {
                let group_name = group.string("a group name")?.to_owned();
                groups::check_name(&group_name).map_err(|reason| group.fail(&reason))?;
                let first = self.nodes.len();
                let nodes = first..first + expanded.len();
                let must_exist = (key == "groups").then(|| (self.path.display().to_string(), group.line()));
                wanted_groups.push(groups::Wanted { name: group_name, nodes, must_exist });
            }
        }
        let settings = Arc::new(read_settings(entry, base, local)?);
        entry.finish()?;
        for one in expanded {
            let node: NodeName = one.parse().map_err(|error| name.fail(&format!("{error}")))?;
            let own_address = match (&address, template) {
                (Some(key), Some(template)) => {
                    Some(parse_address(&template.replace("{name}", &one)).map_err(|reason| key.fail(&reason))?)
                }
                _ => None,
            };
            if let Some(other) = self.places.get(&node).and_then(|place| self.nodes.get(*place)) {
                return Err(name.fail(&format!("{node} has an entry already, at line {}", other.line)));
            }
            self.add(Node {
                name: node,
                address: own_address,
                groups: Vec::new(),
                settings: settings.clone(),
                line: entry.line(),
            });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, node: Node) {
        self.places.insert(node.name.clone(), self.nodes.len());
        self.names.push(node.name.clone());
        self.nodes.push(node);
    }

    /// Returns the entry of a node.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.places.get(name).and_then(|place| self.nodes.get(*place))
    }

    /// Returns whether it names nodes at all; one that does not holds settings alone.
    #[must_use]
    pub fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Returns a group by its name, without '@'.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl Roster for Inventory {
    fn title(&self) -> String {
        format!("the inventory {}", self.path.display())
    }

    fn names(&self) -> &[NodeName] {
        &self.names
    }

    fn holds(&self, name: &NodeName) -> bool {
        self.places.contains_key(name)
    }

    fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError> {
        let names = || self.groups.iter().map(|group| group.name.as_str());
        Self::group(self, name)
            .map(|group| group.members.clone())
            .ok_or_else(|| InventoryError::Selection(groups::unknown(&self.title(), name, names())))
    }
}

/// Accepts a file that is ours, root's, or of the user behind `sudo`, and that not everybody can write to.
fn check_ownership(path: &Path) -> Result<(), InventoryError> {
    let meta = std::fs::metadata(path).map_err(|source| InventoryError::Read { path: path.to_owned(), source })?;
    let ours = [
        Some(0),
        Some(rustix::process::getuid().as_raw()),
        std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok()),
    ];
    let why = if !ours.contains(&Some(meta.uid())) {
        "belongs to another user"
    } else if meta.mode() & 0o002 != 0 {
        "can be written by everybody"
    } else {
        return Ok(());
    };
    let path = path.display();
    Err(InventoryError::File(format!(
        "{path} {why}, so it is not used unasked: give --inventory {path} if it is meant"
    )))
}

fn section<'a>(root: &Section<'a>, key: &'static str) -> Result<Option<Section<'a>>, InventoryError> {
    root.get(key).map(|entry| entry.section()).transpose()
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
