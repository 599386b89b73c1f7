//! The selector: from the words of a command line to the targets of a run. Called by `cli/`; prints nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use super::access::TokenFrom;
use super::error::InventoryError;
use super::fold::fold;
use super::local::Local;
use super::names::{Chosen, Roster, choose};
use super::pattern::{self, Pattern, Subject, check_user};
use super::placed::{FromCluster, InCluster};
use super::resolve::{Provenance, Resolver};
use super::schema::{DEFAULT_MAX_NODES, Inventory};
use super::settings::{JumpSpec, Route, Settings};
use super::ssh_config::SshConfig;
use super::target::{HostKeyMode, NodeName, Sudo, Target};
use crate::environment;

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
    /// Nodes chosen by the cluster; with patterns, those that both mean.
    pub cluster: Option<FromCluster>,
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
    /// What is good to know, for the operator.
    pub notes: Vec<String>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
    /// Which layer decided what, for each target.
    pub provenance: BTreeMap<NodeName, Provenance>,
    /// What the cluster says of each target, where it was asked.
    pub in_cluster: BTreeMap<NodeName, InCluster>,
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
    let patterns =
        if request.cluster.is_some() && request.patterns.is_empty() { Vec::new() } else { patterns(request)? };
    let flags = flags(&request.overrides)?;
    let inventory = match Inventory::find(request.inventory.as_deref())? {
        Some(path) => Some(Inventory::load(&path, request.max_nodes)?),
        None => None,
    };
    // Before the first process is started.
    for settings in inventory.iter().flat_map(|i| [&i.kubelet.token, &i.cluster.token]) {
        if let Some(TokenFrom::Env(name)) = settings {
            environment::hide(name);
        }
    }
    let max =
        request.max_nodes.or_else(|| inventory.as_ref().and_then(|i| i.limits.max_nodes)).unwrap_or(DEFAULT_MAX_NODES);
    let mut warnings = Vec::new();
    let here = request.local.then_some(&local);
    let roster = Known::new(inventory.as_ref(), request.cluster.as_ref(), here);
    let roster = roster.as_ref().map(|roster| roster as &dyn Roster);
    let chosen = match &request.cluster {
        None => choose(&patterns, roster, max, &mut warnings)?,
        Some(cluster) => {
            let named = if patterns.is_empty() { None } else { Some(choose(&patterns, roster, max, &mut warnings)?) };
            of_cluster(cluster, named, max, &mut warnings)?
        }
    };
    if request.local && !chosen.iter().any(|c| local.is_here(c.name.as_str())) {
        warnings.push(format!(
            "--local has no effect: none of the nodes is this machine (localhost or {})",
            local.hostname
        ));
    }
    let placed = request.cluster.as_ref().map(|cluster| cluster.all.as_slice()).unwrap_or_default();
    let resolver = Resolver {
        inventory: inventory.as_ref(),
        flags,
        local_allowed: request.local,
        local,
        ssh: SshConfig::new(request.ssh_config.clone()),
        in_cluster: placed.iter().filter_map(|p| Some((p.name.clone(), p.address.clone()?))).collect(),
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
    let mut in_cluster: BTreeMap<_, _> = placed.iter().map(|p| (p.name.clone(), p.seen.clone())).collect();
    in_cluster.retain(|name, _| provenance.contains_key(name));
    Ok(Selected { targets, inventory, notes: Vec::new(), warnings, provenance, in_cluster })
}

/// Returns what the cluster chose, or what both it and the patterns mean, in the order of the patterns.
fn of_cluster(
    cluster: &FromCluster,
    named: Option<Vec<Chosen>>,
    max: usize,
    warnings: &mut Vec<String>,
) -> Result<Vec<Chosen>, InventoryError> {
    let meant: Vec<Chosen> = match named {
        Some(named) => {
            let known: HashSet<&NodeName> = cluster.all.iter().map(|placed| &placed.name).collect();
            let (known, strange): (Vec<Chosen>, Vec<Chosen>) =
                named.into_iter().partition(|one| known.contains(&one.name));
            let strange: Vec<NodeName> = strange.into_iter().map(|one| one.name).collect();
            let meant: Vec<Chosen> = known.into_iter().filter(|one| cluster.chosen.contains(&one.name)).collect();
            // A node that is gone from the cluster is not one that is well.
            match (strange.is_empty(), meant.is_empty()) {
                (true, true) => {
                    return Err(InventoryError::NoneOfBoth(format!(
                        "{} means none of the nodes of --nodes",
                        cluster.by
                    )));
                }
                (false, true) => {
                    return Err(InventoryError::Selection(format!(
                        "{} means none of the nodes of --nodes, and the cluster does not know {}: name those without it",
                        cluster.by,
                        fold(&strange)
                    )));
                }
                (false, false) => {
                    warnings.push(format!("left out, because the cluster does not know them: {}", fold(&strange)))
                }
                (true, false) => {}
            }
            meant
        }
        None => {
            let meant = cluster.all.iter().filter(|placed| cluster.chosen.contains(&placed.name));
            meant.map(|placed| Chosen { name: placed.name.clone(), user: None, port: None, address: None }).collect()
        }
    };
    if meant.len() > max {
        return Err(InventoryError::Selection(format!(
            "{} means {} nodes, and {max} are allowed: choose fewer, or raise --max-nodes",
            cluster.by,
            meant.len()
        )));
    }
    Ok(meant)
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

/// The names that are known: those of the inventory, of the cluster where it was asked, and with `--local` this machine.
struct Known<'a> {
    inventory: Option<&'a Inventory>,
    local: Option<&'a Local>,
    /// The inventory's, then those that the cluster alone knows.
    names: Cow<'a, [NodeName]>,
    outside: HashSet<&'a NodeName>,
}

impl<'a> Known<'a> {
    fn new(
        inventory: Option<&'a Inventory>,
        cluster: Option<&'a FromCluster>,
        local: Option<&'a Local>,
    ) -> Option<Self> {
        let known = inventory.map(Roster::names).unwrap_or_default();
        let Some(cluster) = cluster else {
            let inventory = Some(inventory?);
            return Some(Self { inventory, local, names: Cow::Borrowed(known), outside: HashSet::new() });
        };
        let foreign = |name: &&NodeName| !inventory.is_some_and(|inventory| inventory.holds(name));
        let outside: Vec<&NodeName> = cluster.all.iter().map(|placed| &placed.name).filter(foreign).collect();
        let names = known.iter().chain(outside.iter().copied()).cloned().collect();
        Some(Self { inventory, local, names, outside: outside.into_iter().collect() })
    }
}

impl Roster for Known<'_> {
    fn title(&self) -> String {
        let inventory = self.inventory.map(Roster::title);
        match (inventory, self.outside.is_empty()) {
            (Some(inventory), true) => inventory,
            (Some(inventory), false) => format!("{inventory}, with the nodes of the cluster,"),
            (None, _) => "the cluster".to_owned(),
        }
    }

    fn names(&self) -> &[NodeName] {
        &self.names
    }

    fn holds(&self, name: &NodeName) -> bool {
        self.inventory.is_some_and(|inventory| inventory.holds(name))
            || self.outside.contains(name)
            || self.local.is_some_and(|local| local.is_here(name.as_str()))
    }

    fn group(&self, name: &str) -> Result<Vec<NodeName>, InventoryError> {
        match self.inventory {
            Some(inventory) => Roster::group(inventory, name),
            None => Err(InventoryError::Selection(format!("there is no group {name}: groups stand in an inventory"))),
        }
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
