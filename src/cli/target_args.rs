//! The flags that say which nodes and how to reach them; flattened into the commands.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::error::AppError;
use super::exit;
use crate::credential::read_secret_file;
use crate::inventory::target::{HostKeyMode, Sudo};
use crate::inventory::{Inventory, InventoryError, Overrides, SelectionRequest, Target, wants_stdin};
use crate::session::{Ask, Connector, ConnectorOptions, command};

/// Enough of a key file to tell what it is.
const KEY_HEAD: u64 = 4096;

/// Longest list of names taken from standard input.
const STDIN_LIMIT: u64 = 16 << 20;

/// Which nodes, and how to reach them
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Nodes")]
pub(crate) struct TargetArgs {
    /// Names, patterns such as worker-00[1-9], rack[1-3]n[01-40], db-*, @group, !name to exclude, - for standard input; comma lists, and may be given several times
    #[arg(short, long = "nodes", value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) nodes: Vec<String>,
    /// Inventory file [default: ./inventory.toml, ~/.config/plegcollect/, /etc/plegcollect/]
    #[arg(short, long, value_name = "FILE", env = "PLEGCOLLECT_INVENTORY")]
    pub(crate) inventory: Option<PathBuf>,
    /// SSH configuration to resolve names with, instead of ~/.ssh/config
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Take localhost (or this machine's name) as this machine, without SSH
    #[arg(long)]
    pub(crate) local: bool,
    /// Login name, instead of the inventory's and ssh_config's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// SSH port, instead of the inventory's and ssh_config's
    #[arg(short, long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Private key file; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
    /// Jump hosts in front of the nodes, outermost first: [user@]host[:port],…
    #[arg(short = 'J', long, value_name = "HOSTS")]
    pub(crate) jump: Option<String>,
    /// What to do with a host key that is in no known_hosts file [default: strict]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) host_key: Option<HostKeyFlag>,
    /// known_hosts file instead of the configured ones; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Vec<PathBuf>,
    /// How commands get root's rights [default: auto]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) sudo: Option<SudoFlag>,
    /// File whose first line is the password for sudo (mode 0600)
    #[arg(long, value_name = "FILE", conflicts_with = "ask_sudo_password")]
    pub(crate) sudo_password_file: Option<PathBuf>,
    /// Ask for the password for sudo once, on the terminal
    #[arg(long)]
    pub(crate) ask_sudo_password: bool,
    /// Refuse patterns that expand to more nodes than this [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_nodes: Option<usize>,
    /// Attempts to connect to a node, with growing pauses [default: 3; nodes --check and plan: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) connect_attempts: Option<u32>,
    /// Time for name lookup, TCP, banner and key exchange of one attempt [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Commands at a time on one node, 1 to 8 [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) parallel_steps: Option<u8>,
    /// Never ask anything (cron)
    #[arg(long)]
    pub(crate) batch: bool,
}

/// See [`HostKeyMode`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum HostKeyFlag {
    /// Refuse it
    Strict,
    /// Accept and remember it; changed and revoked keys are still refused
    AcceptNew,
}

/// See [`Sudo`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SudoFlag {
    /// Root needs none; else sudo -n if it works; else none
    Auto,
    /// sudo -n
    Passwordless,
    /// sudo with a password on standard input
    Password,
    /// None
    Never,
}

impl TargetArgs {
    /// Returns what these flags ask for; reads standard input where `-` stands for it.
    ///
    /// # Errors
    /// Exit 2 if standard input cannot be read, exit 3 for a key file named by a flag that is none.
    pub(crate) fn request(&self) -> Result<SelectionRequest, AppError> {
        self.identity.iter().try_for_each(|path| check_key(path))?;
        Ok(SelectionRequest {
            patterns: self.nodes.clone(),
            stdin: self.stdin()?,
            inventory: self.inventory.clone(),
            ssh_config: self.ssh_config.clone(),
            local: self.local,
            overrides: self.overrides(),
            cluster: None,
            max_nodes: self.max_nodes,
        })
    }

    /// Reads the inventory, if there is one.
    ///
    /// # Errors
    /// Exit 3 when it cannot be used.
    pub(crate) fn find_inventory(&self) -> Result<Option<Inventory>, AppError> {
        let unusable = |error: InventoryError| {
            AppError::from_chain(if error.is_usage() { exit::USAGE } else { exit::SETUP }, &error)
        };
        let found = Inventory::find(self.inventory.as_deref()).map_err(unusable)?;
        found.map(|path| Inventory::load(&path, self.max_nodes)).transpose().map_err(unusable)
    }

    /// Returns these flags but for the nodes, as words of a shell, so that another command finds and reaches the same
    /// nodes; paths are absolute.
    pub(crate) fn way(&self) -> String {
        let path = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        let mut words: Vec<String> = Vec::new();
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([name.to_owned(), value]);
            }
        };
        flag("--inventory", self.inventory.as_ref().map(path));
        flag("--ssh-config", self.ssh_config.as_ref().map(path));
        flag("--user", self.user.clone());
        flag("--port", self.port.map(|p| p.to_string()));
        self.identity.iter().for_each(|file| flag("--identity", Some(path(file))));
        flag("--jump", self.jump.clone());
        flag("--host-key", self.host_key.and_then(|m| Some(m.to_possible_value()?.get_name().to_owned())));
        self.known_hosts.iter().for_each(|file| flag("--known-hosts", Some(path(file))));
        flag("--sudo", self.sudo.and_then(|s| Some(s.to_possible_value()?.get_name().to_owned())));
        flag("--sudo-password-file", self.sudo_password_file.as_ref().map(path));
        for (name, given) in [("--local", self.local), ("--ask-sudo-password", self.ask_sudo_password)] {
            if given {
                words.push(name.to_owned());
            }
        }
        command::quote_all(&words)
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            user: self.user.clone(),
            port: self.port,
            identity_files: self.identity.clone(),
            jump: self.jump.iter().flat_map(|j| j.split(',')).map(str::to_owned).collect(),
            host_key: self.host_key.map(|mode| match mode {
                HostKeyFlag::Strict => HostKeyMode::Strict,
                HostKeyFlag::AcceptNew => HostKeyMode::AcceptNew,
            }),
            known_hosts: self.known_hosts.clone(),
            sudo: self.sudo_mode(),
            connect_timeout: self.connect_timeout,
            parallel_steps: self.parallel_steps.map(usize::from),
        }
    }

    fn sudo_mode(&self) -> Option<Sudo> {
        match self.sudo {
            Some(SudoFlag::Auto) => Some(Sudo::Auto),
            Some(SudoFlag::Passwordless) => Some(Sudo::Passwordless),
            Some(SudoFlag::Password) => Some(Sudo::Password),
            Some(SudoFlag::Never) => Some(Sudo::Never),
            None if self.ask_sudo_password || self.sudo_password_file.is_some() => Some(Sudo::Password),
            None => None,
        }
    }

    /// Reads names from standard input where a `-` asks for it.
    fn stdin(&self) -> Result<Option<String>, AppError> {
        if !wants_stdin(&self.nodes) {
            return Ok(None);
        }
        let mut text = String::new();
        std::io::stdin()
            .take(STDIN_LIMIT + 1)
            .read_to_string(&mut text)
            .map_err(|e| AppError::usage(format!("cannot read node names from standard input: {e}")))?;
        if text.len() as u64 > STDIN_LIMIT {
            return Err(AppError::usage("standard input holds more than 16 MiB of node names"));
        }
        Ok(Some(text))
    }

    /// Returns the sudo password, read or asked for once, before anything is contacted.
    ///
    /// # Errors
    /// Exit 3 if the file cannot be read or others may read it; exit 2 if asking is impossible.
    pub(crate) fn sudo_password(&self, targets: &[Target]) -> Result<Option<SecretString>, AppError> {
        if let Some(path) = &self.sudo_password_file {
            return read_secret(path).map(Some);
        }
        // `sudo = "password"` in the inventory wants to be asked, too, where somebody is there to answer.
        let wanted = targets.iter().any(|t| t.sudo == Sudo::Password);
        let can_ask = !self.batch && std::io::stdin().is_terminal();
        if !(self.ask_sudo_password || wanted && can_ask) {
            return Ok(None);
        }
        if self.batch {
            return Err(AppError::usage("--ask-sudo-password cannot be used with --batch")
                .hint("use --sudo-password-file, or allow the commands of `plegcollect plan --sudoers`"));
        }
        rpassword::prompt_password("password for sudo on the nodes: ")
            .map(|text| Some(SecretString::from(text)))
            .map_err(|e| AppError::usage(format!("cannot ask for the sudo password: {e}")))
    }

    /// Returns the connector of the run.
    pub(crate) fn connector(&self, default_attempts: u32) -> Arc<Connector> {
        let batch = self.batch || !std::io::stdin().is_terminal();
        Connector::new(ConnectorOptions {
            attempts: self.connect_attempts.unwrap_or(default_attempts),
            batch,
            ask: (!batch).then(|| -> Ask {
                Arc::new(|prompt: &str| rpassword::prompt_password(prompt).ok().map(SecretString::from))
            }),
            max_backoff: Duration::from_secs(10),
        })
    }
}

/// Of its first line, and whatever follows.
const LONGEST_PASSWORD_FILE: usize = 64 << 10;

/// Refuses a key file that cannot be of use on any node, before any is contacted. Keys of the inventory and of
/// ssh_config are judged at the login, as `ssh` does: one of them may be meant for other nodes.
fn check_key(path: &std::path::Path) -> Result<(), AppError> {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let failed = |e: std::io::Error| {
        AppError::setup(format!("cannot read the key file {shown}: {e}")).hint("name a private key with --identity")
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mut head = zeroize::Zeroizing::new(Vec::with_capacity(4096));
    file.take(KEY_HEAD).read_to_end(&mut head).map_err(failed)?;
    let head = String::from_utf8_lossy(&head);
    // A public key is of use where an agent holds the private one.
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| head.starts_with(kind)) {
        return Ok(());
    }
    if !head.contains("PRIVATE KEY-----") {
        return Err(
            AppError::setup(format!("the key file {shown} holds no key")).hint("name a private key with --identity")
        );
    }
    if meta.mode() & 0o077 != 0 {
        return Err(
            AppError::setup(format!("the key file {shown} may be read by others")).hint(format!("chmod 600 {shown}"))
        );
    }
    Ok(())
}

/// Reads the first line of a file only its owner may read.
fn read_secret(path: &std::path::Path) -> Result<SecretString, AppError> {
    const WHAT: &str = "the sudo password file";
    let shown = path.display();
    let text = read_secret_file(path, WHAT, LONGEST_PASSWORD_FILE).map_err(|e| AppError::setup(e.0))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(AppError::setup(format!("{WHAT} {shown} has no password on its first line"))),
        Ok(line) => Ok(SecretString::from(line)),
        Err(_) => Err(AppError::setup(format!("{WHAT} {shown} holds bytes that are no text"))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "test files need not survive a crash")]

    use super::*;

    #[test]
    fn a_sudo_password_is_the_first_line_of_a_file_of_ours() {
        use secrecy::ExposeSecret;
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let read = |text: &[u8], mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read_secret(&path).map(|password| password.expose_secret().to_owned()).map_err(|e| e.text)
        };
        for good in ["a b", "a b\n", "a b\r\nmore"] {
            assert_eq!(read(good.as_bytes(), 0o600), Ok("a b".to_owned()), "{good:?}");
        }
        for (text, mode, want) in [
            (&b""[..], 0o600, "has no password on its first line"),
            (b"\nlater", 0o600, "has no password on its first line"),
            (b"\xff\xfe", 0o600, "bytes that are no text"),
            (b"secret", 0o644, "may be read by others: chmod 600"),
            (&[b'x'; LONGEST_PASSWORD_FILE + 1], 0o600, "is longer than 64 KiB"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.starts_with("the sudo password file /") && error.contains(want), "{error}");
        }
        assert!(read_secret(dir.path()).unwrap_err().text.contains("sudo password file"));
    }

    #[test]
    fn the_way_to_the_nodes_can_be_given_to_another_command() {
        use clap::Parser;

        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            target: TargetArgs,
        }
        let parse = |line: &str| Only::try_parse_from(line.split_whitespace()).unwrap().target;
        let target = parse(
            "x --nodes a,b --inventory /etc/it's.toml --user kim --port 2222 --jump b1,b2 --host-key accept-new \
             --identity /k1 --identity /k2 --sudo passwordless --local --batch --parallel-steps 2",
        );
        assert_eq!(
            target.way(),
            r"--inventory '/etc/it'\''s.toml' --user kim --port 2222 --identity /k1 --identity /k2 --jump b1,b2 --host-key accept-new --sudo passwordless --local"
        );
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse("x -i own.toml").way(), format!("--inventory {}/own.toml", here.display()));
        assert_eq!(TargetArgs::default().way(), "");
    }
}
