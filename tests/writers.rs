//! Only `src/change/` writes to nodes. Held here: commands reach a node from few places only, and the
//! scripts and commands of all others hold nothing that writes, signals a process that is not their own
//! child, or steers a daemon.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Where commands are run from: steps, the probe, changes, curl, which reads from the kubelet, and the look at who listens at
/// its port.
const RUNNERS: [&str; 5] = [
    "src/collect/step.rs",
    "src/collect/probe.rs",
    "src/change/shell.rs",
    "src/kubelet/way/curl.rs",
    "src/kubelet/listener.rs",
];

/// Programs that write, and those that steer daemons.
const WRITERS: &str = r"(^|[;&|({`]|\b(do|then|else|exec|command)\s|\$\()\s*(sudo\s+)?(rm|mv|ln|mkdir|rmdir|touch|tee|chmod|chown|chgrp|cp|dd|mount|umount|truncate|install|mkfifo|mktemp|setsid|nohup|systemd-run|swapoff|reboot|pkill|killall|logger|unlink|shred|sync)\s";
/// Options and subcommands that turn a reader into a writer.
const STEERING: &str = r"systemctl[^|;]*\b(start|stop|restart|reload|kill|enable|disable|mask|set-property|daemon-reload|reset-failed)\b|docker[^|;]*\s(rm|stop|start|restart|kill|run|create|exec|pause|prune|rmi|pull|system\s+prune)\b|crictl\s[^|;]*\b(rm|rmp|stop|stopp|exec|rmi|run)\b|ctr\s[^|;]*\b(rm|kill|delete)\b|sysctl\s+-w|sed\s+-i|journalctl[^|;]*--(vacuum|rotate|flush|sync|relinquish)|ip\s+(link|route|addr)\s+(add|del|set)|dmesg\s+(-c|-C|--clear|--read-clear)";
/// Signals to anything but a variable that holds a child of the script.
const SIGNALS: &str = r"\bkill\b";
/// A redirection into a file.
const REDIRECT: &str = r">{1,2}\s*[^&\s>]";

fn files(dir: &str, ext: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == ext) {
                found.push(path);
            }
        }
    }
    found
}

/// The code of a script: no comments, no quoted text that is only printed.
fn code(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

/// Returns what is wrong with a line, if something is.
fn writes(line: &str) -> Option<&'static str> {
    let line = code(line);
    let without = line.replace("2>/dev/null", "").replace(">/dev/null", "");
    let bare = Regex::new(r"'[^']*'").unwrap().replace_all(&without, "''").into_owned();
    if Regex::new(WRITERS).unwrap().is_match(&bare) {
        return Some("runs a program that writes");
    }
    if Regex::new(STEERING).unwrap().is_match(&bare) {
        return Some("steers a daemon");
    }
    if Regex::new(SIGNALS).unwrap().is_match(&bare) {
        return Some("sends a signal");
    }
    // "->" is the arrow of ls; a name in quotes behind ">" is a file all the same.
    let bare = Regex::new(r#"([^>]\s*)"[^"]*""#).unwrap().replace_all(&bare, "$1").replace("->", "");
    if Regex::new(REDIRECT).unwrap().is_match(&bare) {
        return Some("writes into a file");
    }
    None
}

#[test]
fn commands_reach_nodes_from_few_places() {
    let mut wrong = Vec::new();
    let direct = Regex::new(r"session(\(\))?\.exec\(").unwrap();
    for file in files("src", "rs") {
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let runs = code.contains("command::run(") || direct.is_match(&code);
        if runs && !RUNNERS.contains(&name.as_str()) && !name.starts_with("src/session/") {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "these run commands on nodes as well: {wrong:?}");
}

/// A PUT to a kubelet is a change like any other. Other methods that set something are used nowhere.
#[test]
fn kubelets_are_set_by_changes_alone() {
    let set = Regex::new(r#"(kubelet|proxy)\s*\.put\(|\bMethod::(Put|PUT)\b|"PUT""#).unwrap();
    let other = Regex::new(r#"\bMethod::(POST|PATCH|DELETE)\b|"(POST|PATCH|DELETE)""#).unwrap();
    let may = ["src/change/kubelet_verbosity/", "src/kubelet/", "src/session/http/", "src/cluster/api/proxy.rs"];
    let mut setters = Vec::new();
    for file in files("src", "rs") {
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        assert!(!other.is_match(&text), "{name} sends a method that sets something");
        if set.is_match(&text) {
            setters.push(name);
        }
    }
    assert!(!setters.is_empty(), "none was found");
    setters.retain(|name| !may.iter().any(|prefix| name.starts_with(prefix)));
    assert!(setters.is_empty(), "these set a kubelet's verbosity as well: {setters:?}");
}

#[test]
fn steps_only_read() {
    // The only children of their own that these end: a bounded call, and the question to systemd.
    let own_children =
        [("probe.sh", "$job"), ("probe.sh", "$watch"), ("probe.sh", "$nap"), ("dbus-cookie.sh", "$ping")];
    let mut wrong = Vec::new();
    let scripts = files("src/plan/scripts", "sh");
    let catalogs = files("src/plan/catalog", "toml");
    assert!(scripts.len() > 10 && catalogs.len() > 5, "the steps were not found");
    let asking = files("src/kubelet/way", "sh");
    assert!(asking.len() >= 2, "the scripts around curl were not found");
    let scripts = scripts.into_iter().chain(asking);
    for file in scripts {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let own = own_children.iter().any(|(of, child)| *of == name && line.contains(child));
            match writes(line) {
                Some("sends a signal") if own => {}
                Some(what) => wrong.push(format!("{name}:{}: {what}: {line}", number + 1)),
                None => {}
            }
        }
    }
    for file in catalogs {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let table: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
        for step in table.get("step").and_then(toml::Value::as_array).into_iter().flatten() {
            for way in step.get("try").and_then(toml::Value::as_array).into_iter().flatten() {
                let Some(argv) = way.get("argv").and_then(toml::Value::as_array) else { continue };
                let line = argv.iter().map(|a| a.as_str().unwrap()).collect::<Vec<_>>().join(" ");
                if let Some(what) = writes(&line) {
                    wrong.push(format!("{name}: {what}: {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_is_for() {
    for line in [
        "rm -f x",
        "cat a >b",
        "cat a >> b",
        "cat a >\"$1\"",
        "x=$(mktemp )",
        "if true; then mv a b; fi",
        "kill -HUP 1",
        "systemctl --no-pager restart docker",
        "docker rm -f x",
        "sed -i s/a/b/ f",
        "dmesg -c",
        "journalctl --rotate",
        "true && touch f",
    ] {
        assert!(writes(line).is_some(), "{line}");
    }
    for line in [
        "# rm -f x",
        "cat a 2>/dev/null",
        "echo x >&2",
        "read -r a <f",
        "systemctl --no-pager --full status docker",
        "docker ps -a --no-trunc",
        "sed -n -e 's/^.* -> //' f",
        "printf '==> %s <==\\n' f",
        "echo \"==> $name <==\"",
        "dmesg -T",
    ] {
        assert_eq!(writes(line), None, "{line}");
    }
}
