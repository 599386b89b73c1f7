//! Durations as Go prints them: `3m2.875321419s`, `1h0m0s`, `350ms`, `2m0s`.

use std::time::Duration;

/// Reads a duration; `None` for anything else, a negative one and one beyond a century included.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    const LIMIT: f64 = 100.0 * 365.0 * 86_400.0;
    let mut rest = text;
    let mut total = 0.0;
    let mut whole = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, from) = rest.split_at(end);
        let unit_end = from.find(|c: char| c.is_ascii_digit()).unwrap_or(from.len());
        let (unit, after) = from.split_at(unit_end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * seconds;
        total += part;
        if !(0.0..=LIMIT).contains(&total) {
            return None;
        }
        whole = whole.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = after;
    }
    Some(whole)
}

/// Reads the duration that `text` starts with.
pub(crate) fn leading(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !".hmsnuµμ".contains(c)).unwrap_or(text.len());
    parse(text.get(..end)?.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, millis) in [
            ("3m2.875s", Some(182_875)),
            ("58h29m3.043s", Some(210_543_043)),
            ("350ms", Some(350)),
            ("0s", Some(0)),
            ("1.5h", Some(5_400_000)),
            ("", None),
            ("3", None),
            ("-3s", None),
            ("1..2s", None),
            ("999999999999h", None),
            ("s", None),
        ] {
            assert_eq!(parse(text).map(|d| d.as_millis()), millis, "{text}");
        }
        assert_eq!(leading("3m0s]"), Some(Duration::from_secs(180)));
        assert_eq!(leading("3m0s."), Some(Duration::from_secs(180)));
        assert_eq!(leading("never"), None);
    }
}
