//! Placeholders: `{since}`, `{dockerd.pid}` and their like in a step's arguments, filled in from a node's facts.
//! Values only ever become (parts of) single arguments; a script's text is never touched, so that
//! nothing a node says can become shell code. Used by `schema.rs` to check and by `build.rs` to fill.

use super::facts::{Daemon, NodeFacts};

/// Names that may stand between braces, for messages. A `?` behind one makes it optional: empty if unknown.
pub(crate) const NAMES: [&str; 15] = [
    "since",
    "since.seconds",
    "dockerd.pid",
    "dockerd.socket",
    "dockerd.unit",
    "containerd.pid",
    "containerd.unit",
    "crio.pid",
    "crio.unit",
    "kubelet.pid",
    "kubelet.unit",
    "kubelet.config",
    "cpu-profile",
    "daemon-json",
    "crictl.endpoint",
];

/// A piece of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value { name: &'static str, optional: bool },
}

/// An argument with placeholders in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// What a node's placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) facts: &'a NodeFacts,
    /// How far back logs are read.
    pub(crate) since_seconds: u64,
    /// Length of the CPU profile; 0: none.
    pub(crate) cpu_profile: u64,
}

impl Template {
    /// Reads an argument. `{{` and `}}` stand as they are (Go templates of docker); other braces that do not hold a
    /// name in lower case are text. `Err` holds a name that looks like a placeholder and is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(go) = from.strip_prefix("{{") {
                let end = go.find("}}").map_or(go.len(), |i| i + 2);
                let (inside, after) = go.split_at(end);
                plain.push_str("{{");
                plain.push_str(inside);
                rest = after;
                continue;
            }
            let inside = from.get(1..).unwrap_or_default();
            match inside.find('}').map(|end| inside.split_at(end)) {
                Some((name, after)) if looks_like_name(name) => {
                    let (bare, optional) = name.strip_suffix('?').map_or((name, false), |bare| (bare, true));
                    let name = NAMES.into_iter().find(|n| *n == bare).ok_or_else(|| bare.to_owned())?;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Value { name, optional });
                    rest = after.get(1..).unwrap_or_default();
                }
                _ => {
                    plain.push('{');
                    rest = inside;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Returns an argument that is just this text.
    pub(crate) fn plain(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// Returns the text if no placeholder is in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the text as written in the catalog.
    pub(crate) fn source(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Value { name, optional } => format!("{{{name}{}}}", if *optional { "?" } else { "" }),
            })
            .collect()
    }

    /// Returns the argument with its values, or why one of them is not known, as a clause.
    pub(crate) fn fill(&self, values: Values<'_>) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { name, optional } => match values.get(name) {
                    Ok(value) => out.push_str(&value),
                    Err(_) if *optional => {}
                    Err(why) => return Err(why),
                },
            }
        }
        Ok(out)
    }
}

fn looks_like_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'?'))
}

impl Values<'_> {
    fn get(self, name: &str) -> Result<String, String> {
        let facts = self.facts;
        match name {
            // Counted back from the node's own clock, so that a clock that is off does no harm. journalctl of
            // systemd 219 knows this form too; it need not know "UTC" in an absolute time.
            "since" => Ok(format!("-{}s", self.since_seconds)),
            "cpu-profile" if self.cpu_profile == 0 => Err("no CPU profile is asked for (--cpu-profile 0)".to_owned()),
            "cpu-profile" => Ok(self.cpu_profile.to_string()),
            "since.seconds" => Ok(self.since_seconds.to_string()),
            "daemon-json" => Ok(flag_path(facts.dockerd.as_ref(), "--config-file")
                .unwrap_or_else(|| "/etc/docker/daemon.json".to_owned())),
            "dockerd.socket" => Ok(dockerd_socket(facts)),
            "kubelet.config" => Ok(flag_path(facts.kubelet.as_ref(), "--config")
                .unwrap_or_else(|| "/var/lib/kubelet/config.yaml".to_owned())),
            "crictl.endpoint" => crictl_endpoint(facts).ok_or_else(|| "no CRI socket was found".to_owned()),
            _ => {
                let (who, what) = name.split_once('.').unwrap_or((name, ""));
                let (daemon, called) = match who {
                    "dockerd" => (facts.dockerd.as_ref(), "dockerd"),
                    "containerd" => (facts.containerd.as_ref(), "containerd"),
                    "crio" => (facts.crio.as_ref(), "CRI-O"),
                    _ => (facts.kubelet.as_ref(), "the kubelet"),
                };
                if what == "pid" {
                    let pid = daemon.and_then(|d| d.pid).map(|pid| pid.to_string());
                    pid.ok_or_else(|| format!("{called} does not run"))
                } else {
                    let unit = daemon.and_then(|d| d.unit.clone()).filter(|unit| is_unit_name(unit));
                    unit.ok_or_else(|| format!("{called} has no systemd unit of its own"))
                }
            }
        }
    }
}

/// Returns whether a text can be the name of a service unit and nothing else (no option, no path).
pub(crate) fn is_unit_name(name: &str) -> bool {
    name.len() <= 255
        && name.ends_with(".service")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'@' | b'\\'))
}

/// Returns whether a text is an absolute path that can be handed on: no control characters, no `..`, of bounded length.
pub(crate) fn is_sound_path(path: &str) -> bool {
    path.len() <= 4096
        && path.starts_with('/')
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|p| p == "..")
}

/// Returns the path given to a daemon by a flag, in either form; the last one counts, as it does for the daemon.
fn flag_path(daemon: Option<&Daemon>, flag: &str) -> Option<String> {
    // To open a device may do something (a watchdog reboots the node); no daemon's configuration lies there.
    let kernel = |path: &str| ["/dev/", "/proc/", "/sys/"].iter().any(|dir| path.starts_with(dir));
    flag_value(&daemon?.cmdline, flag).filter(|path| is_sound_path(path) && !kernel(path)).map(ToOwned::to_owned)
}

/// Returns the socket file of dockerd's API, as its flags have it; otherwise the usual one, which systemd's socket unit
/// (`fd://`) has, too.
pub(crate) fn dockerd_socket(facts: &NodeFacts) -> String {
    const USUAL: &str = "/var/run/docker.sock";
    let Some(dockerd) = &facts.dockerd else { return USUAL.to_owned() };
    let hosts = ["-H", "--host"].into_iter().flat_map(|flag| flag_values(&dockerd.cmdline, flag));
    let mut sockets = hosts.filter_map(|host| host.strip_prefix("unix://")).filter(|path| is_plain_path(path));
    let first = sockets.next().unwrap_or(USUAL);
    if first == USUAL || sockets.any(|path| path == USUAL) { USUAL.to_owned() } else { first.to_owned() }
}

/// A path without anything that a URL or an option would read otherwise.
fn is_plain_path(path: &str) -> bool {
    is_sound_path(path) && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+@-".contains(&b))
}

fn flag_value<'a>(args: &'a [String], flag: &str) -> Option<&'a str> {
    flag_values(args, flag).last()
}

fn flag_values<'a>(args: &'a [String], flag: &str) -> impl Iterator<Item = &'a str> {
    let joined = args.iter().filter_map(move |arg| arg.strip_prefix(flag)?.strip_prefix('='));
    let apart =
        args.iter().zip(args.iter().skip(1)).filter(move |(arg, _)| *arg == flag).map(|(_, value)| value.as_str());
    joined.chain(apart)
}

/// Sockets a runtime may serve CRI on. A kubelet that is told its endpoint decides; else what runs; else cri-dockerd
/// before containerd, because a containerd beside it serves docker and has no pods.
pub(crate) const CRI_SOCKETS: [&str; 5] = [
    "/run/cri-dockerd.sock",
    "/var/run/cri-dockerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
];

/// Returns the endpoint for `crictl --runtime-endpoint`.
pub(crate) fn crictl_endpoint(facts: &NodeFacts) -> Option<String> {
    if let Some(kubelet) = &facts.kubelet
        && let Some(told) = flag_value(&kubelet.cmdline, "--container-runtime-endpoint")
    {
        let path = told.strip_prefix("unix://").unwrap_or(told);
        if is_sound_path(path) {
            return Some(format!("unix://{path}"));
        }
    }
    CRI_SOCKETS.into_iter().find(|path| facts.files.get(*path) == Some(&true)).map(|path| format!("unix://{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet(args: &[&str]) -> NodeFacts {
        let cmdline = args.iter().map(|s| (*s).to_owned()).collect();
        NodeFacts { kubelet: Some(Daemon { pid: Some(7), cmdline, ..Daemon::default() }), ..NodeFacts::default() }
    }

    #[test]
    fn fills_values_into_single_arguments() {
        let facts = kubelet(&["kubelet", "--config=/a", "--config", "/etc/kubelet.yaml"]);
        let values = Values { facts: &facts, since_seconds: 7200, cpu_profile: 5 };
        for (text, want) in [
            ("plain", Ok("plain")),
            ("", Ok("")),
            ("--since={since}", Ok("--since=-7200s")),
            ("/proc/{kubelet.pid}/limits", Ok("/proc/7/limits")),
            ("{{json .}}", Ok("{{json .}}")),
            ("{{since}}", Ok("{{since}}")),
            ("{ 1 }", Ok("{ 1 }")),
            ("a{", Ok("a{")),
            ("{kubelet.config}", Ok("/etc/kubelet.yaml")),
            ("{dockerd.pid}", Err("dockerd does not run")),
            ("{dockerd.pid?}", Ok("")),
            ("{kubelet.unit}", Err("the kubelet has no systemd unit of its own")),
            ("{daemon-json}", Ok("/etc/docker/daemon.json")),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.source(), text);
            assert_eq!(template.fill(values), want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        assert_eq!(Template::parse("{dockerd.pidd}"), Err("dockerd.pidd".to_owned()));
    }

    #[test]
    fn takes_no_endpoint_or_path_that_is_not_one() {
        for (arg, want) in [
            ("--container-runtime-endpoint=unix:///run/x.sock", Some("unix:///run/x.sock")),
            ("--container-runtime-endpoint=/run/x.sock", Some("unix:///run/x.sock")),
            ("--container-runtime-endpoint=tcp://1.2.3.4:5", None),
            ("--container-runtime-endpoint=unix:///run/../x", None),
            ("--container-runtime-endpoint=unix:///run/\u{1}x", None),
        ] {
            assert_eq!(crictl_endpoint(&kubelet(&[arg])).as_deref(), want, "{arg}");
        }
        for bad in ["--config=../etc/shadow", "--config=-n", "--config=/a\u{1}b", "--config=", "--config=/dev/watchdog"]
        {
            let facts = kubelet(&[bad]);
            let values = Values { facts: &facts, since_seconds: 1, cpu_profile: 5 };
            assert_eq!(
                Template::parse("{kubelet.config}").unwrap().fill(values).unwrap(),
                "/var/lib/kubelet/config.yaml",
                "{bad}"
            );
        }
    }

    #[test]
    fn the_api_is_asked_where_dockerd_serves_it() {
        for (args, want) in [
            (&["-H", "fd://", "--containerd=/run/containerd/containerd.sock"][..], "/var/run/docker.sock"),
            (&["--host=unix:///run/x.sock"], "/run/x.sock"),
            (&["-H", "tcp://0.0.0.0:1", "-H", "unix:///run/x.sock"], "/run/x.sock"),
            (&["-H=unix:///run/x.sock", "-H=unix:///var/run/docker.sock"], "/var/run/docker.sock"),
            (&["-H", "unix:///run/../x"], "/var/run/docker.sock"),
            (&["-H", "unix:///run/a b"], "/var/run/docker.sock"),
            (&["-H", "unix://-x"], "/var/run/docker.sock"),
        ] {
            let cmdline = args.iter().map(|s| (*s).to_owned()).collect();
            let dockerd = Some(Daemon { pid: Some(7), cmdline, ..Daemon::default() });
            assert_eq!(dockerd_socket(&NodeFacts { dockerd, ..NodeFacts::default() }), want, "{args:?}");
        }
    }

    #[test]
    fn unit_names_are_never_options_or_paths() {
        for (name, want) in [
            ("docker.service", true),
            ("getty@tty1.service", true),
            ("-H.service", false),
            ("a b.service", false),
            ("../x.service", false),
            ("docker.socket", false),
            ("", false),
        ] {
            assert_eq!(is_unit_name(name), want, "{name}");
        }
    }
}
