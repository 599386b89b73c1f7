//! The selector: from the words of a command line to the targets of a run. Called by `cli/`; prints nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use super::error::InventoryError;
use super::local::Local;
use super::names::{Chosen, Roster, choose};
use super::pattern::{self, Pattern, Subject, check_user};
use super::resolve::{Provenance, Resolver};
use super::schema::{DEFAULT_MAX_NODES, Inventory};
use super::settings::{JumpSpec, Route, Settings};
use super::ssh_config::SshConfig;
use super::target::{HostKeyMode, NodeName, Sudo, Target};

/// Nodes resolved at a time; `ssh -G` has its own bound.
const AT_A_TIME: usize = 32;

/// What the command line says about the nodes.
#[derive(Debug, Clone, Default)]
pub struct SelectionRequest {
    /// Every `--nodes`; each may be a comma list.
    pub patterns: Vec<String>,
    /// The text on standard input, read by the caller if [`wants_stdin`] says so.
    pub stdin: Option<String>,
    /// `--inventory`; else the usual places are searched.
    pub inventory: Option<PathBuf>,
    /// `--ssh-config`; else what `ssh` reads by itself.
    pub ssh_config: Option<PathBuf>,
    /// `--local`: `localhost` and this machine's own name need no SSH.
    pub local: bool,
    /// Flags that override what inventory and ssh_config say.
    pub overrides: Overrides,
    /// `--max-nodes`; else `limits.max-nodes` of the inventory, else 10,000.
    pub max_nodes: Option<usize>,
}

/// Flags about reaching nodes. Jumps in front of them get `host_key`, `known_hosts`, `connect_timeout` and, after
/// keys of their own, `identity_files`; the rest is for the nodes alone.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--user`.
    pub user: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--identity`; any replaces those of inventory and ssh_config.
    pub identity_files: Vec<PathBuf>,
    /// `--jump`, each may be a comma list; `none` goes directly.
    pub jump: Vec<String>,
    /// `--host-key`.
    pub host_key: Option<HostKeyMode>,
    /// `--known-hosts`; any replaces the user files, the global ones stay.
    pub known_hosts: Vec<PathBuf>,
    /// `--connect-timeout`.
    pub connect_timeout: Option<Duration>,
    /// `--sudo`.
    pub sudo: Option<Sudo>,
    /// `--parallel-steps`, 1 to 8.
    pub parallel_steps: Option<usize>,
}

/// The targets of a run.
#[derive(Debug, Clone)]
pub struct Selected {
    /// In the order of their first mention.
    pub targets: Vec<Target>,
    /// The inventory that was used, if any.
    pub inventory: Option<Inventory>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
    /// Which layer decided what, for each target.
    pub provenance: BTreeMap<NodeName, Provenance>,
}

/// Returns whether `-` is among the patterns, so that standard input is to be read.
#[must_use]
pub fn wants_stdin(patterns: &[String]) -> bool {
    patterns.iter().flat_map(|list| list.split(',')).any(|item| item.trim() == "-")
}

/// Selects the nodes and works out how each is reached. Reads the inventory and runs `ssh -G`; connects to nothing.
///
/// # Errors
/// [`InventoryError::is_usage`] tells a bad command line from a bad set-up.
///
/// # Cancel safety
/// Can be dropped at any time: running `ssh -G` processes are killed, nothing else is touched.
pub async fn select(request: &SelectionRequest) -> Result<Selected, InventoryError> {
    select_on(request, Local::detect()).await
}

async fn select_on(request: &SelectionRequest, local: Local) -> Result<Selected, InventoryError> {
    let patterns = patterns(request)?;
    let flags = flags(&request.overrides)?;
    let inventory = match Inventory::find(request.inventory.as_deref())? {
        Some(path) => Some(Inventory::load(&path, request.max_nodes)?),
        None => None,
    };
    let max =
        request.max_nodes.or_else(|| inventory.as_ref().and_then(|i| i.limits.max_nodes)).unwrap_or(DEFAULT_MAX_NODES);
    let mut warnings = Vec::new();
    let roster = inventory.as_ref().map(|inventory| WithHere { inventory, local: request.local.then_some(&local) });
    let chosen = choose(&patterns, roster.as_ref().map(|r| r as &dyn Roster), max, &mut warnings)?;
    if request.local && !chosen.iter().any(|c| local.is_here(c.name.as_str())) {
        warnings.push(format!(
            "--local has no effect: none of the nodes is this machine (localhost or {})",
            local.hostname
        ));
    }
    let resolver = Resolver {
        inventory: inventory.as_ref(),
        flags,
        local_allowed: request.local,
        local,
        ssh: SshConfig::new(request.ssh_config.clone()),
        warnings: Mutex::default(),
    };
    let one_by_one = chosen.into_iter().map(|one: Chosen| {
        let resolver = &resolver;
        async move { resolver.target(&one).await }
    });
    let resolved: Vec<(Target, Provenance)> =
        futures::stream::iter(one_by_one).buffered(AT_A_TIME).try_collect().await?;
    warnings.extend(resolver.take_warnings());
    drop(resolver);
    let mut targets = Vec::with_capacity(resolved.len());
    let mut provenance = BTreeMap::new();
    for (target, origin) in resolved {
        provenance.insert(target.name.clone(), origin);
        targets.push(target);
    }
    Ok(Selected { targets, inventory, warnings, provenance })
}

fn patterns(request: &SelectionRequest) -> Result<Vec<Pattern>, InventoryError> {
    if request.patterns.is_empty() {
        return Err(InventoryError::Selection(
            "no nodes are named: give --nodes, for example --nodes 'worker-00[1-9]'".to_owned(),
        ));
    }
    let mut all = Vec::new();
    for list in &request.patterns {
        for pattern in pattern::parse_list(list)? {
            match (&pattern.subject, &request.stdin) {
                (Subject::Stdin, Some(text)) => all.extend(from_stdin(text)?),
                _ => all.push(pattern),
            }
        }
    }
    Ok(all)
}

/// Reads names divided by blanks or line ends; `#` starts a comment. `node/NAME`, as `kubectl -o name` prints it, is NAME.
fn from_stdin(text: &str) -> Result<Vec<Pattern>, InventoryError> {
    let mut all = Vec::new();
    for line in text.lines() {
        let names = line.split('#').next().unwrap_or_default();
        for word in names.split_whitespace() {
            for pattern in pattern::parse_list(word.strip_prefix("node/").unwrap_or(word))? {
                if pattern.subject == Subject::Stdin {
                    return Err(InventoryError::Selection(
                        "standard input names \"-\", that is itself: remove it".to_owned(),
                    ));
                }
                all.push(pattern);
            }
        }
    }
    if all.is_empty() {
        return Err(InventoryError::Selection("standard input names no nodes: write one name a line".to_owned()));
    }
    Ok(all)
}

fn flags(overrides: &Overrides) -> Result<Settings, InventoryError> {
    let wrong = |flag: &str, reason: String| InventoryError::Selection(format!("{flag}: {reason}"));
    if let Some(user) = &overrides.user {
        check_user(user).map_err(|reason| wrong("--user", reason))?;
    }
    let some = |list: &Vec<PathBuf>| (!list.is_empty()).then(|| list.clone());
    let route = match overrides.jump.as_slice() {
        [] => None,
        [none] if none == "none" => Some(Route::Direct),
        lists => {
            let mut jumps = Vec::new();
            for list in lists {
                jumps.extend(JumpSpec::parse_list(list).map_err(|reason| wrong("--jump", reason))?);
            }
            Some(Route::Jump(jumps))
        }
    };
    Ok(Settings {
        user: overrides.user.clone(),
        port: overrides.port,
        identity_files: some(&overrides.identity_files),
        known_hosts: some(&overrides.known_hosts),
        host_key: overrides.host_key,
        connect_timeout: overrides.connect_timeout,
        sudo: overrides.sudo,
        parallel_steps: overrides.parallel_steps.map(|n| n.clamp(1, 8)),
        route,
        ..Settings::default()
    })
}

/// The inventory, which with `--local` also holds this machine.
struct WithHere<'a> {
    inventory: &'a Inventory,
    local: Option<&'a Local>,
}

impl Roster for WithHere<'_> {
    fn title(&self) -> String {
        self.inventory.title()
    }

    fn names(&self) -> &[NodeName] {
        self.inventory.names()
    }

    fn holds(&self, name: &NodeName) -> bool {
        self.inventory.holds(name) || self.local.is_some_and(|local| local.is_here(name.as_str()))
    }

    fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError> {
        Roster::group(self.inventory, name)
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
