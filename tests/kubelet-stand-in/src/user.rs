//! Who asks: bearer tokens and client certificates, and the rights of each user. Tokens are known by their SHA-256 alone,
//! so that no file of a node has one.

use std::fmt::Write;
use std::io;
use std::path::Path;

use aws_lc_rs::digest;

use crate::failed;

/// Somebody the kubelet knows.
#[derive(Debug, Clone)]
pub struct User {
    /// The name, as in the body of a 403.
    pub name: String,
    rules: Vec<String>,
    token: Option<String>,
}

impl User {
    /// Tells whether one of the subresources is allowed.
    pub fn may(&self, verb: &str, needed: &[&str]) -> bool {
        needed.iter().any(|subresource| self.rules.contains(&format!("{verb}:nodes/{subresource}")))
    }

    /// Tells whether a rule such as `list:nodes` or `get:/metrics` is there; `get:/debug/pprof/*` holds for all below.
    pub fn has(&self, verb: &str, what: &str) -> bool {
        let asked = format!("{verb}:{what}");
        self.rules.iter().any(|rule| match rule.strip_suffix('*') {
            Some(root) => asked.starts_with(root),
            None => *rule == asked,
        })
    }

    /// Somebody who has shown nothing.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), rules: Vec::new(), token: None }
    }

    /// Returns the same user without any right.
    pub fn without_rights(&self) -> Self {
        Self { name: self.name.clone(), rules: Vec::new(), token: None }
    }
}

/// How a request says who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing.
    None,
    /// A bearer token.
    Token(&'a str),
    /// The common name in a client certificate of the right CA.
    Certificate(&'a str),
}

/// The users file: a line is `sha256:HEX` of a token or `certificate`, the user, and rules such as
/// `get:nodes/metrics,update:nodes/proxy`; separated by tabs.
#[derive(Debug, Default)]
pub struct Users(Vec<User>);

impl Users {
    /// Reads the file; it is small and read anew for each request.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| failed(path.display(), error))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let users = lines.map(|(number, line)| {
            let mut columns = line.split('\t');
            let (Some(credential), Some(name)) = (columns.next(), columns.next()) else {
                return Err(failed(path.display(), format!("line {}: expected credential, user, rules", number + 1)));
            };
            let rules = columns.next().unwrap_or_default().split(',').filter(|rule| !rule.is_empty());
            Ok(User {
                name: name.to_owned(),
                rules: rules.map(ToOwned::to_owned).collect(),
                token: credential.strip_prefix("sha256:").map(ToOwned::to_owned),
            })
        });
        users.collect::<io::Result<_>>().map(Self)
    }

    /// Returns whom the credential belongs to. A certificate of the right CA makes a user of anybody, though without rights.
    pub fn find(&self, credential: Credential<'_>) -> Option<User> {
        match credential {
            Credential::None => None,
            Credential::Token(token) => {
                let hash = sha256(token.as_bytes());
                self.0.iter().find(|user| user.token.as_ref() == Some(&hash)).cloned()
            }
            Credential::Certificate(name) => {
                let known = self.0.iter().find(|user| user.token.is_none() && user.name == name).cloned();
                Some(known.unwrap_or_else(|| User { name: name.to_owned(), rules: Vec::new(), token: None }))
            }
        }
    }
}

/// Returns the hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
