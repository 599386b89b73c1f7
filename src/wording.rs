//! Sizes, durations and names as people read them, and text measured in terminal columns. Used by
//! all displays and by `report/`; says nothing about events.

use std::path::Path;
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use crate::printable::printable;

/// Longest text taken from a node for one line.
const TEXT_LIMIT: usize = 400;
/// `PATH_MAX` of Linux.
const PATH_LIMIT: usize = 4096;

/// Returns a text that may stem from a node as one line that is safe to print.
pub(crate) fn safe(text: &str) -> String {
    safe_within(text, TEXT_LIMIT)
}

fn safe_within(text: &str, limit: usize) -> String {
    // Beyond what `printable` takes out: the Arabic letter mark reorders, the separators break
    // lines in some viewers, tag characters are invisible.
    let hidden = |c: char| matches!(c, '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}');
    let mut text = printable(text, limit);
    text.retain(|c| !hidden(c));
    text
}

/// Returns a command to be copied, safe to print and whole.
pub(crate) fn command(text: &str) -> String {
    safe_within(text, PATH_LIMIT)
}

/// Returns a path, safe to print and whole.
pub(crate) fn path(path: &Path) -> String {
    safe_within(&path.to_string_lossy(), PATH_LIMIT)
}

/// Returns a size with a decimal unit, at most 7 columns: `999 B`, `1.2 kB`, `12.3 MB`, `123 GB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    // Tenths of the unit, in integers: floats would round 999,999 up to "1000 kB".
    let mut tenths = n / 100;
    let mut unit = UNITS.iter();
    let mut name = unit.next().copied().unwrap_or_default();
    while tenths >= 10_000 {
        tenths /= 1000;
        name = unit.next().copied().unwrap_or_default();
    }
    if tenths >= 1000 { format!("{} {name}", tenths / 10) } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

/// Returns a duration, at most 6 columns below 100 days: `0.3s`, `41s`, `3m07s`, `2h05m`, `3d04h`.
pub(crate) fn duration(d: Duration) -> String {
    if d < Duration::from_secs(10) {
        let tenths = d.as_millis() / 100;
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    whole_seconds(d)
}

/// Returns [`duration`] without fractions, for a clock that ticks.
pub(crate) fn whole_seconds(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Returns a count with its noun: `1 node`, `9 nodes`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Returns the terminal columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Returns the text cut to at most `limit` columns; a cut is shown by `…`.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > limit {
            break;
        }
        out.push(c);
        used += width;
    }
    if limit > 0 {
        out.push('…');
    }
    out
}

/// Returns the text cut or filled with spaces to exactly `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut out = cut(text, width);
    let fill = width.saturating_sub(columns(&out));
    out.extend(std::iter::repeat_n(' ', fill));
    out
}

/// Returns the text cut or filled on its left to exactly `width` columns.
pub(crate) fn fit_right(text: &str, width: usize) -> String {
    let out = cut(text, width);
    format!("{}{out}", " ".repeat(width.saturating_sub(columns(&out))))
}

/// Breaks a text at spaces into lines of at most `width` columns; longer words are broken behind a
/// comma if they have one (folded names), else anywhere.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let wide = columns(word);
        if used > 0 && used + 1 + wide > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let w = c.width().unwrap_or(0);
            while used + w > width {
                let rest = line.rfind(',').map(|comma| line.split_off(comma + 1)).unwrap_or_default();
                lines.push(std::mem::replace(&mut line, rest));
                used = columns(&line);
            }
            line.push(c);
            used += w;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_short() {
        for (n, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (123_456_789, "123 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n), want);
        }
        for (ms, want) in [
            (0, "0.0s"),
            (340, "0.3s"),
            (9_999, "9.9s"),
            (41_900, "41s"),
            (187_000, "3m07s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn text_is_measured_in_columns() {
        assert_eq!(columns("国国"), 4);
        assert_eq!(cut("国国国", 5), "国国…");
        assert_eq!(cut("国国国", 4), "国…");
        assert_eq!(fit("国国国", 4), "国… ");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 0), "");
        assert_eq!(fit_right("7", 3), "  7");
        assert_eq!(columns("e\u{301}"), 1);
    }

    #[test]
    fn wrapped_text_keeps_every_character_and_no_line_is_wider() {
        let text = "one two 国国国国国国国国国国国国 a-word-far-too-long-for-a-line-of-twelve end";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|l| columns(l) <= 12), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
    }

    #[test]
    fn names_are_broken_behind_commas() {
        assert_eq!(wrap("worker-001,worker-002,worker-003", 25), ["worker-001,worker-002,", "worker-003"]);
    }

    #[test]
    fn hidden_characters_are_dropped() {
        assert_eq!(safe("a\u{61c}b\u{2028}c\u{e0041}\u{1b}[2Jd\ne"), "abcd e");
    }
}
