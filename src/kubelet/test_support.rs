//! Targets and facts for the tests of this module.

use std::time::Duration;

use crate::inventory::Target;
use crate::inventory::target::{
    AddressFamily, Credentials, Endpoint, Hop, HostKeyMode, HostKeyPolicy, Proxy, Reach, Sudo,
};
use crate::plan::facts::{Daemon, NodeFacts};

/// Returns a node that is reached at `host`, or locally.
pub(super) fn target(name: &str, host: Option<&str>) -> Target {
    let hop = |host: &str| Hop {
        endpoint: Endpoint { host: host.to_owned(), port: 22 },
        user: "root".to_owned(),
        credentials: Credentials {
            identity_files: Vec::new(),
            certificate_files: Vec::new(),
            identities_only: true,
            agent_socket: None,
        },
        host_key: HostKeyPolicy { mode: HostKeyMode::Strict, known_hosts: Vec::new(), alias: None, pinned: Vec::new() },
        connect_timeout: Duration::from_secs(20),
        auth_timeout: Duration::from_secs(20),
        keepalive_interval: Duration::from_secs(15),
        keepalive_max: 3,
        address_family: AddressFamily::Any,
        bind_address: None,
        compression: false,
    };
    Target {
        name: name.parse().unwrap(),
        reach: host.map_or(Reach::Local, |host| Reach::Ssh { hop: Box::new(hop(host)), proxy: Proxy::Direct }),
        sudo: Sudo::Auto,
        parallel_steps: 8,
        groups: Vec::new(),
    }
}

/// Returns facts of a node whose kubelet has this command line.
pub(super) fn facts_with(cmdline: &[&str]) -> NodeFacts {
    let cmdline = cmdline.iter().map(|w| (*w).to_owned()).collect();
    NodeFacts { kubelet: Some(Daemon { cmdline, ..Daemon::default() }), ..NodeFacts::default() }
}
