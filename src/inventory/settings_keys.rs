//! The keys that `[defaults]`, groups and nodes share, read from the inventory.

use std::path::{Path, PathBuf};

use super::document::{Entry, Section};
use super::error::InventoryError;
use super::jump::parse_address;
use super::local::Local;
use super::pattern::check_user;
use super::settings::{Agent, JumpSpec, Route, Settings};
use super::target::{AddressFamily, HostKeyMode, Sudo};

/// Reads the shared keys of a table. The caller calls `finish` once it has read its own.
pub(crate) fn read_settings(section: &Section<'_>, base: &Path, local: &Local) -> Result<Settings, InventoryError> {
    let bool = |key: &'static str| section.get(key).map(|e| e.bool()).transpose();
    let duration = |key: &'static str| section.get(key).map(|e| e.duration()).transpose();
    let integer = |key: &'static str, to: u64| section.get(key).map(|e| e.integer(1..to + 1)).transpose();
    let paths = |key: &'static str| -> Result<Option<Vec<PathBuf>>, InventoryError> {
        let Some(list) = section.get(key) else { return Ok(None) };
        let entries = list.strings("a path")?;
        entries.iter().map(|e| e.string("a path").map(|p| local.resolve(base, p))).collect::<Result<_, _>>().map(Some)
    };
    Ok(Settings {
        user: section.get("user").map(|e| user(&e)).transpose()?,
        port: integer("port", u64::from(u16::MAX))?.and_then(|n| u16::try_from(n).ok()),
        address_family: section.get("address-family").map(|e| e.one_of(&FAMILIES)).transpose()?,
        bind_address: section
            .get("bind-address")
            .map(|e| parse_address(e.string("an address of this machine")?).map_err(|reason| e.fail(&reason)))
            .transpose()?,
        identity_files: paths("identity-files")?,
        certificate_files: paths("certificate-files")?,
        identities_only: bool("identities-only")?,
        agent: section.get("agent").map(|e| agent(&e, base, local)).transpose()?,
        known_hosts: paths("known-hosts")?,
        global_known_hosts: None,
        host_key: section.get("host-key").map(|e| e.one_of(&HOST_KEY_MODES)).transpose()?,
        host_key_alias: section
            .get("host-key-alias")
            .map(|e| parse_address(e.string("a name to look up in known_hosts")?).map_err(|reason| e.fail(&reason)))
            .transpose()?,
        host_keys: section.get("host-keys").map(|e| pins(&e)).transpose()?,
        connect_timeout: duration("connect-timeout")?,
        auth_timeout: duration("auth-timeout")?,
        keepalive_interval: duration("keepalive-interval")?,
        keepalive_max: integer("keepalive-max", 1000)?.and_then(|n| u32::try_from(n).ok()),
        route: route(section)?,
        compression: bool("compression")?,
        ssh_config: bool("ssh-config")?,
        sudo: section.get("sudo").map(|e| e.one_of(&SUDO)).transpose()?,
        parallel_steps: integer("parallel-steps", 8)?.and_then(|n| usize::try_from(n).ok()),
    })
}

const FAMILIES: [(&str, AddressFamily); 3] =
    [("any", AddressFamily::Any), ("inet", AddressFamily::Inet), ("inet6", AddressFamily::Inet6)];
const HOST_KEY_MODES: [(&str, HostKeyMode); 2] =
    [("strict", HostKeyMode::Strict), ("accept-new", HostKeyMode::AcceptNew)];
const SUDO: [(&str, Sudo); 4] =
    [("auto", Sudo::Auto), ("passwordless", Sudo::Passwordless), ("password", Sudo::Password), ("never", Sudo::Never)];

fn user(entry: &Entry<'_>) -> Result<String, InventoryError> {
    let user = entry.string("a login name")?;
    check_user(user).map_err(|reason| entry.fail(&reason))?;
    Ok(user.to_owned())
}

fn agent(entry: &Entry<'_>, base: &Path, local: &Local) -> Result<Agent, InventoryError> {
    match entry.as_bool() {
        Some(true) => Ok(Agent::Environment),
        Some(false) => Ok(Agent::Off),
        None => Ok(Agent::Socket(local.resolve(base, entry.string("true, false or the path of a socket")?))),
    }
}

fn pins(entry: &Entry<'_>) -> Result<Vec<String>, InventoryError> {
    let what = "a fingerprint such as \"SHA256:…\", as ssh-keygen -lf prints it";
    let mut pins = Vec::new();
    for pin in entry.strings(what)? {
        let text = pin.string(what)?;
        // 32 bytes in base64 without padding.
        let hash = text.strip_prefix("SHA256:").map(|h| h.trim_end_matches('=')).unwrap_or_default();
        if hash.len() != 43 || !hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
            return Err(pin.fail(&format!("expected {what}, got {text:?}")));
        }
        pins.push(format!("SHA256:{hash}"));
    }
    if pins.is_empty() {
        return Err(entry.fail("the list is empty, so no key would ever be right: leave the key out or add one"));
    }
    Ok(pins)
}

/// `jump` and `proxy-command` are two ways to say the same thing, so one of them at most.
fn route(section: &Section<'_>) -> Result<Option<Route>, InventoryError> {
    let (jump, command) = (section.get("jump"), section.get("proxy-command"));
    if let (Some(_), Some(command)) = (&jump, &command) {
        return Err(command.fail("`jump` is set as well, and a node has one way to it: remove one of the two"));
    }
    if let Some(command) = command {
        let text = command.string("a command, or \"none\"")?;
        return Ok(Some(if text == "none" { Route::Direct } else { Route::Command(text.to_owned()) }));
    }
    let Some(jump) = jump else { return Ok(None) };
    let entries = jump.strings("a jump such as \"bastion-001\" or \"user@host:22\", or \"none\"")?;
    let mut jumps = Vec::new();
    for entry in &entries {
        let text = entry.string("a jump")?;
        if text == "none" && entries.len() == 1 {
            break;
        }
        jumps.extend(JumpSpec::parse_list(text).map_err(|reason| entry.fail(&reason))?);
    }
    Ok(Some(if jumps.is_empty() { Route::Direct } else { Route::Jump(jumps) }))
}
