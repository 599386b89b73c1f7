//! From a name to a target: merges the layers, asks `ssh -G`, builds the hops in front.
//!
//! A server that only serves as a jump is treated as `ssh` treats it: flags for the node (`--user`, `--port`) do not
//! concern it. If the inventory holds it, its entry counts; else ssh_config counts before `[defaults]`, because those
//! are written with nodes in mind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::error::InventoryError;
use super::fold::fold;
use super::local::Local;
use super::names::Chosen;
use super::schema::Inventory;
use super::settings::{Agent, Layers, Origin, Route, Settings};
use super::ssh_config::{Query, SshConfig};
use super::target::{
    AddressFamily, Credentials, Endpoint, Hop, HostKeyMode, HostKeyPolicy, NodeName, Reach, Sudo, Target,
};
use super::tokens::Tokens;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No budget is longer, so that points in time can be reckoned.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const AUTH_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: u32 = 3;
/// Half of sshd's `MaxSessions`, so that the operator's own logins still fit beside us.
const PARALLEL_STEPS: usize = 4;

/// Which layer decided what, for `plegcollect nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the origin of the target's field of that name")]
pub struct Provenance {
    pub user: Origin,
    pub address: Origin,
    pub port: Origin,
    pub identity_files: Origin,
    pub known_hosts: Origin,
    pub host_key: Origin,
    pub route: Origin,
    pub sudo: Origin,
}

/// Makes targets out of names.
pub(crate) struct Resolver<'a> {
    pub(crate) inventory: Option<&'a Inventory>,
    /// The flags.
    pub(crate) flags: Settings,
    /// `--local`: names of this machine need no SSH.
    pub(crate) local_allowed: bool,
    pub(crate) local: Local,
    pub(crate) ssh: SshConfig,
    /// InternalIP of nodes that a cluster knows and the inventory does not.
    pub(crate) in_cluster: BTreeMap<NodeName, String>,
    /// Text to the nodes it concerns.
    pub(crate) warnings: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

/// A server to resolve.
pub(super) struct Server<'a> {
    pub(super) name: &'a str,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) address: Option<String>,
    pub(super) jump: bool,
    /// It is reached through the jump before it, whatever its own settings say.
    pub(super) routed: bool,
}

/// A server resolved.
pub(super) struct Resolved<'a> {
    pub(super) hop: Hop,
    pub(super) layers: Layers<'a>,
    user: Origin,
    port: Origin,
    address: Origin,
}

impl<'a> Resolver<'a> {
    /// Resolves one node.
    ///
    /// # Errors
    /// ssh_config is refused by `ssh`, or the way to the node makes no sense.
    pub(crate) async fn target(&self, chosen: &Chosen) -> Result<(Target, Provenance), InventoryError> {
        let name = chosen.name.as_str();
        let groups = self.groups(name);
        if self.local_allowed && self.local.is_here(name) {
            return Ok(self.here(chosen, groups));
        }
        let server = Server {
            name,
            user: chosen.user.clone(),
            port: chosen.port,
            address: chosen.address.clone(),
            jump: false,
            routed: false,
        };
        let Resolved { hop, layers, user, port, address } = self.server(server).await?;
        let (route, route_origin) = layers.or(|s| s.route.as_ref(), &Route::Direct);
        let proxy = self.proxy(chosen.address.as_deref().unwrap_or(name), &hop, route).await?;
        let (sudo, sudo_origin) = layers.or(|s| s.sudo, Sudo::Auto);
        let provenance = Provenance {
            user,
            address,
            port,
            identity_files: layers.or(|s| s.identity_files.as_ref().map(|_| ()), ()).1,
            known_hosts: layers.or(|s| s.known_hosts.as_ref().map(|_| ()), ()).1,
            host_key: layers.or(|s| s.host_key, HostKeyMode::Strict).1,
            route: route_origin,
            sudo: sudo_origin,
        };
        let parallel_steps = layers.or(|s| s.parallel_steps, PARALLEL_STEPS).0;
        let reach = Reach::Ssh { hop: Box::new(hop), proxy };
        Ok((Target { name: chosen.name.clone(), reach, sudo, parallel_steps, groups }, provenance))
    }

    fn here(&self, chosen: &Chosen, groups: Vec<String>) -> (Target, Provenance) {
        let (before, after) = self.layers(&Server {
            name: chosen.name.as_str(),
            user: None,
            port: None,
            address: None,
            jump: false,
            routed: false,
        });
        let layers = before.followed_by(after);
        let (sudo, sudo_origin) = layers.or(|s| s.sudo, Sudo::Auto);
        let parallel_steps = layers.or(|s| s.parallel_steps, PARALLEL_STEPS).0;
        let flag = || Origin::CommandLine;
        let provenance = Provenance {
            user: Origin::Default,
            address: flag(),
            port: Origin::Default,
            identity_files: Origin::Default,
            known_hosts: Origin::Default,
            host_key: Origin::Default,
            route: flag(),
            sudo: sudo_origin,
        };
        (Target { name: chosen.name.clone(), reach: Reach::Local, sudo, parallel_steps, groups }, provenance)
    }

    fn groups(&self, name: &str) -> Vec<String> {
        let node = name.parse::<NodeName>().ok().and_then(|name| self.inventory?.node(&name));
        node.map(|node| node.groups.clone()).unwrap_or_default()
    }

    /// Returns the layers that are stronger than ssh_config, and those that are weaker.
    fn layers(&self, server: &Server<'_>) -> (Layers<'a>, Layers<'a>) {
        let (mut before, mut after) = (Layers::default(), Layers::default());
        before.push_owned(
            Origin::Pattern,
            Settings { user: server.user.clone(), port: server.port, ..Settings::default() },
        );
        let flags = if server.jump {
            Settings {
                host_key: self.flags.host_key,
                known_hosts: self.flags.known_hosts.clone(),
                connect_timeout: self.flags.connect_timeout,
                ..Settings::default()
            }
        } else {
            self.flags.clone()
        };
        before.push_owned(Origin::CommandLine, flags);
        let Some(inventory) = self.inventory else { return (before, after) };
        let node = server.name.parse::<NodeName>().ok().and_then(|name| inventory.node(&name));
        if let Some(node) = node {
            before.push(Origin::Node, &node.settings);
            for group in inventory.groups.iter().filter(|group| node.groups.contains(&group.name)) {
                before.push(Origin::Group(group.name.clone()), &group.settings);
            }
        }
        if !server.jump {
            before.push(Origin::Defaults, &inventory.defaults);
            return (before, after);
        }
        // What [defaults] put in front of every node is not in front of the jump itself.
        let mut defaults =
            Settings { route: None, host_key_alias: None, host_keys: None, ..inventory.defaults.clone() };
        if node.is_some() {
            before.push_owned(Origin::Defaults, defaults);
        } else {
            defaults.port = None;
            after.push_owned(Origin::Defaults, defaults);
        }
        (before, after)
    }

    pub(super) async fn server(&self, server: Server<'_>) -> Result<Resolved<'a>, InventoryError> {
        let (before, after) = self.layers(&server);
        let node = server.name.parse::<NodeName>().ok().and_then(|name| self.inventory?.node(&name));
        let address = match (&server.address, node.and_then(|node| node.address.clone())) {
            (Some(address), _) => Some((address.clone(), Origin::Pattern)),
            (None, Some(address)) => Some((address, Origin::Node)),
            (None, None) => None,
        };
        let wanted = before.find(|s| s.ssh_config).or_else(|| after.find(|s| s.ssh_config)).is_none_or(|(yes, _)| yes);
        // The derived name of an address means nothing to ssh_config.
        let asked = server.address.as_deref().unwrap_or(server.name);
        let answer = if wanted {
            let query = Query {
                name: asked.to_owned(),
                user: before.find(|s| s.user.clone()).map(|(user, _)| user),
                port: before.find(|s| s.port).map(|(port, _)| port),
                address: node.and_then(|node| node.address.clone()),
                routed: server.routed || before.find(|s| s.route.as_ref()).is_some(),
            };
            self.ssh.ask(&query).await?
        } else {
            None
        };
        let answer = answer.as_deref();
        let said = |origin| move |value| (value, origin);
        let (user, user_origin) = before
            .find(|s| s.user.clone())
            .or_else(|| answer?.explicit_user(&self.local).map(said(Origin::SshConfig)))
            .or_else(|| after.find(|s| s.user.clone()))
            .or_else(|| self.local.user.clone().map(said(Origin::Default)))
            .ok_or_else(|| {
                route_error(server.name, "no login name is known: set user in the inventory, or give --user")
            })?;
        let (port, port_origin) = before
            .find(|s| s.port)
            .or_else(|| answer?.explicit_port().map(|port| (port, Origin::SshConfig)))
            .unwrap_or((22, Origin::Default));
        let hostname = answer.and_then(|a| a.hostname.clone()).filter(|host| !host.eq_ignore_ascii_case(server.name));
        let (host, host_origin) = address
            .or_else(|| hostname.map(said(Origin::SshConfig)))
            .or_else(|| {
                let name = server.name.parse::<NodeName>().ok().filter(|_| !server.jump)?;
                self.in_cluster.get(&name).cloned().map(said(Origin::Cluster))
            })
            .unwrap_or_else(|| (server.name.to_owned(), Origin::Default));
        let mut layers = before;
        if let Some(answer) = answer {
            let host_key_alias = answer.host_key_alias.as_deref();
            let tokens = Tokens { host: &host, name: asked, port, user: &user, host_key_alias, local: &self.local };
            let mut warnings = Vec::new();
            let settings =
                answer.settings(&tokens, &mut warnings).map_err(|reason| route_error(server.name, &reason))?;
            for warning in warnings {
                self.warn(warning, server.name);
            }
            layers.push_owned(Origin::SshConfig, settings);
        }
        let layers = layers.followed_by(after);
        let hop = self.hop(&layers, Endpoint { host, port }, user, server.jump);
        Ok(Resolved { hop, layers, user: user_origin, port: port_origin, address: host_origin })
    }

    fn hop(&self, layers: &Layers<'_>, endpoint: Endpoint, user: String, jump: bool) -> Hop {
        let home =
            |paths: &[&str]| -> Vec<PathBuf> { paths.iter().map(|path| self.local.expand_tilde(path)).collect() };
        let mut identity_files = layers
            .find(|s| s.identity_files.clone())
            .map_or_else(|| home(&["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"]), |(files, _)| files);
        if jump {
            // The key of --identity is tried on jumps as well, after their own.
            for file in self.flags.identity_files.iter().flatten() {
                if !identity_files.contains(file) {
                    identity_files.push(file.clone());
                }
            }
        }
        let mut known_hosts = layers
            .find(|s| s.known_hosts.clone())
            .map_or_else(|| home(&["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]), |(files, _)| files);
        known_hosts.extend(
            layers
                .find(|s| s.global_known_hosts.clone())
                .map_or_else(|| home(&["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]), |(files, _)| files),
        );
        Hop {
            endpoint,
            user,
            credentials: Credentials {
                identity_files,
                certificate_files: layers.or(|s| s.certificate_files.clone(), Vec::new()).0,
                identities_only: layers.or(|s| s.identities_only, false).0,
                agent_socket: match layers.or(|s| s.agent.clone(), Agent::Environment).0 {
                    Agent::Off => None,
                    Agent::Environment => self.local.agent_socket.clone(),
                    Agent::Socket(path) => Some(path),
                },
            },
            host_key: HostKeyPolicy {
                mode: layers.or(|s| s.host_key, HostKeyMode::Strict).0,
                known_hosts,
                alias: layers.find(|s| s.host_key_alias.clone()).map(|(alias, _)| alias),
                pinned: layers.or(|s| s.host_keys.clone(), Vec::new()).0,
            },
            connect_timeout: layers.or(|s| s.connect_timeout, CONNECT_TIMEOUT).0.min(LONGEST),
            auth_timeout: layers.or(|s| s.auth_timeout, AUTH_TIMEOUT).0.min(LONGEST),
            keepalive_interval: layers.or(|s| s.keepalive_interval, KEEPALIVE_INTERVAL).0,
            keepalive_max: layers.or(|s| s.keepalive_max, KEEPALIVE_MAX).0,
            address_family: layers.or(|s| s.address_family, AddressFamily::Any).0,
            bind_address: layers.find(|s| s.bind_address.clone()).map(|(address, _)| address),
            compression: layers.or(|s| s.compression, false).0,
        }
    }

    pub(super) fn warn(&self, text: String, node: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.entry(text).or_default().insert(node.to_owned());
    }

    /// Takes all warnings, one sentence each, the nodes folded.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let mut all = self.ssh.take_warnings();
        let by_text = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        for (text, nodes) in by_text {
            let names: Vec<NodeName> = nodes.iter().filter_map(|name| name.parse().ok()).collect();
            all.push(if names.is_empty() { text } else { format!("{}: {text}", fold(&names)) });
        }
        all
    }
}

pub(super) fn route_error(name: &str, reason: &str) -> InventoryError {
    InventoryError::Route(format!("the way to {name} cannot be made out: {reason}"))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
