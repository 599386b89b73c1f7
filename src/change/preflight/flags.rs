//! dockerd's command line as its flag parser reads it: long flags with `=` or a following value, short ones alone,
//! combined, or with the value attached. Pure.

/// Long flags that take no value. All others take the next argument unless they have a `=`.
const SWITCHES: [&str; 18] = [
    "debug",
    "experimental",
    "help",
    "icc",
    "init",
    "ip-forward",
    "ip-masq",
    "iptables",
    "ip6tables",
    "ipv6",
    "live-restore",
    "no-new-privileges",
    "raw-logs",
    "rootless",
    "selinux-enabled",
    "tls",
    "tlsverify",
    "version",
];
const MORE_SWITCHES: [&str; 7] = [
    "userland-proxy",
    "validate",
    "disable-legacy-registry",
    "allow-direct-routing",
    "ip-forward-no-drop",
    "cri-containerd",
    "bridge-accept-fwmark-off",
];
/// Short flags that take a value: what they stand for.
const SHORT: [(char, &str); 6] =
    [('l', "log-level"), ('H', "host"), ('G', "group"), ('g', "data-root"), ('b', "bridge"), ('s', "storage-driver")];

/// A flag with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Its long name, without dashes.
    pub name: String,
    /// Its value; empty for a switch without one.
    pub value: String,
}

/// Returns the flags of a command line (program name first), in order.
#[must_use]
pub fn flags(cmdline: &[String]) -> Vec<Flag> {
    let mut found = Vec::new();
    let mut args = cmdline.iter().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else { continue };
        // Docker before 1.13 took long names with one dash too.
        let long = body.strip_prefix('-').or_else(|| is_long_with_one_dash(body).then_some(body));
        if let Some(long) = long {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if is_switch(long) => (long, String::new()),
                None => (long, args.next().cloned().unwrap_or_default()),
            };
            found.push(Flag { name: name.to_owned(), value });
            continue;
        }
        let mut rest = body.chars();
        while let Some(letter) = rest.next() {
            let attached = rest.as_str();
            if let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == letter) {
                let value = match attached {
                    "" => args.next().cloned().unwrap_or_default(),
                    attached => attached.strip_prefix('=').unwrap_or(attached).to_owned(),
                };
                found.push(Flag { name: (*name).to_owned(), value });
                break;
            }
            if letter == 'p' {
                // --pidfile; nothing of interest can follow in this argument.
                if attached.is_empty() {
                    args.next();
                }
                break;
            }
            let name = if letter == 'D' { "debug".to_owned() } else { letter.to_string() };
            if let Some(value) = attached.strip_prefix('=') {
                found.push(Flag { name, value: value.to_owned() });
                break;
            }
            found.push(Flag { name, value: String::new() });
        }
    }
    found
}

/// Returns the last value of a flag.
#[must_use]
pub fn value<'a>(flags: &'a [Flag], name: &str) -> Option<&'a str> {
    flags.iter().rev().find(|f| f.name == name).map(|f| f.value.as_str())
}

fn is_switch(name: &str) -> bool {
    SWITCHES.contains(&name) || MORE_SWITCHES.contains(&name)
}

fn is_long_with_one_dash(body: &str) -> bool {
    let name = body.split('=').next().unwrap_or_default();
    matches!(name, "debug" | "log-level" | "host" | "config-file" | "authorization-plugin")
}

/// Returns the first flag that a SIGHUP would reset or that a change of debug could not put back, as it was written
/// but without its value, which may be a secret.
///
/// `from_24` adds the flags whose values dockerd 24 and later takes from its built-in defaults when it reads a file
/// (moby@b28e66cf4f).
#[must_use]
pub fn reset_by_reload(flags: &[Flag], from_24: bool) -> Option<String> {
    flags.iter().find_map(|flag| {
        let name = flag.name.as_str();
        let reset = match name {
            "debug"
            | "authorization-plugin"
            | "max-concurrent-downloads"
            | "max-concurrent-uploads"
            | "max-download-attempts"
            | "feature"
            | "network-diagnostic-port" => true,
            "log-level" => flag.value != "info",
            "default-runtime" | "default-shm-size" | "default-ipc-mode" | "default-cgroupns-mode" => from_24,
            name => name.starts_with("cluster-") || name.starts_with("nri-"),
        };
        // Of these the value is harmless, and tells more.
        let told = matches!(name, "debug" | "log-level") && !flag.value.is_empty();
        reset.then(|| if told { format!("--{name}={}", flag.value) } else { format!("--{name}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<Flag> {
        flags(&line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_that_a_reload_resets_are_found_in_every_form() {
        for (line, want) in [
            ("dockerd -H fd:// --containerd=/run/containerd/containerd.sock", None),
            ("dockerd -D", Some("--debug")),
            ("dockerd --debug", Some("--debug")),
            ("dockerd --debug=true", Some("--debug=true")),
            ("dockerd -D=false", Some("--debug=false")),
            ("dockerd --debug=false", Some("--debug=false")),
            ("docker daemon -Dl warn", Some("--debug")),
            ("dockerd -l warn", Some("--log-level=warn")),
            ("dockerd -lwarn", Some("--log-level=warn")),
            ("dockerd -l=warn", Some("--log-level=warn")),
            ("dockerd --log-level warn", Some("--log-level=warn")),
            ("dockerd --log-level=info", None),
            ("dockerd -l info -H fd://", None),
            ("dockerd -H -D", None),
            ("dockerd --label -D", None),
            ("dockerd --tls -D", Some("--debug")),
            ("dockerd -p /run/d.pid -D", Some("--debug")),
            ("dockerd --authorization-plugin=az", Some("--authorization-plugin")),
            ("dockerd --max-concurrent-downloads 10", Some("--max-concurrent-downloads")),
            ("dockerd --max-concurrent-uploads=10", Some("--max-concurrent-uploads")),
            ("dockerd --max-download-attempts=10", Some("--max-download-attempts")),
            ("dockerd --feature buildkit=true", Some("--feature")),
            ("dockerd --cluster-store=etcd://x", Some("--cluster-store")),
            ("dockerd --cluster-advertise eth0:2376", Some("--cluster-advertise")),
            ("dockerd --network-diagnostic-port=1", Some("--network-diagnostic-port")),
            ("dockerd --default-runtime=nvidia", None),
            ("dockerd -- -D", None),
        ] {
            assert_eq!(reset_by_reload(&of(line), false).as_deref(), want, "{line}");
        }
        for flag in ["default-runtime", "default-shm-size", "default-ipc-mode", "default-cgroupns-mode"] {
            assert_eq!(reset_by_reload(&of(&format!("dockerd --{flag}=x")), true), Some(format!("--{flag}")));
        }
    }

    #[test]
    fn the_last_value_counts() {
        let flags = of("dockerd -H fd:// --config-file /a --config-file=/b --host=unix:///x");
        assert_eq!(value(&flags, "config-file"), Some("/b"));
        let hosts: Vec<_> = flags.iter().filter(|f| f.name == "host").map(|f| f.value.as_str()).collect();
        assert_eq!(hosts, ["fd://", "unix:///x"]);
    }
}
