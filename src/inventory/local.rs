//! What is known of the machine and the user we run as, found the way `ssh` finds it: in the password
//! database first, in the environment only if that says nothing.

use std::path::{Path, PathBuf};

/// The local user and machine.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    /// Login name; `None` if neither the password database nor the environment knows it.
    pub(crate) user: Option<String>,
    /// Home directory.
    pub(crate) home: Option<PathBuf>,
    /// Numeric user id.
    pub(crate) uid: u32,
    /// Host name, perhaps with its domain.
    pub(crate) hostname: String,
    /// `$SSH_AUTH_SOCK`.
    pub(crate) agent_socket: Option<PathBuf>,
}

impl Local {
    pub(crate) fn detect() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let entry = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid));
        let field =
            |nth: usize| entry.as_ref().and_then(|e| e.get(nth)).filter(|f| !f.is_empty()).map(|f| (*f).to_owned());
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            user: field(0).or_else(|| variable("USER")).or_else(|| variable("LOGNAME")),
            home: field(5).map(PathBuf::from).or_else(std::env::home_dir),
            uid,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            agent_socket: variable("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    /// Returns whether a name means this machine: `localhost` or its own host name, with or without domain.
    pub(crate) fn is_here(&self, name: &str) -> bool {
        let short = self.hostname.split('.').next().unwrap_or_default();
        [self.hostname.as_str(), short, "localhost"].iter().any(|own| !own.is_empty() && own.eq_ignore_ascii_case(name))
    }

    /// Returns `path` with a leading `~` or `~user` replaced; unchanged where that home directory is not known.
    pub(crate) fn expand_tilde(&self, path: &str) -> PathBuf {
        let Some(rest) = path.strip_prefix('~') else { return PathBuf::from(path) };
        let (user, below) = rest.split_once('/').map_or((rest, ""), |(user, below)| (user, below));
        let home =
            if user.is_empty() || Some(user) == self.user.as_deref() { self.home.clone() } else { home_of(user) };
        home.map_or_else(|| PathBuf::from(path), |home| if below.is_empty() { home } else { home.join(below) })
    }

    /// Returns a path of the inventory: `~` replaced, relative ones from the directory `base`.
    pub(crate) fn resolve(&self, base: &Path, path: &str) -> PathBuf {
        base.join(self.expand_tilde(path))
    }
}

fn home_of(user: &str) -> Option<PathBuf> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
impl Local {
    /// A machine that is the same everywhere.
    pub(crate) fn example() -> Self {
        Self {
            user: Some("me".into()),
            home: Some("/home/me".into()),
            uid: 1000,
            hostname: "laptop.example.org".into(),
            agent_socket: Some("/tmp/agent".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_tildes_and_relative_paths() {
        let local = Local::example();
        for (path, want) in [
            ("~/.ssh/id", "/home/me/.ssh/id"),
            ("~", "/home/me"),
            ("~me/x", "/home/me/x"),
            ("~root/x", "/root/x"),
            ("~no-such-user-here/x", "/etc/inv/~no-such-user-here/x"),
            ("keys/a", "/etc/inv/keys/a"),
            ("/abs", "/abs"),
        ] {
            assert_eq!(local.resolve(Path::new("/etc/inv"), path), PathBuf::from(want), "{path}");
        }
        assert!(local.is_here("localhost") && local.is_here("laptop") && local.is_here("LAPTOP.example.org"));
        assert!(!local.is_here("example.org") && !local.is_here("worker-001"));
    }
}
