//! Which level the kubelet started with: `/configz` and its command line, which must not contradict each other. Pure.

use serde_json::Value;

use crate::printable::printable;

/// Words of a command line the probe keeps; one with as many may be longer.
const MOST_WORDS: usize = 256;

/// The level before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prior {
    /// The level.
    pub level: u32,
    /// Where it was seen, for the receipt.
    pub seen: String,
}

/// What one source says of the level.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Level(u32),
    /// It was read and says nothing.
    Nothing,
    /// It was not read; why.
    Unread(String),
    /// It was read and makes no sense; what was seen.
    Nonsense(String),
}

/// Returns the level before, from the answer to `GET /configz` and the words of the command line.
///
/// No answer shows a level that was set by PUT (seen with kubelet 1.36.2): this is the one it started with.
/// `/configz` of kubelet 1.21.1 has no `verbosity`, its flag alone counts, and klog's default is 0. Where `/configz` was not
/// read, a missing flag says nothing: newer kubelets take the level from their configuration file as well.
///
/// # Errors
/// What was seen, one clause: the level is not known.
pub(super) fn prior(configz: Result<&[u8], &str>, words: &[String]) -> Result<Prior, String> {
    let config = match configz {
        Ok(body) => of_configz(body),
        Err(why) => Told::Unread(printable(why, 300)),
    };
    let line = of_words(words);
    let prior = |level, seen: &str| Ok(Prior { level, seen: seen.to_owned() });
    match (config, line) {
        (Told::Nonsense(what), _) | (_, Told::Nonsense(what)) => Err(what),
        (Told::Level(config), Told::Level(line)) if config != line => {
            Err(format!("/configz says {config} and the command line says {line}"))
        }
        (Told::Level(level), Told::Level(_)) => prior(level, "/configz and the command line"),
        (Told::Level(level), _) => prior(level, "/configz"),
        (Told::Nothing, Told::Level(level)) => prior(level, "the command line; /configz has no verbosity"),
        (Told::Unread(why), Told::Level(level)) => prior(level, &format!("the command line; /configz: {why}")),
        (Told::Nothing, Told::Nothing) => {
            prior(0, "klog's default: neither /configz nor the command line names a level")
        }
        (Told::Nothing, Told::Unread(why)) => Err(format!("/configz has no verbosity, and {why}")),
        (Told::Unread(why), Told::Nothing) => {
            Err(format!("/configz was not read ({why}), and the command line has no --v"))
        }
        (Told::Unread(why), Told::Unread(line)) => Err(format!("/configz was not read ({why}), and {line}")),
    }
}

fn of_configz(body: &[u8]) -> Told {
    let Ok(config) = serde_json::from_slice::<Value>(body) else {
        return Told::Nonsense("/configz is not JSON".to_owned());
    };
    let Some(config) = config.get("kubeletconfig").and_then(Value::as_object) else {
        return Told::Nonsense("/configz has no kubeletconfig".to_owned());
    };
    let Some(logging) = config.get("logging") else { return Told::Nothing };
    let Some(logging) = logging.as_object() else {
        return Told::Nonsense(format!("/configz has logging {}", printable(&logging.to_string(), 60)));
    };
    match logging.get("verbosity") {
        None => Told::Nothing,
        Some(value) => match value.as_u64().and_then(|level| u32::try_from(level).ok()) {
            Some(level) => Told::Level(level),
            None => Told::Nonsense(format!("/configz has the verbosity {}", printable(&value.to_string(), 60))),
        },
    }
}

/// `--v=N`, `--v N`, `-v=N`, `-v N` and `-vN`, as pflag takes them; the last one counts.
fn of_words(words: &[String]) -> Told {
    if words.is_empty() {
        return Told::Unread("the command line was not read".to_owned());
    }
    if words.len() >= MOST_WORDS {
        return Told::Unread("the command line was not read to its end".to_owned());
    }
    let mut told = Told::Nothing;
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let value = match word.as_str() {
            "--v" | "-v" => rest.next().map(String::as_str).unwrap_or_default(),
            other => match other.strip_prefix("--v=").or_else(|| other.strip_prefix("-v=")) {
                Some(value) => value,
                None => match other.strip_prefix("-v") {
                    Some(value) if value.starts_with(|c: char| c.is_ascii_digit()) => value,
                    _ => continue,
                },
            },
        };
        told = match value.parse() {
            Ok(level) => Told::Level(level),
            Err(_) => return Told::Nonsense(format!("the command line has --v {:?}", printable(value, 60))),
        };
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_before_is_known_only_where_nothing_contradicts_it() {
        let new = r#"{"kubeletconfig":{"logging":{"format":"text","verbosity":2}}}"#;
        let old = r#"{"kubeletconfig":{"logging":{"format":"text"}}}"#;
        let none = r#"{"kubeletconfig":{}}"#;
        let odd = r#"{"kubeletconfig":{"logging":{"verbosity":"2"}}}"#;
        let many = "x ".repeat(256);
        for (configz, line, want) in [
            (Some(new), "kubelet", Ok(2)),
            (Some(new), "kubelet --v=2", Ok(2)),
            (Some(new), "", Ok(2)),
            (Some(new), "kubelet --v=3", Err("says 2 and the command line says 3")),
            (Some(new), "kubelet --v=-1", Err("--v \"-1\"")),
            (Some(new), "kubelet --v", Err("--v \"\"")),
            (Some(new), "kubelet --v=2 -v 4", Err("says 4")),
            (Some(old), "kubelet --v=3", Ok(3)),
            (Some(old), "kubelet --v 3", Ok(3)),
            (Some(old), "kubelet -v=3", Ok(3)),
            (Some(old), "kubelet -v 3", Ok(3)),
            (Some(old), "kubelet -v3 --vmodule=a=5 --volume-plugin-dir=/x", Ok(3)),
            (Some(old), "kubelet --v=3 --v=4", Ok(4)),
            (Some(old), "kubelet --config=/x", Ok(0)),
            (Some(none), "kubelet", Ok(0)),
            (Some(old), "", Err("command line was not read")),
            (Some(old), many.as_str(), Err("not read to its end")),
            (None, "kubelet --v=3", Ok(3)),
            (None, "kubelet", Err("has no --v")),
            (None, "", Err("403), and the command line was not read")),
            (Some(odd), "kubelet --v=2", Err("verbosity \"2\"")),
            (Some("no"), "kubelet --v=2", Err("not JSON")),
            (Some("{}"), "kubelet --v=2", Err("no kubeletconfig")),
            (Some(r#"{"kubeletconfig":{"logging":{"verbosity":-2}}}"#), "kubelet", Err("verbosity -2")),
            (Some(r#"{"kubeletconfig":{"logging":7}}"#), "kubelet", Err("logging 7")),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let got = prior(configz.map(str::as_bytes).ok_or("403"), &words);
            match want {
                Ok(level) => assert_eq!(got.unwrap().level, level, "{configz:?} {line}"),
                Err(part) => {
                    let why = got.unwrap_err();
                    assert!(why.contains(part), "{configz:?} {line}: {why}");
                }
            }
        }
    }

    #[test]
    fn what_real_kubelets_say_is_understood() {
        let line = |text: &str| vec!["kubelet".to_owned(), text.to_owned()];
        let new = include_bytes!("../../../tests/fixtures/kubelet/kubelet-1.36.2/configz.json");
        let old = include_bytes!("../../../tests/fixtures/kubelet/kubelet-1.21.1-dockershim/configz.json");
        assert_eq!(prior(Ok(new), &line("--config=x")).unwrap().level, 2);
        assert_eq!(prior(Ok(old), &line("--v=2")).unwrap().level, 2);
        assert_eq!(prior(Ok(old), &line("--config=x")).unwrap().level, 0);
    }
}
