//! Sizes, shares and ages as tools print them for people: `472KiB`, `6.2M`, `98%`, `31 minutes ago`.

use std::time::Duration;

/// Reads a size in bytes. `K`, `M`, `G`, `T`, `P` and their `i`, `iB` forms count in 1024, as of df, free, top and
/// docker's memory; `kB`, `MB`, `GB` in 1000, as of docker's I/O.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = |c: &str| "KMGTPE".find(c.to_ascii_uppercase().as_str()).and_then(|at| i32::try_from(at + 1).ok());
    let factor = match unit.trim() {
        "" | "B" | "b" => 1.0,
        u => {
            let (prefix, rest) = u.split_at_checked(1)?;
            let power = power(prefix)?;
            match rest {
                "" | "i" | "iB" => 1024_f64.powi(power),
                "B" => 1000_f64.powi(power),
                _ => return None,
            }
        }
    };
    whole(number.parse::<f64>().ok()? * factor)
}

/// Returns a number without its fraction.
pub(crate) fn whole(value: f64) -> Option<u64> {
    if !(0.0..1.8e19).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    let whole = value.round() as u64;
    Some(whole)
}

/// Reads a share, `0.58%` or `98%`, as percent.
#[must_use]
pub fn percent(text: &str) -> Option<f64> {
    text.trim().strip_suffix('%')?.trim().parse().ok().filter(|p: &f64| p.is_finite())
}

/// Reads an age as docker and crictl print it (`HumanDuration` of go-units): `31 minutes`, `About an hour ago`.
/// Exact to half of the unit it names.
#[must_use]
pub fn age(text: &str) -> Option<Duration> {
    let text = text.trim();
    let text = text.strip_suffix(" ago").unwrap_or(text);
    let text = text.strip_prefix("About ").unwrap_or(text);
    if text.starts_with("Less than") {
        return Some(Duration::ZERO);
    }
    let (count, unit) = text.split_once(' ')?;
    let count: u64 = if matches!(count, "a" | "an") { 1 } else { count.parse().ok()? };
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "month" => 30 * 86_400,
        "year" => 365 * 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}
