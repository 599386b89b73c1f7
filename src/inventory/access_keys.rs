//! The keys of `[kubelet]` and `[cluster]`, read from the inventory. Opens none of the files they name.

use std::path::{Path, PathBuf};

use super::access::{ClusterSettings, KubeletSettings, KubeletVia, TokenFrom, TrustFrom};
use super::document::{Entry, Section};
use super::error::InventoryError;
use super::jump::parse_address;
use super::local::Local;

type Read<T> = Result<T, InventoryError>;

/// Longest CPU profile, in seconds.
const CPU_PROFILE_AT_MOST: u64 = 60;

pub(super) fn read_kubelet(section: &Section<'_>, base: &Path, local: &Local) -> Read<KubeletSettings> {
    one_of(section, &["token-file", "token-env", "token-command", "kubeconfig"])?;
    one_of(section, &["ca", "pins", "insecure"])?;
    let kubeconfig = flag(section, "kubeconfig")?.then_some(TokenFrom::Kubeconfig);
    let insecure = flag(section, "insecure")?.then_some(TrustFrom::Insecure);
    let words = [
        ("auto", KubeletVia::Auto),
        ("forward", KubeletVia::Forward),
        ("curl", KubeletVia::Curl),
        ("api-server", KubeletVia::ApiServer),
    ];
    let port = section.get("port").map(|e| e.integer(1..65_536)).transpose()?;
    let settings = KubeletSettings {
        token: token(section, base, local)?.or(kubeconfig),
        client: client(section, base, local)?,
        trust: path(section, "ca", base, local)?
            .map(TrustFrom::Ca)
            .or(path(section, "pins", base, local)?.map(|file| TrustFrom::Pins(Some(file))))
            .or(insecure),
        address: section.get("address").map(|e| named(&e, "an address as seen from the node")).transpose()?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        server_names: match section.get("server-names") {
            Some(list) => {
                let what = "a name the kubelet's certificate holds";
                list.strings(what)?.iter().map(|e| named(e, what)).collect::<Read<_>>()?
            }
            None => Vec::new(),
        },
        node_name: section.get("node-name").map(|e| named(&e, "the node's name in the cluster")).transpose()?,
        via: section.get("via").map(|e| e.one_of(&words)).transpose()?,
        cpu_profile: section.get("cpu-profile").map(|e| e.integer(0..CPU_PROFILE_AT_MOST + 1)).transpose()?,
    };
    section.finish()?;
    Ok(settings)
}

pub(super) fn read_cluster(section: &Section<'_>, base: &Path, local: &Local) -> Read<ClusterSettings> {
    one_of(section, &["token-file", "token-env", "token-command"])?;
    for own in ["api-servers", "token-file", "token-env", "token-command", "client-certificate", "client-key", "ca"] {
        if own != "api-servers" && own != "ca" {
            one_of(section, &["kubeconfig", own])?;
            one_of(section, &["context", own])?;
        }
    }
    let text = |key: &'static str, what: &str| -> Read<Option<String>> {
        section.get(key).map(|e| e.string(what).map(str::to_owned)).transpose()
    };
    let settings = ClusterSettings {
        collect: section.get("collect").map(|e| e.bool()).transpose()?,
        kubeconfig: path(section, "kubeconfig", base, local)?,
        context: text("context", "the name of a context")?,
        api_servers: match section.get("api-servers") {
            Some(list) => {
                let what = "an address such as \"https://10.0.0.1:6443\"";
                let read = |e: &Entry<'_>| check_api_server(e.string(what)?).map_err(|reason| e.fail(&reason));
                list.strings(what)?.iter().map(read).collect::<Read<_>>()?
            }
            None => Vec::new(),
        },
        token: token(section, base, local)?,
        client: client(section, base, local)?,
        ca: path(section, "ca", base, local)?,
        server_name: section
            .get("server-name")
            .map(|e| parse_address(e.string("a name the certificate holds")?).map_err(|reason| e.fail(&reason)))
            .transpose()?,
        pool_label: text("pool-label", "the key of a label")?,
    };
    section.finish()?;
    Ok(settings)
}

/// Refuses more than one of keys that say the same thing; both are named.
fn one_of(section: &Section<'_>, keys: &[&'static str]) -> Read<()> {
    let mut given = keys.iter().filter_map(|key| section.get(key).map(|entry| (key, entry)));
    match (given.next(), given.next()) {
        (Some((first, _)), Some((_, second))) => {
            Err(second.fail(&format!("`{first}` is set as well, and one of the two counts: remove one")))
        }
        _ => Ok(()),
    }
}

fn flag(section: &Section<'_>, key: &'static str) -> Read<bool> {
    let Some(entry) = section.get(key) else { return Ok(false) };
    if entry.bool()? { Ok(true) } else { Err(entry.fail("expected true: leave the key out otherwise")) }
}

fn path(section: &Section<'_>, key: &'static str, base: &Path, local: &Local) -> Read<Option<PathBuf>> {
    section.get(key).map(|e| e.string("a path").map(|path| local.resolve(base, path))).transpose()
}

fn token(section: &Section<'_>, base: &Path, local: &Local) -> Read<Option<TokenFrom>> {
    let env = section.get("token-env").map(|e| {
        let name = e.string("the name of an environment variable")?;
        if name.contains(['=', '\0']) || name.len() > 255 {
            return Err(e.fail("expected the name of an environment variable, not its value"));
        }
        Ok(TokenFrom::Env(name.to_owned()))
    });
    let command = section.get("token-command").map(|e| e.string("a command").map(|c| TokenFrom::Command(c.to_owned())));
    Ok(path(section, "token-file", base, local)?.map(TokenFrom::File).or(env.transpose()?).or(command.transpose()?))
}

fn client(section: &Section<'_>, base: &Path, local: &Local) -> Read<Option<(PathBuf, PathBuf)>> {
    match (path(section, "client-certificate", base, local)?, path(section, "client-key", base, local)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(section.fail("`client-certificate` needs `client-key`: add it")),
        (None, Some(_)) => Err(section.fail("`client-key` needs `client-certificate`: add it")),
    }
}

/// A name or address in which `{name}` stands for the node.
fn named(entry: &Entry<'_>, what: &str) -> Read<String> {
    let text = entry.string(what)?;
    parse_address(&text.replace("{name}", "n")).map_err(|reason| entry.fail(&reason))?;
    Ok(text.to_owned())
}

/// Returns the address of an API server: `https://`, a host, perhaps a port, and nothing else.
///
/// # Errors
/// One clause.
pub fn check_api_server(text: &str) -> Result<String, String> {
    let bad = || format!("expected https://HOST or https://HOST:PORT and nothing else, got {text:?}");
    // Whoever writes a password into it must not find it in a message.
    if text.contains('@') {
        return Err("expected https://HOST:PORT without user and password".to_owned());
    }
    let rest = text.strip_prefix("https://").ok_or_else(bad)?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(bad)?) })
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let sound = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    let port_sound =
        port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0));
    if sound && port_sound { Ok(text.to_owned()) } else { Err(bad()) }
}
