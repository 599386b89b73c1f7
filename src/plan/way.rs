//! One way to do a step: a `[[step.try]]` read into a [`Way`]. What a node allows is decided in `build.rs`, not here.
//! Used by `schema.rs`.

use super::capability::Capability;
use super::keys::Keys;
use super::placeholder::{self, Template};

/// One way to do a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is run.
    pub how: How,
    /// Tools it needs, the program itself included.
    pub needs: Vec<String>,
    /// The program must not be busybox's, whose options differ.
    pub not_busybox: bool,
    /// Conditions of the node.
    pub requires: Vec<Capability>,
    /// Paths that must be readable.
    pub files: Vec<String>,
    /// Paths of which one at least must be readable, if there are any.
    pub any_file: Vec<String>,
}

/// What a way runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A program and its arguments.
    Argv(Vec<Template>),
    /// A shell script and its arguments.
    Script {
        /// Its text.
        text: String,
        /// Name of the built-in script; `None` for a user's own.
        name: Option<String>,
        /// `$1`, `$2`, …
        args: Vec<Template>,
    },
    /// Files are printed.
    Read(Vec<Template>),
    /// The kubelet's authenticated port is asked for this path.
    Kubelet(Template),
    /// The kubelet's port for health checks is asked for this path.
    KubeletHealthz(String),
}

const TRY_KEYS: [&str; 11] = [
    "argv",
    "script",
    "script-file",
    "read",
    "kubelet",
    "kubelet-healthz",
    "args",
    "needs",
    "not-busybox",
    "requires",
    "files",
];

const ONE_WAY: &str = "a [[step.try]] needs exactly one of `argv`, `script` (with `args` if wanted), `read`, `kubelet` and `kubelet-healthz`";

/// Reads one `[[step.try]]`; `builtin`: of our own catalog, which may name scripts that `script` looks up.
///
/// # Errors
/// Key and problem.
pub(super) fn read_way(
    value: toml::Value,
    builtin: bool,
    script: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<Way, String> {
    let toml::Value::Table(table) = value else { return Err("key `try` must hold tables: [[step.try]]".to_owned()) };
    let mut keys = Keys::new(table, "try.");
    keys.refuse_unknown(&TRY_KEYS)?;
    let argv = keys.templates("argv")?;
    let own = keys.text("script")?;
    let named = keys.take("script-file");
    let read = keys.templates("read")?;
    let asked = read_kubelet(&mut keys)?;
    let args = keys.templates("args")?;
    let mut needs = keys.texts("needs")?.unwrap_or_default();
    if let Some(bad) = needs.iter().find(|n| !is_tool_name(n)) {
        return Err(format!("key `try.needs`: {bad:?} is not the name of a program"));
    }
    let files = keys.texts("files")?.unwrap_or_default();
    if let Some(bad) = files.iter().find(|f| !placeholder::is_sound_path(f)) {
        return Err(format!("key `try.files`: {bad:?} is not an absolute path without '..'"));
    }
    let requires = keys.capabilities()?;
    let not_busybox = keys.flag("not-busybox")?;
    let has_args = args.is_some();
    let how = match (argv, own, named, read) {
        (None, None, None, None) if asked.is_some() && !has_args => {
            asked.unwrap_or_else(|| How::KubeletHealthz(String::new()))
        }
        _ if asked.is_some() => return Err(ONE_WAY.to_owned()),
        (Some(argv), None, None, None) if !has_args => {
            let program = argv.first().and_then(Template::literal).unwrap_or_default();
            // A path is taken as it stands; a bare name is looked for on the node.
            if is_tool_name(program) {
                needs.insert(0, program.to_owned());
            } else if !placeholder::is_sound_path(program) {
                return Err("key `try.argv` must begin with the name or absolute path of a program".to_owned());
            }
            How::Argv(argv)
        }
        (None, Some(text), None, None) => {
            if text.len() > 60_000 || text.contains('\0') || text.trim().is_empty() {
                return Err("key `try.script` must be text of 1 to 60,000 bytes".to_owned());
            }
            if let Some(name) = placeholder::NAMES.into_iter().find(|n| text.contains(&format!("{{{n}}}"))) {
                return Err(format!(
                    "key `try.script` holds {{{name}}}, which is not replaced in a script: put it into `args` and use \"$1\""
                ));
            }
            How::Script { text, name: None, args: args.unwrap_or_default() }
        }
        (None, None, Some(named), None) if builtin => {
            let names: Vec<String> = match named {
                toml::Value::String(name) => vec![name],
                other => other.try_into().map_err(|_| "key `try.script-file` must be a name or names".to_owned())?,
            };
            let mut text = String::new();
            for name in &names {
                text.push_str(script(name).ok_or_else(|| format!("key `try.script-file`: there is no {name:?}"))?);
            }
            How::Script { text, name: names.last().cloned(), args: args.unwrap_or_default() }
        }
        (None, None, Some(_), None) => {
            return Err("key `try.script-file` is for built-in steps: use `script` and write it out".to_owned());
        }
        (None, None, None, Some(read)) if !has_args && !read.is_empty() => {
            if let Some(bad) = read.iter().find(|t| !t.source().starts_with('/') && t.literal().is_some()) {
                return Err(format!("key `try.read`: {:?} is not an absolute path", bad.source()));
            }
            needs.push("cat".to_owned());
            How::Read(read)
        }
        _ => {
            return Err(ONE_WAY.to_owned());
        }
    };
    Ok(Way { how, needs, not_busybox, requires, files, any_file: Vec::new() })
}

/// What the kubelet is asked for, if it is.
fn read_kubelet(keys: &mut Keys) -> Result<Option<How>, String> {
    let path = |key: &'static str, text: &str| {
        let sound = text.len() <= 500 && text.bytes().all(|b| b.is_ascii_graphic());
        match super::kubelet::rule(text) {
            Some(_) if sound => Ok(()),
            _ => Err(format!(
                "key `try.{key}`: {text:?} is no path the kubelet is asked for: /metrics, /stats, /logs, /debug/pprof, \
                 /containerLogs, /configz, /healthz, /pods, /runningpods, /flagz and /statusz are, and what is below them"
            )),
        }
    };
    let api = keys.template("kubelet")?;
    let healthz = keys.text("kubelet-healthz")?;
    match (api, healthz) {
        (None, None) => Ok(None),
        (Some(api), None) => {
            path("kubelet", &api.source().replace(['{', '}'], ""))?;
            Ok(Some(How::Kubelet(api)))
        }
        (None, Some(healthz)) => {
            path("kubelet-healthz", &healthz)?;
            Ok(Some(How::KubeletHealthz(healthz)))
        }
        (Some(_), Some(_)) => Err(ONE_WAY.to_owned()),
    }
}

/// A program's bare name, which can be looked for on the node.
pub(crate) fn is_tool_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
}
