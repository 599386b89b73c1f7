//! The catalog: every step there is, built in and the user's own, checked as a whole. Pure; no I/O
//! (the TOML files and scripts are compiled in). Chosen from by `selection.rs`, turned into a node's plan by `build.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::capability::CNI_DIRECTORIES;
use super::changes::MadeBy;
use super::keys::nearest;
use super::logs::{LogFiles, LogOf};
use super::placeholder::{CRI_SOCKETS, Template};
use super::schema::{CatalogError, How, Origin, Profile, StepSpec, Way};
use super::step::{Phase, StepId};

const FILES: [(&str, &str); 9] = [
    ("host.toml", include_str!("catalog/host.toml")),
    ("kernel.toml", include_str!("catalog/kernel.toml")),
    ("net.toml", include_str!("catalog/net.toml")),
    ("docker.toml", include_str!("catalog/docker.toml")),
    ("containerd.toml", include_str!("catalog/containerd.toml")),
    ("cri.toml", include_str!("catalog/cri.toml")),
    ("kubelet.toml", include_str!("catalog/kubelet.toml")),
    ("cni.toml", include_str!("catalog/cni.toml")),
    ("node.toml", include_str!("catalog/node.toml")),
];

/// Functions that ask an API on a socket file; also part of scripts in `change/`.
pub(crate) const DOCKER_API: &str = include_str!("scripts/docker-api.sh");
/// Functions that find dumps of goroutines and open them; also part of scripts in `change/`.
pub(crate) const GO_DUMPS: &str = include_str!("scripts/go-dumps.sh");

const SCRIPTS: [(&str, &str); 23] = [
    ("cmdline.sh", include_str!("scripts/cmdline.sh")),
    ("cni-config.sh", include_str!("scripts/cni-config.sh")),
    ("dbus-cookie.sh", include_str!("scripts/dbus-cookie.sh")),
    ("docker-api.sh", DOCKER_API),
    ("exited-crictl.sh", include_str!("scripts/exited-crictl.sh")),
    ("exited-files.sh", include_str!("scripts/exited-files.sh")),
    ("fds.sh", include_str!("scripts/fds.sh")),
    ("go-dumps.sh", GO_DUMPS),
    ("journal-grep.sh", include_str!("scripts/journal-grep.sh")),
    ("list-dirs.sh", include_str!("scripts/list-dirs.sh")),
    ("limits.sh", include_str!("scripts/limits.sh")),
    ("log-files.sh", include_str!("scripts/log-files.sh")),
    ("pprof.sh", include_str!("scripts/pprof.sh")),
    ("ps-proc.sh", include_str!("scripts/ps-proc.sh")),
    ("read.sh", include_str!("scripts/read.sh")),
    ("runc.sh", include_str!("scripts/runc.sh")),
    ("sar.sh", include_str!("scripts/sar.sh")),
    ("stacks-found.sh", include_str!("scripts/stacks-found.sh")),
    ("stuck-builtin.sh", include_str!("scripts/stuck-builtin.sh")),
    ("stuck.sh", include_str!("scripts/stuck.sh")),
    ("systemd.sh", include_str!("scripts/systemd.sh")),
    ("thread.sh", include_str!("scripts/thread.sh")),
    ("twice.sh", include_str!("scripts/twice.sh")),
];

/// Sets a plain locale and a complete search path; in front of every script.
const PRELUDE: &str = include_str!("scripts/prelude.sh");

/// Every step there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    steps: Vec<StepSpec>,
}

impl Catalog {
    /// Returns the built-in catalog.
    ///
    /// A test proves that it parses; a build in which it did not would return an empty one.
    #[must_use]
    pub fn builtin() -> Self {
        Self::parse_builtin().unwrap_or(Self { steps: Vec::new() })
    }

    fn parse_builtin() -> Result<Self, CatalogError> {
        let mut catalog = Self { steps: Vec::new() };
        for (file, text) in FILES {
            let origin = Origin::Builtin(file);
            let fail = |problem: String| CatalogError { step: String::new(), origin: origin.clone(), problem };
            let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| fail(e.to_string()))?;
            let steps = match table.remove("step") {
                Some(toml::Value::Array(steps)) => steps,
                None => Vec::new(),
                Some(_) => return Err(fail("`step` is not a list of tables".to_owned())),
            };
            if let Some(key) = table.keys().next() {
                return Err(fail(format!("key `{key}` is unknown")));
            }
            for step in steps {
                let toml::Value::Table(step) = step else { return Err(fail("a step is not a table".to_owned())) };
                catalog.add(StepSpec::read(step, origin.clone(), &builtin_script)?)?;
            }
        }
        Ok(catalog)
    }

    /// Adds the operator's own steps: each `[[step]]` table of the inventory with its line.
    ///
    /// # Errors
    /// The first step that is malformed, or whose id or file is taken.
    pub fn with_user_steps(mut self, steps: &[(toml::Table, usize)]) -> Result<Self, CatalogError> {
        for (table, line) in steps {
            let step = StepSpec::read(table.clone(), Origin::Inventory(*line), &|_| None)?;
            self.add(step)?;
        }
        Ok(self)
    }

    /// Takes the files of `[logs]` as the daemons' logs: where one of a daemon's is there, they are read in place of
    /// its journal.
    #[must_use]
    pub fn with_logs(mut self, logs: &LogFiles) -> Self {
        for which in LogOf::ALL {
            let files = logs.of(which);
            let id = format!("{}/journal", which.area());
            let Some(step) = self.steps.iter_mut().find(|s| s.id.as_str() == id).filter(|_| !files.is_empty()) else {
                continue;
            };
            let name = "log-files.sh";
            let args = std::iter::once(which.pattern()).chain(files.iter().map(String::as_str));
            let way = Way {
                how: How::Script {
                    text: builtin_script(name).unwrap_or_default().to_owned(),
                    name: Some(name.to_owned()),
                    args: args.map(Template::plain).collect(),
                },
                needs: ["tail", "grep"].map(ToOwned::to_owned).to_vec(),
                not_busybox: false,
                requires: Vec::new(),
                files: Vec::new(),
                any_file: files.to_vec(),
            };
            step.ways.insert(0, way);
        }
        self
    }

    fn add(&mut self, step: StepSpec) -> Result<(), CatalogError> {
        let clash = self.steps.iter().find_map(|other| {
            // Bundles are also opened where file names ignore case, and a file cannot be a directory too.
            let (a, b) = (step.file.to_ascii_lowercase(), other.file.to_ascii_lowercase());
            if other.id == step.id {
                Some(format!("key `id`: {} is already a step of the {}", other.id, other.origin))
            } else if a == b || below(&a, &b) || below(&b, &a) {
                Some(format!("key `file`: {} is taken by step {} of the {}", other.file, other.id, other.origin))
            } else {
                None
            }
        });
        match clash {
            None => {
                self.steps.push(step);
                Ok(())
            }
            Some(problem) => Err(CatalogError { step: step.id.to_string(), origin: step.origin, problem }),
        }
    }

    /// Returns the steps in catalog order, the operator's own last.
    #[must_use]
    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    /// Returns the step of that id.
    #[must_use]
    pub fn get(&self, id: &StepId) -> Option<&StepSpec> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// Returns up to three ids, or areas, that resemble a name nobody has.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Vec<&str> {
        let areas: BTreeSet<&str> = self.steps.iter().map(|s| s.id.area()).collect();
        let whole = self.steps.iter().map(|s| s.id.as_str()).chain(areas);
        // "dcoker" means an area, "pss" the end of an id.
        let mut near = nearest(name, whole, 3);
        for step in &self.steps {
            let last = step.id.as_str().rsplit('/').next().unwrap_or_default();
            if near.len() < 3 && last == name && !near.contains(&step.id.as_str()) {
                near.push(step.id.as_str());
            }
        }
        near
    }

    /// Returns the names of all programs any step could use, for the probe.
    #[must_use]
    pub fn tools(&self) -> BTreeSet<String> {
        self.steps.iter().flat_map(|s| &s.ways).flat_map(|w| &w.needs).cloned().collect()
    }

    /// Returns the paths on which steps depend, for the probe.
    #[must_use]
    pub fn probed_files(&self) -> BTreeSet<String> {
        let mut paths: BTreeSet<String> = CRI_SOCKETS.iter().chain(&CNI_DIRECTORIES).map(|p| (*p).to_owned()).collect();
        for way in self.steps.iter().flat_map(|s| &s.ways) {
            paths.extend(way.files.iter().chain(&way.any_file).cloned());
            if let How::Read(read) = &way.how {
                paths.extend(read.iter().filter_map(Template::literal).map(ToOwned::to_owned));
            }
        }
        // Where placeholders point unless a daemon says otherwise.
        paths.extend(["/etc/docker/daemon.json", "/var/lib/kubelet/config.yaml"].map(ToOwned::to_owned));
        paths
    }

    /// Returns the table of steps for the README.
    #[must_use]
    pub fn markdown_table(&self) -> String {
        let mut out = String::from(
            "| step | what runs | when | bound | snapshot | what it is read for |\n|---|---|---|---|---|---|\n",
        );
        for step in &self.steps {
            let ways: Vec<String> = step.ways.iter().map(|w| code(&describe(&w.how))).collect();
            let mut ways_unique: Vec<String> = Vec::new();
            for way in ways {
                if !ways_unique.contains(&way) {
                    ways_unique.push(way);
                }
            }
            ways_unique.extend(step.made_by.map(|made_by| made_by_words(made_by).to_owned()));
            let phase = match step.phase {
                Phase::Before => "before",
                Phase::During => "during",
                Phase::After => "after",
            };
            let snapshot = if step.profiles.contains(&Profile::Snapshot) { "yes" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} | {phase} | {} | {snapshot} | {} |",
                code(step.id.as_str()),
                ways_unique.join(", else "),
                humantime::format_duration(step.bounds.timeout),
                step.about.replace('|', "\\|"),
            );
        }
        out
    }
}

/// Returns the table of steps for the README.
#[must_use]
pub fn markdown_table() -> String {
    Catalog::builtin().markdown_table()
}

fn below(file: &str, directory: &str) -> bool {
    file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn builtin_script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Returns a script as it goes to the node: with the prelude, and without the comments that are for readers of the
/// source. No script of ours has a here-document or a text over several lines, so dropping those lines is safe.
pub(crate) fn shipped(text: &str, builtin: bool) -> String {
    let mut out = PRELUDE.to_owned();
    if !builtin {
        out.push_str(text);
        return out;
    }
    for line in text.lines().filter(|l| !l.trim_start().starts_with('#') && !l.trim().is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Returns the text of the script that prints several files.
pub(crate) fn read_script() -> &'static str {
    builtin_script("read.sh").unwrap_or_default()
}

fn describe(how: &How) -> String {
    match how {
        How::Argv(argv) => argv.iter().map(Template::source).collect::<Vec<_>>().join(" "),
        How::Script { name: Some(name), .. } => name.clone(),
        How::Script { name: None, .. } => "a script".to_owned(),
        How::Read(paths) => paths.iter().map(Template::source).collect::<Vec<_>>().join(" "),
        How::Kubelet(path) => format!("GET :10250{}", path.source()),
        How::KubeletHealthz(path) => format!("GET :10248{path}"),
    }
}

const fn made_by_words(made_by: MadeBy) -> &'static str {
    match made_by {
        MadeBy::DockerdDebug => "the debug window",
        MadeBy::StackDump => "SIGUSR1 to the daemon",
        MadeBy::ShimStackDump => "SIGUSR1 to shims, with `--shim-stacks`",
        MadeBy::KubeletVerbosity => "the kubelet's raised verbosity, with `--kubelet-verbosity`",
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod tests;
