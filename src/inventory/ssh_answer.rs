//! The answer of `ssh -G`, and the settings it stands for.
//!
//! Values equal to OpenSSH's built-in ones are dropped: they are indistinguishable from nothing said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::jump::parse_address;
use super::local::Local;
use super::settings::{Agent, JumpSpec, Route, Settings};
use super::target::{AddressFamily, HostKeyMode};
use super::tokens::Tokens;

/// What `ssh -G` printed, as far as it is followed here. Tokens are not yet expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `HostName`, or the name asked for.
    pub(crate) hostname: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) host_key_alias: Option<String>,
    identity_files: Vec<String>,
    certificate_files: Vec<String>,
    identities_only: bool,
    identity_agent: Option<String>,
    user_known_hosts: Option<String>,
    global_known_hosts: Option<String>,
    strict: Option<String>,
    proxy_jump: Option<String>,
    proxy_command: Option<String>,
    connect_timeout: Option<u64>,
    alive_interval: Option<u64>,
    alive_max: Option<u32>,
    address_family: Option<AddressFamily>,
    bind_address: Option<String>,
    compression: bool,
    known_hosts_command: bool,
}

pub(crate) fn parse(text: &str) -> Answer {
    let mut answer = Answer::default();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if value.is_empty() {
            continue;
        }
        let text = || Some(value.to_owned());
        let unless_none = || (value != "none").then(|| value.to_owned());
        let yes = matches!(value, "yes" | "true");
        match key.to_ascii_lowercase().as_str() {
            "hostname" => answer.hostname = text(),
            "user" => answer.user = text(),
            "port" => answer.port = value.parse().ok(),
            "hostkeyalias" => answer.host_key_alias = unless_none(),
            "identityfile" => answer.identity_files.push(value.to_owned()),
            "certificatefile" => answer.certificate_files.push(value.to_owned()),
            "identitiesonly" => answer.identities_only = yes,
            "identityagent" => answer.identity_agent = text(),
            "userknownhostsfile" => answer.user_known_hosts = text(),
            "globalknownhostsfile" => answer.global_known_hosts = text(),
            "stricthostkeychecking" => answer.strict = text(),
            "proxyjump" => answer.proxy_jump = unless_none(),
            "proxycommand" => answer.proxy_command = unless_none(),
            "connecttimeout" => answer.connect_timeout = value.parse().ok().filter(|seconds| *seconds > 0),
            "serveraliveinterval" => answer.alive_interval = value.parse().ok().filter(|seconds| *seconds > 0),
            "serveralivecountmax" => answer.alive_max = value.parse().ok().filter(|count| *count != 3),
            "addressfamily" => {
                answer.address_family = match value {
                    "inet" => Some(AddressFamily::Inet),
                    "inet6" => Some(AddressFamily::Inet6),
                    _ => None,
                }
            }
            "bindaddress" => answer.bind_address = unless_none(),
            "compression" => answer.compression = yes,
            "knownhostscommand" => answer.known_hosts_command = value != "none",
            _ => {}
        }
    }
    answer
}

impl Answer {
    /// Returns the login name unless it is the local one, which `ssh -G` prints where nothing is said. So a
    /// `User` that spells out the local name gives way to `[defaults]` on jumps outside the inventory.
    pub(crate) fn explicit_user(&self, local: &Local) -> Option<String> {
        self.user.clone().filter(|user| local.user.as_ref() != Some(user))
    }

    /// Returns the port unless it is 22.
    pub(crate) fn explicit_port(&self) -> Option<u16> {
        self.port.filter(|port| *port != 22)
    }

    /// Returns the settings, tokens expanded; what cannot be followed becomes a warning.
    ///
    /// # Errors
    /// The way to the host cannot be read.
    pub(crate) fn settings(&self, tokens: &Tokens<'_>, warn: &mut Vec<String>) -> Result<Settings, String> {
        let strict = self.strict.as_deref().unwrap_or("ask");
        if matches!(strict, "no" | "off" | "false") {
            warn.push(
                "StrictHostKeyChecking no in ssh_config is not followed, unknown host keys are refused: \
                 use --host-key accept-new, or pin them in the inventory"
                    .to_owned(),
            );
        }
        if self.known_hosts_command {
            warn.push("KnownHostsCommand in ssh_config is not supported: only known_hosts files are read".to_owned());
        }
        let mut paths = |list: &[String]| -> Vec<PathBuf> {
            let mut expanded = Vec::new();
            for path in list.iter().filter(|path| *path != "none") {
                match tokens.path(path) {
                    Ok(path) => expanded.push(path),
                    Err(reason) => warn.push(format!("a path in ssh_config is left out: {reason}")),
                }
            }
            expanded
        };
        let identity_files = (!is_default_identities(&self.identity_files)).then(|| paths(&self.identity_files));
        let certificate_files = (!self.certificate_files.is_empty()).then(|| paths(&self.certificate_files));
        let agent = match self.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => None,
            Some("none") => Some(Agent::Off),
            // A variable that holds the path.
            Some(name) if name.starts_with('$') && !name.starts_with("${") => Some(
                std::env::var_os(name.trim_start_matches('$'))
                    .map_or(Agent::Off, |socket| Agent::Socket(socket.into())),
            ),
            Some(path) => paths(&[path.to_owned()]).pop().map(Agent::Socket),
        };
        let mut files = |list: &Option<String>| list.as_deref().map(|list| paths(&split_files(list, Path::exists)));
        let user_default = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"].map(|path| tokens.local.expand_tilde(path));
        let global_default = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        Ok(Settings {
            user: self.explicit_user(tokens.local),
            port: self.explicit_port(),
            address_family: self.address_family,
            bind_address: self.bind_address.as_deref().and_then(|address| parse_address(address).ok()),
            identity_files,
            certificate_files,
            identities_only: self.identities_only.then_some(true),
            agent,
            known_hosts: files(&self.user_known_hosts).filter(|list| *list != user_default),
            global_known_hosts: files(&self.global_known_hosts).filter(|list| *list != global_default),
            host_key: match strict {
                "ask" => None,
                "accept-new" => Some(HostKeyMode::AcceptNew),
                _ => Some(HostKeyMode::Strict),
            },
            host_key_alias: self.host_key_alias.clone(),
            connect_timeout: self.connect_timeout.map(Duration::from_secs),
            keepalive_interval: self.alive_interval.map(Duration::from_secs),
            keepalive_max: self.alive_max,
            route: self.route(tokens)?,
            compression: self.compression.then_some(true),
            ..Settings::default()
        })
    }

    fn route(&self, tokens: &Tokens<'_>) -> Result<Option<Route>, String> {
        if let Some(jump) = &self.proxy_jump {
            return JumpSpec::parse_list(&tokens.command(jump)?).map(|jumps| Some(Route::Jump(jumps)));
        }
        Ok(self.proxy_command.clone().map(Route::Command))
    }
}

/// Where `IdentityFile` says nothing, `ssh -G` lists all the names it would try.
fn is_default_identities(files: &[String]) -> bool {
    files.is_empty() || (files.len() > 2 && files.iter().all(|file| file.starts_with("~/.ssh/id_")))
}

/// Splits a list of files that `ssh -G` joined by blanks without quoting. A blank belongs to a name
/// where the joined name exists, or where what follows does not look like a path.
fn split_files(list: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for word in list.split(' ') {
        match files.last_mut() {
            Some(last) if exists(Path::new(&format!("{last} {word}"))) => {
                last.push(' ');
                last.push_str(word);
            }
            Some(last) if last.starts_with(['/', '~']) && !word.starts_with(['/', '~']) && !exists(Path::new(word)) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => files.push(word.to_owned()),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_joined_names() {
        for (list, want) in [
            ("/a /b", vec!["/a", "/b"]),
            ("/a b/c /d", vec!["/a b/c", "/d"]),
            ("/has space /x", vec!["/has space /x"]),
            ("kh1 kh2", vec!["kh1", "kh2"]),
            ("none", vec!["none"]),
        ] {
            assert_eq!(split_files(list, |p| p == Path::new("/has space /x")), want, "{list}");
        }
    }

    #[test]
    fn defaults_of_ssh_count_as_nothing_said() {
        let local = Local::example();
        let answer = parse(
            "user me\nhostname n1\nport 22\naddressfamily any\ncompression no\nidentitiesonly no\nserveralivecountmax 3\n\
             serveraliveinterval 0\nstricthostkeychecking ask\nidentityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\n\
             identityfile ~/.ssh/id_ed25519\nglobalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n\
             userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2\nconnecttimeout none\nproxyjump none\n",
        );
        let tokens = Tokens { host: "n1", name: "n1", port: 22, user: "me", host_key_alias: None, local: &local };
        let mut warnings = Vec::new();
        assert_eq!(answer.settings(&tokens, &mut warnings).unwrap(), Settings::default());
        assert!(warnings.is_empty());
    }

    #[test]
    fn says_what_is_not_followed() {
        let local = Local::example();
        let tokens = Tokens { host: "n1", name: "n1", port: 22, user: "me", host_key_alias: None, local: &local };
        let mut warnings = Vec::new();
        let answer = parse(
            "stricthostkeychecking false\nknownhostscommand /bin/x\nidentityfile /k/%C\nidentityagent $PLEG_UNSET\n",
        );
        let settings = answer.settings(&tokens, &mut warnings).unwrap();
        assert_eq!(settings.host_key, Some(HostKeyMode::Strict));
        assert_eq!(settings.agent, Some(Agent::Off));
        assert_eq!(settings.identity_files, Some(vec![]));
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }
}
