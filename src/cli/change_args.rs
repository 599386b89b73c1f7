//! The flags that say what may be changed on nodes; flattened into `collect` and `plan`. With `[changes]` of the
//! inventory they make the policy of a run; what cannot be is refused here, before any node is contacted.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::error::AppError;
use crate::inventory::{Changes, DockerdDebug};
use crate::plan::ChangePolicy;

/// What may be changed on nodes, and is undone
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Changes")]
pub(crate) struct ChangeArgs {
    /// Change nothing on any node: no debug window, no signal
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Whether dockerd logs at debug level for a while, where that can be done and undone safely [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) dockerd_debug: Option<When>,
    /// Length of that debug window; seconds or a time such as 2m, 1s to 10m [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub(crate) window: Option<Duration>,
    /// Without a sign of life from here for so long, a node undoes the change by itself, 5s to 10m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = lease)]
    pub(crate) lease: Option<Duration>,
    /// Whether dockerd and containerd are sent SIGUSR1 for the stacks of their goroutines [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) stacks: Option<When>,
    /// Send it to shims (containerd-shim-runc-v2) as well, while containerd answers
    #[arg(long, conflicts_with = "read_only")]
    pub(crate) shim_stacks: bool,
    /// Let kubelets log at this level for a while, 1 to 10; needs a credential for kubelets
    #[arg(long, value_name = "LEVEL", conflicts_with = "read_only", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) kubelet_verbosity: Option<u8>,
}

/// Whether a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// Where it is safe
    Auto,
    /// Never
    Off,
}

fn window(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|e| format!("{e} (write 20, 20s or 2m)"))?,
    };
    within(time, &Changes::WINDOW)
}

fn lease(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| format!("{e} (write 30s or 2m)"))?;
    within(time, &Changes::LEASE)
}

fn within(time: Duration, range: &std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let shown = humantime::format_duration;
    if range.contains(&time) {
        return Ok(time);
    }
    Err(format!("it must be {} to {}", shown(*range.start()), shown(*range.end())))
}

impl ChangeArgs {
    /// Returns the policy of the run; flags go before the inventory.
    ///
    /// # Errors
    /// Exit 2 for flags that contradict each other or the inventory, exit 3 for an inventory that contradicts itself.
    pub(crate) fn policy(&self, inventory: &Changes) -> Result<ChangePolicy, AppError> {
        let default = ChangePolicy::default();
        let auto = |flag: Option<When>, key: Option<bool>, default| match flag {
            Some(when) => when == When::Auto,
            None => key.unwrap_or(default),
        };
        let window = self.window.or(inventory.window).unwrap_or(default.window);
        let lease = self.lease.or(inventory.lease).unwrap_or(default.lease);
        let least = window.saturating_add(lease);
        let policy = ChangePolicy {
            read_only: self.read_only,
            dockerd_debug: auto(
                self.dockerd_debug,
                inventory.dockerd_debug.map(|d| d == DockerdDebug::Auto),
                default.dockerd_debug,
            ),
            stacks: auto(self.stacks, inventory.stacks, default.stacks),
            shim_stacks: self.shim_stacks || inventory.shim_stacks.unwrap_or(default.shim_stacks),
            kubelet_verbosity: self.kubelet_verbosity.or(inventory.kubelet_verbosity),
            window,
            lease,
            // Not asked for, it gives way to a long window; asked for, it is a promise.
            deadline: inventory.deadline.unwrap_or(default.deadline.max(least)),
            allow_runtime_names: inventory.allow_runtime_names.unwrap_or(default.allow_runtime_names),
            max_dump_goroutines: inventory.max_dump_goroutines.unwrap_or(default.max_dump_goroutines),
            sample_gap: inventory.sample_gap.unwrap_or(default.sample_gap),
        };
        let fail = |flag: bool, text: String| if flag { AppError::usage(text) } else { AppError::setup(text) };
        if self.window.is_some() && self.dockerd_debug == Some(When::Off) && policy.kubelet_verbosity.is_none() {
            return Err(AppError::usage(
                "--window is the length of the debug window, which --dockerd-debug off forbids",
            ));
        }
        if !policy.read_only && policy.shim_stacks && !policy.stacks {
            let text = "stacks of shims are asked for (shim-stacks), and stacks are off: leave out one of the two";
            return Err(fail(self.shim_stacks || self.stacks.is_some(), text.to_owned()));
        }
        if policy.deadline < least {
            let shown = humantime::format_duration;
            let text = format!(
                "the deadline of changes, {} ([changes] deadline), is shorter than window and lease together, {}",
                shown(policy.deadline),
                shown(least)
            );
            return Err(fail(self.window.is_some() || self.lease.is_some(), text));
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn flags_go_before_the_inventory_and_that_before_the_defaults() {
        let none = Changes::default();
        assert_eq!(ChangeArgs::default().policy(&none).unwrap(), ChangePolicy::default());
        let inventory = Changes {
            dockerd_debug: Some(DockerdDebug::Off),
            stacks: Some(false),
            window: seconds(60),
            lease: seconds(15),
            max_dump_goroutines: Some(7),
            ..Changes::default()
        };
        let policy = ChangeArgs::default().policy(&inventory).unwrap();
        assert!(!policy.dockerd_debug && !policy.stacks && policy.max_dump_goroutines == 7);
        assert_eq!((policy.window, policy.lease), (Duration::from_secs(60), Duration::from_secs(15)));
        let flags = ChangeArgs {
            dockerd_debug: Some(When::Auto),
            window: seconds(5),
            stacks: Some(When::Auto),
            shim_stacks: true,
            ..ChangeArgs::default()
        };
        let policy = flags.policy(&inventory).unwrap();
        assert!(policy.dockerd_debug && policy.stacks && policy.shim_stacks && policy.window.as_secs() == 5);
    }

    #[test]
    fn a_long_window_has_a_later_deadline_unless_one_was_promised() {
        let long = ChangeArgs { window: seconds(600), lease: seconds(600), ..ChangeArgs::default() };
        assert_eq!(long.policy(&Changes::default()).unwrap().deadline.as_secs(), 1200);
        let promised = Changes { deadline: seconds(300), ..Changes::default() };
        let error = long.policy(&promised).unwrap_err();
        assert!(format!("{error:?}").contains("shorter than window and lease together, 20m"), "{error:?}");
    }

    #[test]
    fn contradictions_are_told_in_a_sentence() {
        let off = Some(When::Off);
        for (args, inventory, want) in [
            (
                ChangeArgs { window: seconds(9), dockerd_debug: off, ..ChangeArgs::default() },
                Changes::default(),
                "--dockerd-debug off",
            ),
            (
                ChangeArgs { shim_stacks: true, stacks: off, ..ChangeArgs::default() },
                Changes::default(),
                "leave out one",
            ),
            (
                ChangeArgs::default(),
                Changes { shim_stacks: Some(true), stacks: Some(false), ..Changes::default() },
                "leave out one",
            ),
        ] {
            let error = args.policy(&inventory).unwrap_err();
            assert!(format!("{error:?}").contains(want), "{error:?}");
        }
    }

    #[test]
    fn plain_numbers_are_seconds_and_bounds_hold() {
        assert_eq!(window("20"), Ok(Duration::from_secs(20)));
        assert_eq!(window("2m"), Ok(Duration::from_secs(120)));
        for bad in ["0", "601", "11m", "-1", "x"] {
            assert!(window(bad).is_err(), "{bad}");
        }
        assert!(lease("4s").is_err() && lease("30").is_err() && lease("5s").is_ok());
    }
}
