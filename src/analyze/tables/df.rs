//! `df -h`, `df -k`, `df -i`: full file systems and those out of inodes.

use super::quantity;
use crate::analyze::line::numbered;

/// One file system; sizes in bytes, or inodes of `df -i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// The device, or the type of those without.
    pub device: String,
    /// How much there is; of `df -h` rounded.
    pub size: Option<u64>,
    /// How much is used.
    pub used: Option<u64>,
    /// How much users can still have.
    pub available: Option<u64>,
    /// Percent used, rounded up by df; `None` where there is no such limit.
    pub used_percent: Option<u8>,
    /// Where it is mounted.
    pub mount: String,
    /// Line it stands in.
    pub line: u64,
}

/// Returns the file systems in the order of the list. Old df breaks the line behind a long device name.
#[must_use]
pub fn parse(text: &str) -> Vec<FileSystem> {
    let mut found = Vec::new();
    let mut unit = 1;
    let mut device_alone: Option<&str> = None;
    for (number, line) in numbered(text) {
        if line.starts_with("Filesystem") {
            unit = if line.contains("1K-blocks") || line.contains("1024-blocks") { 1024 } else { 1 };
            continue;
        }
        let line_of = |device: &str, rest: &str| row(device, rest, unit, number);
        let trimmed = line.trim();
        if let Some(device) = device_alone.take().filter(|_| line.starts_with(' ')) {
            found.extend(line_of(device, trimmed));
        } else if !trimmed.is_empty() && !trimmed.contains(' ') {
            device_alone = Some(trimmed);
        } else {
            // A device can have blanks in its name (network shares): the row is what fits from the right.
            let cuts = trimmed.match_indices(' ').map(|(at, _)| at).take(16);
            let cut = cuts.filter_map(|at| trimmed.split_at_checked(at));
            found.extend(cut.filter_map(|(device, rest)| line_of(device.trim(), rest.trim_start())).take(1));
        }
    }
    found
}

fn row(device: &str, rest: &str, unit: u64, line: u64) -> Option<FileSystem> {
    let mut rest = rest;
    let mut next = || {
        rest = rest.trim_start();
        let (word, behind) = rest.split_once(' ')?;
        rest = behind;
        Some(word)
    };
    let number = |word: &str| -> Option<Option<u64>> {
        if word == "-" {
            return Some(None);
        }
        Some(Some(quantity::size(word)?.checked_mul(unit)?))
    };
    let (size, used, available) = (number(next()?)?, number(next()?)?, number(next()?)?);
    let share = next()?;
    let used_percent = match share {
        "-" => None,
        share => Some(share.strip_suffix('%')?.parse().ok()?),
    };
    let mount = rest.trim();
    (mount.starts_with('/') && !device.is_empty()).then(|| FileSystem {
        device: device.to_owned(),
        size,
        used,
        available,
        used_percent,
        mount: mount.to_owned(),
        line,
    })
}
