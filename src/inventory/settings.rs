//! Settings of the way to a node, every one optional, and the layers they are merged from.
//!
//! The strongest layer that sets a key wins: pattern, command line, the node's entry, its groups, `[defaults]`,
//! `ssh -G`, built-in values. Which layer it was is kept for `plegcollect nodes`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::target::{AddressFamily, HostKeyMode, Sudo};

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `user@name:port` in a pattern or in a jump list.
    Pattern,
    /// A flag.
    CommandLine,
    /// The node's entry in the inventory.
    Node,
    /// A group of the inventory.
    Group(String),
    /// `[defaults]` of the inventory.
    Defaults,
    /// `ssh -G`.
    SshConfig,
    /// The InternalIP that the API server gives.
    Cluster,
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern => f.write_str("pattern"),
            Self::CommandLine => f.write_str("command line"),
            Self::Node => f.write_str("inventory"),
            Self::Group(name) => write!(f, "inventory group {name}"),
            Self::Defaults => f.write_str("inventory defaults"),
            Self::SshConfig => f.write_str("ssh_config"),
            Self::Cluster => f.write_str("cluster"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Which agent to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// None.
    Off,
    /// The one at `$SSH_AUTH_SOCK`, if that is set.
    Environment,
    /// The one at this socket.
    Socket(PathBuf),
}

/// One server of a jump list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpSpec {
    /// Login name, if given.
    pub user: Option<String>,
    /// Name (of the inventory or of ssh_config) or address.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
}

impl fmt::Display for JumpSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (false, None) => f.write_str(&self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

/// What lies in front of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Nothing; also switches off what a weaker layer says.
    Direct,
    /// These servers, outermost first.
    Jump(Vec<JumpSpec>),
    /// This command, tokens not yet expanded.
    Command(String),
}

/// The settings of one layer. The keys of `[defaults]`, of a group and of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the inventory key of the same name; inventory.example.toml tells them")]
pub struct Settings {
    pub user: Option<String>,
    pub port: Option<u16>,
    pub address_family: Option<AddressFamily>,
    pub bind_address: Option<String>,
    pub identity_files: Option<Vec<PathBuf>>,
    pub certificate_files: Option<Vec<PathBuf>>,
    pub identities_only: Option<bool>,
    pub agent: Option<Agent>,
    pub known_hosts: Option<Vec<PathBuf>>,
    /// Only ssh_config sets it: `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<Vec<PathBuf>>,
    pub host_key: Option<HostKeyMode>,
    pub host_key_alias: Option<String>,
    pub host_keys: Option<Vec<String>>,
    pub connect_timeout: Option<Duration>,
    pub auth_timeout: Option<Duration>,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_max: Option<u32>,
    pub route: Option<Route>,
    pub compression: Option<bool>,
    pub ssh_config: Option<bool>,
    pub sudo: Option<Sudo>,
    pub parallel_steps: Option<usize>,
}

/// Layers, strongest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers<'a>(Vec<(Origin, std::borrow::Cow<'a, Settings>)>);

impl<'a> Layers<'a> {
    pub(crate) fn push(&mut self, origin: Origin, settings: &'a Settings) {
        self.0.push((origin, std::borrow::Cow::Borrowed(settings)));
    }

    pub(crate) fn push_owned(&mut self, origin: Origin, settings: Settings) {
        self.0.push((origin, std::borrow::Cow::Owned(settings)));
    }

    /// Returns these layers with weaker ones behind them.
    pub(crate) fn followed_by(mut self, weaker: Self) -> Self {
        self.0.extend(weaker.0);
        self
    }

    /// Returns the strongest value of a key and where it came from.
    pub(crate) fn find<'s, T>(&'s self, key: impl Fn(&'s Settings) -> Option<T>) -> Option<(T, Origin)> {
        self.0.iter().find_map(|(origin, settings)| key(settings).map(|value| (value, origin.clone())))
    }

    /// Returns the strongest value of a key, or the built-in one.
    pub(crate) fn or<'s, T>(&'s self, key: impl Fn(&'s Settings) -> Option<T>, built_in: T) -> (T, Origin) {
        self.find(key).unwrap_or((built_in, Origin::Default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_layer_wins_key_by_key() {
        let node = Settings { user: Some("n".into()), ..Settings::default() };
        let defaults = Settings { user: Some("d".into()), port: Some(7), ..Settings::default() };
        let mut layers = Layers::default();
        layers.push(Origin::Node, &node);
        layers.push_owned(Origin::Defaults, defaults);
        assert_eq!(layers.find(|s| s.user.as_deref()), Some(("n", Origin::Node)));
        assert_eq!(layers.or(|s| s.port, 22), (7, Origin::Defaults));
        assert_eq!(layers.or(|s| s.keepalive_max, 3), (3, Origin::Default));
    }
}
