//! Texts of jump lists and addresses: `[user@]host[:port]`, as `ProxyJump` and the inventory write them.

use super::pattern::{ipv6, parse_port, split_user};
use super::settings::JumpSpec;

impl JumpSpec {
    /// Parses one jump, `[ssh://][user@]host[:port]`. The error is a reason to follow the text.
    ///
    /// # Errors
    /// One sentence naming the part that cannot be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bare = text.strip_prefix("ssh://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let (user, rest) = split_user(bare)?;
        if let Some((host, port)) = ipv6(rest)? {
            return Ok(Self { user, host, port });
        }
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (rest, None),
        };
        check_host(host)?;
        Ok(Self { user, host: host.to_owned(), port })
    }

    /// Parses a comma list of jumps, outermost first.
    ///
    /// # Errors
    /// As [`JumpSpec::parse`], with the jump named.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',')
            .map(|one| Self::parse(one).map_err(|reason| format!("the jump {one:?} cannot be read: {reason}")))
            .collect()
    }
}

/// Checks a host name or IPv4 address that goes to a resolver, or to `ssh` as an argument.
fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is empty".to_owned());
    }
    if host.starts_with(['-', '.']) {
        return Err(format!("the host {host:?} starts with '-' or '.'"));
    }
    match host.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_')) {
        None if host.len() <= 253 => Ok(()),
        None => Err("the host is longer than 253 characters".to_owned()),
        Some(c) => Err(format!("the host {host:?} holds {c:?}, which no host name or address does")),
    }
}

/// Returns an address without brackets: a host name, an IPv4 or an IPv6 address. No port can stand there.
pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    match ipv6(text)? {
        Some((_, Some(_))) => Err("a port does not belong to the address: use the key `port`".to_owned()),
        Some((address, None)) => Ok(address),
        None if text.contains(':') => Err("a port does not belong to the address: use the key `port`".to_owned()),
        None => check_host(text).map(|()| text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_jumps() {
        for (text, want) in [
            ("b", (None, "b", None)),
            ("bob@b:2222", (Some("bob"), "b", Some(2222))),
            (" b ", (None, "b", None)),
            ("ssh://bob@b:22/", (Some("bob"), "b", Some(22))),
            ("ssh://b", (None, "b", None)),
            ("[fe80::1]:22", (None, "fe80::1", Some(22))),
            ("me@[::1]", (Some("me"), "::1", None)),
            ("me@corp@b", (Some("me@corp"), "b", None)),
        ] {
            let jump = JumpSpec::parse(text).unwrap();
            assert_eq!((jump.user.as_deref(), jump.host.as_str(), jump.port), want, "{text}");
        }
        for text in ["", "@b", "b:", "b:0", "-oX", "a b", "b;c", "a/b", "[::1]x", "b:1:2", "me@"] {
            assert!(JumpSpec::parse(text).is_err(), "{text}");
        }
        assert_eq!(JumpSpec::parse_list("a,b@c:1").unwrap().len(), 2);
        assert!(JumpSpec::parse_list("a,,b").is_err());
    }

    #[test]
    fn parses_addresses() {
        for (text, want) in
            [("10.0.0.1", "10.0.0.1"), ("n1.example", "n1.example"), ("[::1]", "::1"), ("FE80::1%eth0", "fe80::1%eth0")]
        {
            assert_eq!(parse_address(text).unwrap(), want);
        }
        for text in ["", "a:22", "[::1]:22", "a b", "-x", "a@b"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
