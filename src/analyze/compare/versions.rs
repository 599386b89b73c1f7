//! Versions, sizes and settings, and whether the machine or a daemon was started again between two looks at one node.

use super::{DifferenceKind, Told, same_boot};
use crate::analyze::node::NodeAnalysis;
use crate::analyze::rules::note::float;
use crate::wording;

/// Memory of two machines of one kind differs by what the kernel keeps for itself.
const SIZE: f64 = 1.05;

pub(super) fn differences(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    let (was, is) = (&base.about, &other.about);
    let mut found = Vec::new();
    let mut tell = |weight, what: &str, was: Option<&str>, is: Option<&str>| {
        let (Some(was), Some(is)) = (was, is) else { return };
        // A runtime without its version is not another one.
        let alike = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with(' '));
        if was != is && !(what == "runtime" && (alike(was, is) || alike(is, was))) {
            let text = format!("{what} {is} instead of {was}");
            let (was, is) = (Some(was.to_owned()), Some(is.to_owned()));
            found.push(Told::new(weight, DifferenceKind::Version, what, was, is, &text));
        }
    };
    tell(695, "runtime", was.runtime.as_deref(), is.runtime.as_deref());
    tell(690, "kernel", was.kernel.as_deref(), is.kernel.as_deref());
    tell(685, "containerd", was.containerd.as_deref(), is.containerd.as_deref());
    tell(680, "kubelet", was.kubelet.as_deref(), is.kubelet.as_deref());
    tell(675, "os", was.os.as_deref(), is.os.as_deref());
    let cpus = |n: Option<u32>| n.map(|n| n.to_string());
    tell(610, "processors", cpus(was.cpus).as_deref(), cpus(is.cpus).as_deref());
    if let (Some(was), Some(is)) = (was.memory_kib, is.memory_kib)
        && float(was.max(is)) > float(was.min(is)) * SIZE
    {
        let words = |kib: u64| wording::bytes(kib.saturating_mul(1024));
        tell(605, "memory", Some(&words(was)), Some(&words(is)));
    }
    for (name, is) in &is.settings {
        tell(600, name, was.settings.get(name).map(String::as_str), Some(is));
    }
    found.extend(starts(base, other));
    found
}

/// Only of one node: two nodes never share a boot or a process.
fn starts(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    let started = |what: &str, was: Option<String>, is: Option<String>, text: &str| {
        Told::new(870, DifferenceKind::Version, what, was, is, text)
    };
    if base.node != other.node {
        return Vec::new();
    }
    match same_boot(base, other) {
        Some(false) => {
            let (was, is) = (base.about.booted, other.about.booted);
            // A clock that was set makes a boot look older than the look before it.
            let after = is.filter(|at| base.about.collected.is_none_or(|collected| *at > collected));
            let at = after.map(|at| format!(", at {at:.0}")).unwrap_or_default();
            let text = format!("the machine was booted again{at}");
            vec![started("boot", was.map(|t| format!("{t:.0}")), is.map(|t| format!("{t:.0}")), &text)]
        }
        Some(true) => {
            let pairs = other.about.processes.iter().filter_map(|(name, is)| {
                let was = base.about.processes.get(name)?;
                let text = format!("{name} was started again between the two looks: {is} instead of {was}");
                (was != is).then(|| started(name, Some(was.clone()), Some(is.clone()), &text))
            });
            pairs.collect()
        }
        None => Vec::new(),
    }
}
