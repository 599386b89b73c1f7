//! What `ssh -G` leaves unexpanded: `%` tokens, `${VARIABLE}` and `~` in paths and commands.

use std::path::PathBuf;

use super::local::Local;

/// The values behind the tokens, for one host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens<'a> {
    /// `%h`: the host connected to.
    pub(crate) host: &'a str,
    /// `%n`: the name asked for.
    pub(crate) name: &'a str,
    /// `%p`.
    pub(crate) port: u16,
    /// `%r`: the login name there.
    pub(crate) user: &'a str,
    /// `%k`, if `HostKeyAlias` sets it; else the name asked for.
    pub(crate) host_key_alias: Option<&'a str>,
    pub(crate) local: &'a Local,
}

impl Tokens<'_> {
    /// Expands the tokens of `ProxyCommand` and `ProxyJump`: `%%`, `%h`, `%n`, `%p`, `%r`.
    pub(crate) fn command(&self, text: &str) -> Result<String, String> {
        expand(text, |token| match token {
            'h' => Some(self.host.to_owned()),
            'n' => Some(self.name.to_owned()),
            'p' => Some(self.port.to_string()),
            'r' => Some(self.user.to_owned()),
            _ => None,
        })
    }

    /// Expands a path: tokens, `${VARIABLE}`, then `~`.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = variables(text)?;
        let text = expand(&text, |token| match token {
            'd' => self.local.home.as_ref().map(|home| home.display().to_string()),
            'h' => Some(self.host.to_owned()),
            'i' => Some(self.local.uid.to_string()),
            'k' => Some(self.host_key_alias.unwrap_or(self.name).to_owned()),
            'L' => Some(self.local.hostname.split('.').next().unwrap_or_default().to_owned()),
            'l' => Some(self.local.hostname.clone()),
            'n' => Some(self.name.to_owned()),
            'p' => Some(self.port.to_string()),
            'r' => Some(self.user.to_owned()),
            'u' => self.local.user.clone(),
            _ => None,
        })?;
        Ok(self.local.expand_tilde(&text))
    }
}

fn expand(text: &str, value: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(token) => {
                out.push_str(&value(token).ok_or_else(|| format!("the token %{token} in {text:?} is not supported"))?);
            }
            None => return Err(format!("{text:?} ends with a single %: write %%")),
        }
    }
    Ok(out)
}

fn variables(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').ok_or_else(|| format!("{text:?} holds ${{ without its }}"))?;
        out.push_str(before);
        out.push_str(
            &std::env::var(name).map_err(|_| format!("the environment variable {name} in {text:?} is not set"))?,
        );
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands() {
        let local = Local::example();
        let tokens =
            Tokens { host: "10.0.0.1", name: "n1", port: 2222, user: "root", host_key_alias: None, local: &local };
        assert_eq!(tokens.command("nc -X %h %p %r %n 100%%").unwrap(), "nc -X 10.0.0.1 2222 root n1 100%");
        assert!(tokens.command("nc %u").unwrap_err().contains("%u"));
        assert!(tokens.command("nc %").unwrap_err().contains("single %"));
        for (path, want) in [
            ("~/.ssh/%r_%h", "/home/me/.ssh/root_10.0.0.1"),
            ("%d/k-%k-%L-%l-%i-%u", "/home/me/k-n1-laptop-laptop.example.org-1000-me"),
            ("/a%%b", "/a%b"),
        ] {
            assert_eq!(tokens.path(path).unwrap(), PathBuf::from(want), "{path}");
        }
        assert_eq!(tokens.path("${PATH}").unwrap(), PathBuf::from(std::env::var("PATH").unwrap()));
        assert!(tokens.path("${PLEGCOLLECT_NOT_SET}").unwrap_err().contains("not set"));
        assert!(tokens.path("%C").unwrap_err().contains("%C"));
    }
}
