//! Selection: which of the catalog's steps a run takes, and how far back it reads logs. Pure; no I/O.
//! Made from flags by `cli/`, checked once against the catalog, used by `build.rs` for every node.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::catalog::Catalog;
use super::changes::ChangePolicy;
use super::cluster::CLUSTER_STEPS;
use super::kubelet::KubeletSelection;
use super::logs::LogFiles;
use super::schema::StepSpec;

pub use super::schema::Profile;

/// What `--profile`, `--include`, `--exclude` and `--since` say, and what may be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Which profile's steps.
    pub profile: Profile,
    /// Only these steps, whatever the profile says; empty: the profile's.
    pub include: Vec<StepPattern>,
    /// Not these steps; stronger than `include`.
    pub exclude: Vec<StepPattern>,
    /// How far back logs are read; `None`: the profile's default.
    pub since: Option<Since>,
    /// What may be changed on nodes.
    pub changes: ChangePolicy,
    /// What is asked of kubelets.
    pub kubelet: KubeletSelection,
    /// Files daemons log to, where the operator named them.
    pub logs: LogFiles,
}

/// Why a selection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The text is no pattern.
    #[error("invalid step pattern {0:?}: write an area (docker), a step (host/ps), or use '*' (docker/*)")]
    Pattern(String),
    /// The pattern matches nothing.
    #[error("{flag} {pattern}: no step matches{hint}")]
    NoMatch {
        /// `--include` or `--exclude`.
        flag: &'static str,
        /// As written.
        pattern: String,
        /// `; did you mean …?`, or nothing.
        hint: String,
    },
    /// Nothing is left.
    #[error("no step is left to run: --exclude takes away everything that was selected")]
    Nothing,
    /// The text is neither a duration nor a time.
    #[error("invalid time {0:?}: write how long ago (2h, 90m) or a time with its zone (2026-11-20T21:00:00Z)")]
    Since(String),
    /// The span is unusable.
    #[error("invalid time {0:?}: it must be between 1 second and 400 days ago")]
    SinceRange(String),
}

/// A step's id, an area, or either with `*` for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPattern(String);

impl FromStr for StepPattern {
    type Err = SelectionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let char_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'/' | b'*');
        if s.is_empty() || s.len() > 100 || !s.bytes().all(char_ok) {
            return Err(SelectionError::Pattern(s.chars().take(100).collect()));
        }
        Ok(Self(s.to_owned()))
    }
}

impl std::fmt::Display for StepPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl StepPattern {
    /// Returns whether the pattern names this id: the id itself, its area or any part before a slash, or by `*`.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let pattern = self.0.trim_end_matches('/');
        id.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) || glob(pattern, id)
    }
}

/// Matches `*` against any text, in time linear in pattern times text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// How far back logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Before the moment the node's plan is made.
    Ago(Duration),
    /// A moment, by the operator's clock.
    At(Timestamp),
}

impl FromStr for Since {
    type Err = SelectionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let shown = || s.chars().take(100).collect::<String>();
        if let Ok(ago) = humantime::parse_duration(s) {
            let range = Duration::from_secs(1)..=MOST_BACK;
            return if range.contains(&ago) { Ok(Self::Ago(ago)) } else { Err(SelectionError::SinceRange(shown())) };
        }
        s.parse().map(Self::At).map_err(|_| SelectionError::Since(shown()))
    }
}

const MOST_BACK: Duration = Duration::from_secs(400 * 24 * 3600);

impl Since {
    /// Returns how many seconds before `now` that is, by the operator's clock; at least 1.
    ///
    /// Nodes are told a span and no time, so that it holds on a node whose clock is off.
    #[must_use]
    pub fn seconds_before(self, now: Timestamp) -> u64 {
        let seconds = match self {
            Self::Ago(ago) => ago.as_secs(),
            Self::At(at) => u64::try_from(now.as_second().saturating_sub(at.as_second())).unwrap_or(0),
        };
        seconds.clamp(1, MOST_BACK.as_secs())
    }
}

impl Selection {
    /// Returns the chosen steps, in catalog order.
    ///
    /// # Errors
    /// A pattern that matches no step of the catalog or of the cluster, or a selection that leaves neither.
    pub fn resolve<'a>(&self, catalog: &'a Catalog) -> Result<Vec<&'a StepSpec>, SelectionError> {
        for (flag, patterns) in [("--include", &self.include), ("--exclude", &self.exclude)] {
            for pattern in patterns {
                let on_nodes = catalog.steps().iter().any(|s| pattern.matches(s.id.as_str()));
                if !on_nodes && !CLUSTER_STEPS.iter().any(|s| pattern.matches(s.id)) {
                    let near = catalog.nearest(&pattern.0);
                    let hint =
                        if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
                    return Err(SelectionError::NoMatch { flag, pattern: pattern.0.clone(), hint });
                }
            }
        }
        let chosen: Vec<&StepSpec> = self.chosen(catalog).collect();
        if chosen.is_empty() && self.cluster_steps().is_empty() { Err(SelectionError::Nothing) } else { Ok(chosen) }
    }

    /// Returns the chosen steps without checking the patterns.
    pub(crate) fn chosen<'a>(&self, catalog: &'a Catalog) -> impl Iterator<Item = &'a StepSpec> {
        catalog.steps().iter().filter(|step| {
            let named = |patterns: &[StepPattern]| patterns.iter().any(|p| p.matches(step.id.as_str()));
            let wanted =
                if self.include.is_empty() { step.profiles.contains(&self.profile) } else { named(&self.include) };
            wanted && !named(&self.exclude)
        })
    }

    /// Returns how many seconds back logs are read, seen from `now` by the operator's clock.
    #[must_use]
    pub fn since_seconds(&self, now: Timestamp) -> u64 {
        let default = match self.profile {
            Profile::Incident => Since::Ago(Duration::from_secs(2 * 3600)),
            Profile::Snapshot => Since::Ago(Duration::from_secs(15 * 60)),
        };
        self.since.unwrap_or(default).seconds_before(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(profile: Profile, include: &[&str], exclude: &[&str]) -> Selection {
        let patterns = |p: &[&str]| p.iter().map(|s| s.parse().unwrap()).collect();
        Selection { profile, include: patterns(include), exclude: patterns(exclude), ..Selection::default() }
    }

    #[test]
    fn patterns_name_ids_areas_and_globs() {
        for (pattern, id, want) in [
            ("docker", "docker/ps", true),
            ("docker/", "docker/ps", true),
            ("docker/*", "docker/ps", true),
            ("docker/ps", "docker/ps", true),
            ("docker/p", "docker/ps", false),
            ("dock", "docker/ps", false),
            ("*/ps", "docker/ps", true),
            ("*ps", "docker/ps", true),
            ("*", "docker/ps", true),
            ("*/journal", "docker/ps", false),
            ("d*r/*s", "docker/ps", true),
            ("host/top-*", "host/top-1", true),
            ("ps*ps", "ps", false),
            ("a*a*a", "aa", false),
        ] {
            assert_eq!(pattern.parse::<StepPattern>().unwrap().matches(id), want, "{pattern} {id}");
        }
        for bad in ["", "Docker", "a b", "docker/[a]", "é"] {
            assert!(bad.parse::<StepPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn include_limits_and_exclude_wins() {
        let catalog = Catalog::builtin();
        let ids =
            |s: Selection| -> Vec<String> { s.resolve(&catalog).unwrap().iter().map(|s| s.id.to_string()).collect() };
        let all = ids(selection(Profile::Incident, &[], &[]));
        assert_eq!(all.len(), catalog.steps().len());
        let light = ids(selection(Profile::Snapshot, &[], &[]));
        assert!(light.len() < all.len() && light.contains(&"host/ps".to_owned()));
        assert!(!light.contains(&"host/iotop".to_owned()));
        assert_eq!(ids(selection(Profile::Snapshot, &["host/iotop"], &[])), ["host/iotop"]);
        let some = ids(selection(Profile::Incident, &["docker"], &["docker/journal", "*/stats"]));
        assert!(some.contains(&"docker/ps".to_owned()));
        assert!(!some.contains(&"docker/journal".to_owned()) && !some.contains(&"docker/stats".to_owned()));
    }

    #[test]
    fn a_pattern_without_a_match_is_an_error_that_names_the_nearest() {
        let catalog = Catalog::builtin();
        for (include, exclude, want) in [
            (vec!["dokcer"], vec![], "--include dokcer: no step matches; did you mean docker"),
            (vec![], vec!["host/pss"], "--exclude host/pss: no step matches; did you mean host/ps"),
            (vec!["zzzzzz"], vec![], "--include zzzzzz: no step matches"),
            (vec!["host/ps"], vec!["host"], "no step is left to run"),
        ] {
            let error = selection(Profile::Incident, &include, &exclude).resolve(&catalog).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn since_is_a_span_or_a_time_and_ends_as_a_span() {
        let now: Timestamp = "2026-11-20T23:00:00Z".parse().unwrap();
        for (text, want) in [
            ("2h", 7200),
            ("90m", 5400),
            ("1day", 86_400),
            ("2026-11-20T21:00:00Z", 7200),
            ("2026-11-20T23:00:00+02:00", 7200),
            ("2027-01-01T00:00:00Z", 1),
        ] {
            assert_eq!(text.parse::<Since>().unwrap().seconds_before(now), want, "{text}");
        }
        for bad in ["", "yesterday", "2026-11-20 21:00", "0s", "2000days", "-5m"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
        assert_eq!(selection(Profile::Incident, &[], &[]).since_seconds(now), 7200);
        assert_eq!(selection(Profile::Snapshot, &[], &[]).since_seconds(now), 900);
    }
}
